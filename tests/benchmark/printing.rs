//! The tables as they are printed, and the page.

use crate::kind::Kind;
use crate::known::{add, once, run};
use crate::measure::Measure;
use crate::report;
use crate::results::{Entry, Results, Subject};
use crate::scenario::Scenario;
use crate::table;

#[test]
fn every_row_of_five_programs_fits_into_120_columns() {
    let mut results = Results::default();
    for kind in Kind::ALL {
        for measure in Measure::ALL {
            let found: (_, &[f64]) = (*measure, &[9_000.0, 11_000.0, 9_600.0]);
            add(
                &mut results,
                &run(0),
                (Scenario::FullEcdsa, kind.name()),
                &[found],
            );
        }
    }
    let text = table::text(&results.programs(), &results);
    assert_eq!(text.lines().count(), Measure::ALL.len() + 1);
    for line in text.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
    assert!(text.contains("9600 ±10% 1.00×"), "{text}");
}

#[test]
fn certgate_comes_first_and_others_have_its_ratio() {
    let text = table::text(&results().programs(), &results());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["certgate", "nginx", "sozu"]
    );
    let words: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(
        words,
        [
            "full",
            "handshake",
            "ECDSA,",
            "µs",
            "140",
            "±14%",
            "280",
            "0.50×",
            "160",
            "0.88×"
        ]
    );
    // A share of a core is compared with nothing.
    assert!(
        lines[2].contains("generator") && !lines[2].contains('×'),
        "{}",
        lines[2]
    );
}

#[test]
fn markdown_has_a_column_for_each_program_and_a_dash_for_what_is_missing() {
    let markdown = table::markdown(&results().programs(), &results());
    let lines: Vec<_> = markdown.lines().collect();
    assert_eq!(lines[0], "| | certgate 1.0 | nginx 1.0 | sozu 1.0 |");
    assert_eq!(lines[1], "| --- | --- | --- | --- |");
    assert_eq!(
        lines[2],
        "| full handshake ECDSA, µs | 140 ±14% | 280 (0.50 ×) | 160 (0.88 ×) |"
    );
    assert_eq!(lines[3], "| … generator, % of its core | 50.0 | 25.0 | – |");
    assert_eq!(lines[4], "| full handshake X25519MLKEM768, µs | 160 | – | – |");
    assert_eq!(lines.len(), 5);
}

#[test]
fn a_program_of_two_versions_shows_both() {
    let mut results = results();
    let new = || {
        let subject = Subject {
            kind: Some(Kind::Certgate),
            version: "2.0".to_owned(),
            configuration: String::new(),
        };
        Entry::new(run(9), subject)
    };
    results
        .entry(Scenario::Idle, "certgate", new)
        .take(Ok(vec![(Measure::Idle, 3.0)]));
    let markdown = table::markdown(&results.programs(), &results);
    assert!(
        markdown.starts_with("| | certgate 1.0, 2.0 | nginx 1.0 |"),
        "{markdown}"
    );
}

#[test]
fn the_page_has_all_tables_and_a_line_for_each_run() {
    let mut results = results();
    add(
        &mut results,
        &run(9),
        (Scenario::Idle, "certgate"),
        &[(Measure::Idle, &[3.0])],
    );
    let library = || {
        let subject = Subject {
            kind: None,
            version: String::new(),
            configuration: String::new(),
        };
        Entry::new(run(9), subject)
    };
    let primitives = results.entry(Scenario::Primitives, "aws-lc-rs", library);
    primitives.take(Ok(vec![(Measure::EcdsaSign, 15.0)]));
    let nginx = results.entry(Scenario::FullEcdsa, "nginx", || unreachable!());
    nginx.take(Err("it ended".to_owned()));
    let page = report::page(&results, "all alike");
    for expected in [
        "\n| | certgate 1.0 | nginx 1.0 | sozu 1.0 |\n",
        "\n| certgate | target | measured | |\n",
        "\n| idle connection after traffic | ≤ 3 KiB | 3.00 KiB | met |\n",
        "\n| upload, per byte | ≤ 0.8 × sozu; ≤ 0.55 × nginx | –; – | not measured |\n",
        "\n| | aws-lc-rs |\n| --- | --- |\n| ECDSA P-256 signature, µs | 15.0 |\n",
        "\n- 2026-11-21 08:09 UTC, 3 rounds, full: 2 cores of a processor, Linux 6.1, loopback, congestion control reno; \
         certgate 1.0, aws-lc-rs; idle, primitives\n\
         - 2026-11-21 08:00 UTC, 3 rounds, full: 2 cores of a processor, Linux 6.1, loopback, congestion control reno; \
         certgate 1.0, nginx 1.0, sozu 1.0; full-ecdsa, full-pq\n",
        "\nConfigured: all alike.",
        "\n- nginx: as nginx is\n",
        "\n- nginx, full-ecdsa: it ended\n",
    ] {
        assert!(page.contains(expected), "no {expected}\nin:\n{page}");
    }
}

fn results() -> Results {
    const ECDSA: Scenario = Scenario::FullEcdsa;
    let mut results = once(&[
        (ECDSA, "nginx", Measure::FullEcdsa, 280.0),
        (ECDSA, "nginx", Measure::FullEcdsaGenerator, 25.0),
        (ECDSA, "sozu", Measure::FullEcdsa, 160.0),
        (ECDSA, "certgate", Measure::FullEcdsaGenerator, 50.0),
        (Scenario::FullPq, "certgate", Measure::FullPq, 160.0),
    ]);
    let found: [(_, &[f64]); 1] = [(Measure::FullEcdsa, &[160.0, 120.0, 140.0])];
    add(&mut results, &run(0), (ECDSA, "certgate"), &found);
    results
}
