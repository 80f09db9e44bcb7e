//! What people and programs get to see.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::{Value, json};

use certgate::clock::{Clock, SystemClock};

use crate::peers::{ALIKE, Kind, Peer};
use crate::results::Results;
use crate::statistics::Samples;
use crate::targets;
use crate::testbed::Testbed;

/// What is measured, and how it is configured.
pub(crate) fn heading(peers: &[Peer], testbed: &Testbed, rounds: usize) {
    println!("{}", machine());
    println!(
        "{rounds} rounds{}, medians; lower is better",
        if testbed.quick { ", quick" } else { "" }
    );
    println!("all: {ALIKE}");
    for peer in peers {
        println!("{} {}: {}", peer.name, peer.version, peer.about());
    }
    println!();
}

/// Where it is, in the last line of a terminal.
pub(crate) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// The medians, and the spread of the rounds in hundredths of them; then what went wrong.
pub(crate) fn table(peers: &[Peer], results: &Results) -> String {
    let line = |title: &str, cell: &dyn Fn(&Peer) -> String| {
        let cells = peers.iter().map(|peer| {
            let width = peer.name.len().max(12);
            format!(" {:>width$}", cell(peer))
        });
        format!("{title:<34}{}\n", cells.collect::<String>())
    };
    let mut table = line("", &|peer| peer.name.clone());
    for (measure, _) in results.rows() {
        let cell = |peer: &Peer| match results.cell(&peer.name, measure) {
            Some(samples) => cell(samples),
            None => "–".to_owned(),
        };
        table += &line(measure.title(), &cell);
    }
    for problem in results.problems() {
        table += &format!("! {problem}\n");
    }
    table
}

/// The targets, for each certgate: on standard output, and with `table` in `targets.md` of `directory`.
pub(crate) fn targets(
    peers: &[Peer],
    results: &Results,
    table: &str,
    directory: &Path,
) -> Result<(), String> {
    let certgates = peers.iter().filter(|peer| peer.kind == Kind::Certgate);
    let tables: Vec<_> = certgates
        .filter_map(|peer| targets::markdown(&peer.name, results))
        .collect();
    println!("{}", tables.join("\n"));
    let path = directory.join("targets.md");
    let text = format!(
        "{} ({})\n\n```text\n{table}```\n\n{}",
        machine(),
        SystemClock.now(),
        tables.join("\n")
    );
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// `peers.json` in `directory`.
pub(crate) fn write(
    directory: &Path,
    peers: &[Peer],
    results: &Results,
    testbed: &Testbed,
    rounds: usize,
) -> Result<(), String> {
    let row = |row: &std::collections::BTreeMap<String, Samples>| {
        let cells = row.iter().map(|(peer, samples)| {
            let cell = json!({
                "median": samples.median(),
                "min": samples.min(),
                "max": samples.max(),
                "samples": samples.values(),
            });
            (peer.clone(), cell)
        });
        Value::Object(cells.collect())
    };
    let peers = peers
        .iter()
        .map(|peer| json!({ "name": peer.name, "version": peer.version, "configuration": peer.about() }));
    let document = json!({
        "date": SystemClock.now().to_string(),
        "machine": machine(),
        "rounds": rounds,
        "quick": testbed.quick,
        "configuration": ALIKE,
        "peers": peers.collect::<Vec<_>>(),
        "measures": results.rows().map(|(measure, cells)| (measure.key(), row(cells))).collect::<Value>(),
        "problems": results.problems(),
    });
    let path = directory.join("peers.json");
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    fs::write(&path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}

fn cell(samples: &Samples) -> String {
    match (samples.median(), samples.spread()) {
        (Some(median), Some(spread)) if spread.is_finite() => {
            format!("{} ±{:.0}%", number(median), spread / 2.0)
        }
        (Some(median), _) => number(median),
        (None, _) => "–".to_owned(),
    }
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// The processor, the kernel, and what of the network matters.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models: Vec<_> = cpus
        .lines()
        .filter_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
        .collect();
    format!(
        "{} cores of {}, Linux {}, loopback, congestion control {}",
        models.len(),
        models.first().unwrap_or(&"an unknown processor"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    )
}
