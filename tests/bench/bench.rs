//! certgate beside its peers, on one machine, all configured alike. `README.md` says how to run it and what it shows.

mod certificates;
mod cpu;
mod generator;
mod kind;
mod machine;
mod many;
mod measure;
mod memory;
mod options;
mod pace;
mod peers;
mod primitives;
mod proxy;
mod record;
mod report;
mod results;
mod scenario;
mod scenarios;
mod statistics;
mod table;
mod targets;
mod testbed;

use std::process::ExitCode;

use certgate::clock::{Clock, SystemClock};
use clap::Parser;

use kind::Kind;
use machine::Machine;
use options::Options;
use pace::Pace;
use peers::{ALIKE, Peer};
use results::{Entry, Results, Run};
use scenario::Scenario;
use scenarios::Running;
use targets::Lines;
use testbed::Testbed;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.report {
        true => report(&options),
        false => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(options: &Options) -> Result<(), String> {
    let recorded = record::read(&options.directory)?;
    if recorded == Results::default() {
        let path = record::path(&options.directory);
        return Err(format!(
            "nothing was measured yet: {} is not there",
            path.display()
        ));
    }
    let page = report::page(&recorded, ALIKE);
    print!("{page}");
    report::write(&options.directory, &page)
}

fn run(options: &Options) -> Result<(), String> {
    let scenarios = options.scenarios();
    let (peers, missing) = match scenarios[..] {
        [Scenario::Primitives] => Default::default(),
        _ => options.peers()?,
    };
    // A file that cannot be read is known before an hour has passed.
    let recorded = record::read(&options.directory)?;
    let mut testbed = Testbed::new(&options.directory, options.quick)?;
    let run = Run {
        date: SystemClock.now().to_string(),
        rounds: options.rounds(),
        quick: options.quick,
        machine: Machine::this(),
    };
    heading(&run, &peers, &missing, &scenarios, &testbed);
    let (mut results, mut pace) = (Results::default(), Pace::new(run.rounds));
    for round in 1..=run.rounds {
        let mut running = Running::default();
        for scenario in &scenarios {
            pace.announce(&scenario.name());
            for peer in in_turn(&peers, round).filter(|peer| scenario.suits(peer.kind)) {
                let on = (&mut testbed, &mut running);
                scenarios::run(*scenario, peer, on, (&run, &mut results, &mut pace));
            }
        }
        drop(running);
        if scenarios.contains(&Scenario::Primitives) {
            let found = pace.during(Scenario::Primitives, primitives::run);
            let new = || Entry::new(run.clone(), primitives::subject());
            results
                .entry(Scenario::Primitives, primitives::NAME, new)
                .take(found);
        }
        pace.end_round();
        results.rounds_done(round);
        if !options.unrecorded {
            // After each round: one that is ended early has not measured in vain.
            let mut all = recorded.clone();
            all.merge(&results);
            record::write(&options.directory, &all)?;
            report::write(&options.directory, &report::page(&all, ALIKE))?;
        }
    }
    pace.summary();
    print_results(&results);
    if !options.unrecorded {
        let directory = options.directory.display();
        println!("written: {directory}/peers.json, {directory}/report.md");
    }
    conclusion(results.failed(), &missing)
}

/// All of them right after one another, so that whatever the machine does meanwhile, it does to all; and in each round another
/// is the first.
fn in_turn(peers: &[Peer], round: usize) -> impl Iterator<Item = &Peer> {
    let others = peers.iter().cycle().skip(round - 1);
    others.take(peers.len())
}

/// What is measured, how it is configured, and what is left out.
fn heading(run: &Run, peers: &[Peer], missing: &[String], scenarios: &[Scenario], testbed: &Testbed) {
    println!("{}", run.machine);
    let quick = if run.quick { ", quick" } else { "" };
    println!(
        "{} rounds{quick}, medians; lower is better, but for \"slowest / mean\", \"rate / one\" and GB/s;",
        run.rounds
    );
    println!("± half of the way from the least to the most, × certgate's median over the peer's");
    let left_out = Scenario::all()
        .iter()
        .filter(|scenario| !scenarios.contains(scenario));
    let left_out: Vec<_> = left_out.map(|scenario| scenario.name()).collect();
    if !left_out.is_empty() {
        println!("left out: {}", left_out.join(", "));
    }
    let most = testbed.most_connections(usize::MAX);
    if scenarios.contains(&Scenario::Idle) && !run.quick && most < 10_000 {
        println!(
            "idle: {most} connections instead of 10,000: the limit of open files (ulimit -Hn) allows no more"
        );
    }
    if !peers.is_empty() {
        println!("all: {ALIKE}");
    }
    for peer in peers {
        println!("{} {}: {}", peer.name, peer.version, peer.about());
    }
    for line in missing {
        println!("without {line}");
    }
    println!();
}

fn print_results(results: &Results) {
    for columns in [results.programs(), results.libraries()] {
        if !columns.is_empty() {
            println!("{}", table::text(&columns, results));
        }
        for column in columns
            .iter()
            .filter(|column| column.kind == Some(Kind::Certgate))
        {
            if let Some(table) = targets::markdown(&column.name, results, Lines::Measured) {
                println!("{table}");
            }
        }
    }
    for problem in results.problems() {
        println!("! {problem}");
    }
}

fn conclusion(failed: usize, missing: &[String]) -> Result<(), String> {
    let mut wrong = Vec::new();
    if failed > 0 {
        let plural = if failed == 1 { "" } else { "s" };
        wrong.push(format!("{failed} scenario{plural} failed"));
    }
    wrong.extend(missing.iter().map(|line| format!("without {line}")));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n       ")),
    }
}
