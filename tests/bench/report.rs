//! `report.md`: all results as Markdown, ready to be quoted.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::kind::Kind;
use crate::results::{Column, Results, Run};
use crate::scenario::Scenario;
use crate::targets::Lines;
use crate::{table, targets};

/// The tables of programs, targets and primitives, and where all of it was measured. `alike` is how all programs are
/// configured.
pub(crate) fn page(results: &Results, alike: &str) -> String {
    let (programs, libraries) = (results.programs(), results.libraries());
    let mut parts = Vec::new();
    if !programs.is_empty() {
        parts.push(LEGEND.to_owned());
        parts.push(table::markdown(&programs, results));
    }
    let certgates = programs
        .iter()
        .filter(|column| column.kind == Some(Kind::Certgate));
    parts.extend(certgates.filter_map(|column| targets::markdown(&column.name, results, Lines::All)));
    if !libraries.is_empty() {
        parts.push("The same machine's primitives, in CPU time of one thread:\n".to_owned());
        parts.push(table::markdown(&libraries, results));
    }
    parts.push(runs(results));
    if !programs.is_empty() {
        parts.push(configurations(&programs, alike));
    }
    let problems = results.problems();
    if !problems.is_empty() {
        let lines = problems.iter().map(|problem| format!("- {problem}\n"));
        parts.push(format!("What went wrong:\n\n{}", lines.collect::<String>()));
    }
    parts.join("\n")
}

/// Writes `page` into `directory`.
///
/// # Errors
/// A sentence when it cannot be written.
pub(crate) fn write(directory: &Path, page: &str) -> Result<(), String> {
    let path = directory.join("report.md");
    fs::write(&path, page).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// When, where and how often what was measured: a line for each run, the latest first.
fn runs(results: &Results) -> String {
    let mut runs: Vec<&Run> = Vec::new();
    for (_, _, entry) in results.entries() {
        if !runs.contains(&&entry.run) {
            runs.push(&entry.run);
        }
    }
    runs.sort_by(|one, other| other.date.cmp(&one.date));
    let mut text = "Made by `./tests/bench/run`:\n\n".to_owned();
    for run in runs {
        let (mut scenarios, mut programs): (Vec<Scenario>, Vec<String>) = (Vec::new(), Vec::new());
        for (scenario, name, entry) in results.entries().filter(|(_, _, entry)| entry.run == *run) {
            let program = format!("{name} {}", entry.subject.version);
            let program = program.trim_end().to_owned();
            if !programs.contains(&program) {
                programs.push(program);
            }
            if !scenarios.contains(&scenario) {
                scenarios.push(scenario);
            }
        }
        let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name()).collect();
        writeln!(
            text,
            "- {}, {} rounds, {}: {}; {}; {}",
            minute(&run.date),
            run.rounds,
            if run.quick { "quick" } else { "full" },
            run.machine,
            programs.join(", "),
            names.join(", "),
        )
        .expect("a String takes everything");
    }
    text
}

fn configurations(programs: &[Column], alike: &str) -> String {
    let mut text = format!("Configured: {alike}. Beyond that:\n\n");
    for column in programs {
        text += format!("- {}: {}\n", column.name, column.configuration).as_str();
    }
    text
}

/// `2026-11-21T08:23:30.067Z` to the minute.
fn minute(date: &str) -> String {
    let minute = date.get(..16).unwrap_or(date);
    format!("{} UTC", minute.replace('T', " "))
}

const LEGEND: &str = "CPU time of all processes of a program, and memory (PSS). Medians of the rounds, ± half of the way from the \
     least to the most; in brackets certgate's median over that of the program, where one run has measured both. \
     Lower is better, but for \"slowest / mean\" and \"rate / one\"; – is what a program can't do or was not asked for.\n";
