//! Results with numbers that are known.

use crate::kind::Kind;
use crate::machine::Machine;
use crate::measure::Measure;
use crate::results::{Entry, Results, Run, Subject};
use crate::scenario::Scenario;

/// A run that began in this minute of an hour.
pub(crate) fn run(minute: u32) -> Run {
    Run {
        date: format!("2026-11-21T08:{minute:02}:30.067Z"),
        rounds: 3,
        quick: false,
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            kernel: "6.1".to_owned(),
            congestion_control: "reno".to_owned(),
        },
    }
}

/// Adds samples that `run` has found with the program `name`, which is of the kind of this name or else a certgate.
pub(crate) fn add(
    results: &mut Results,
    run: &Run,
    (scenario, name): (Scenario, &str),
    found: &[(Measure, &[f64])],
) {
    let subject = Subject {
        kind: Some(Kind::named(name).unwrap_or(Kind::Certgate)),
        version: "1.0".to_owned(),
        configuration: format!("as {name} is"),
    };
    let entry = results.entry(scenario, name, || Entry::new(run.clone(), subject));
    for (measure, samples) in found {
        for sample in *samples {
            entry.take(Ok(vec![(*measure, *sample)]));
        }
    }
}

/// One run with one sample for each.
pub(crate) fn once(found: &[(Scenario, &str, Measure, f64)]) -> Results {
    let mut results = Results::default();
    for (scenario, name, measure, value) in found {
        add(&mut results, &run(0), (*scenario, name), &[(*measure, &[*value])]);
    }
    results
}
