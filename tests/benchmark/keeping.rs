//! What is kept from run to run.

use crate::known::{add, once, run};
use crate::measure::Measure::{Download, FullEcdsa, FullPq, Tickets};
use crate::record;
use crate::results::{Entry, Results};
use crate::scenario::Scenario;

const ECDSA: Scenario = Scenario::FullEcdsa;

#[test]
fn what_is_written_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(record::read(directory.path()).unwrap(), Results::default());
    let mut results = Results::default();
    let found: [(_, &[f64]); 2] = [(FullEcdsa, &[140.5, 139.0]), (Tickets, &[1.0, 1.0])];
    add(&mut results, &run(1), (ECDSA, "certgate"), &found);
    add(&mut results, &run(1), (ECDSA, "nginx"), &[(FullEcdsa, &[294.0])]);
    add(
        &mut results,
        &run(2),
        (Scenario::Download, "old"),
        &[(Download, &[0.35])],
    );
    let entry = results.entry(ECDSA, "nginx", || unreachable!());
    entry.take(Err("it ended".to_owned()));
    record::write(directory.path(), &results).unwrap();
    assert_eq!(record::read(directory.path()).unwrap(), results);
}

#[test]
fn the_file_has_medians_and_ratios_for_readers() {
    let directory = tempfile::tempdir().unwrap();
    let found = [
        (ECDSA, "certgate", FullEcdsa, 140.0),
        (ECDSA, "nginx", FullEcdsa, 280.0),
    ];
    record::write(directory.path(), &once(&found)).unwrap();
    let text = std::fs::read_to_string(record::path(directory.path())).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let nginx = &document["results"][1];
    assert_eq!(
        (&nginx["program"], &nginx["scenario"]),
        (&"nginx".into(), &"full-ecdsa".into())
    );
    let measured = &nginx["measures"]["full_ecdsa_us"];
    assert_eq!(measured["median"], 280.0);
    assert_eq!(measured["certgate_ratio"], 0.5);
    assert_eq!((&nginx["rounds"], &nginx["quick"]), (&3.into(), &false.into()));
    assert_eq!(nginx["machine"]["congestion_control"], "reno");
}

#[test]
fn a_file_of_another_form_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["{", r#"{"measures": {}}"#, r#"{"format": 1, "results": []}"#] {
        std::fs::write(record::path(directory.path()), text).unwrap();
        let error = record::read(directory.path()).unwrap_err();
        assert!(
            error.contains("peers.json") && error.contains("move it away"),
            "{error}"
        );
    }
}

#[test]
fn a_later_run_replaces_what_it_has_measured_and_nothing_else() {
    let mut kept = once(&[
        (ECDSA, "certgate", FullEcdsa, 150.0),
        (ECDSA, "nginx", FullEcdsa, 294.0),
        (Scenario::FullPq, "certgate", FullPq, 160.0),
    ]);
    let mut later = Results::default();
    add(&mut later, &run(9), (ECDSA, "certgate"), &[(FullEcdsa, &[140.0])]);
    kept.merge(&later);
    let median = |name, measure| kept.cell(name, measure).unwrap().samples.median().unwrap();
    assert_eq!(median("certgate", FullEcdsa), 140.0);
    assert_eq!(median("nginx", FullEcdsa), 294.0);
    assert_eq!(median("certgate", FullPq), 160.0);
    assert_eq!(kept.cell("certgate", FullEcdsa).unwrap().run, &run(9));
}

#[test]
fn what_has_found_nothing_replaces_nothing() {
    let mut kept = once(&[(ECDSA, "nginx", FullEcdsa, 294.0)]);
    let mut later = Results::default();
    for name in ["nginx", "hitch"] {
        add(&mut later, &run(9), (ECDSA, name), &[]);
        let entry = later.entry(ECDSA, name, || unreachable!());
        entry.take(Err("it ended".to_owned()));
    }
    kept.merge(&later);
    assert!(kept.cell("nginx", FullEcdsa).is_some());
    assert_eq!(kept.problems(), ["hitch, full-ecdsa: it ended"]);
    assert_eq!((kept.failed(), later.failed()), (1, 2));
}

#[test]
fn a_problem_is_told_once_however_many_rounds_have_it() {
    let mut results = once(&[(ECDSA, "nginx", FullEcdsa, 294.0)]);
    for error in ["it ended", "it ended", "it does not serve"] {
        results
            .entry(ECDSA, "nginx", || unreachable!())
            .take(Err(error.to_owned()));
    }
    assert_eq!(results.problems().len(), 2);
    assert_eq!(results.failed(), 1);
}

#[test]
fn what_is_no_number_is_a_problem_and_no_sample() {
    let subject = once(&[(ECDSA, "nginx", FullEcdsa, 1.0)])
        .entries()
        .next()
        .unwrap()
        .2
        .subject
        .clone();
    let mut entry = Entry::new(run(0), subject);
    entry.take(Ok(vec![(FullEcdsa, f64::NAN), (Tickets, 1.0)]));
    assert!(!entry.samples.contains_key(&FullEcdsa) && entry.samples.contains_key(&Tickets));
    assert_eq!(entry.problems, ["full_ecdsa_us is NaN"]);
}

#[test]
fn only_what_one_run_has_measured_is_compared() {
    let mut results = once(&[
        (ECDSA, "certgate", FullEcdsa, 140.0),
        (ECDSA, "nginx", FullEcdsa, 280.0),
    ]);
    assert_eq!(results.certgate_ratio("nginx", FullEcdsa), Some(0.5));
    assert_eq!(results.certgate_ratio("certgate", FullEcdsa), None);
    let mut later = Results::default();
    add(&mut later, &run(9), (ECDSA, "nginx"), &[(FullEcdsa, &[280.0])]);
    results.merge(&later);
    assert_eq!(results.certgate_ratio("nginx", FullEcdsa), None);
}
