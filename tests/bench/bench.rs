//! certgate beside its peers, on one machine, all configured alike. `README.md` says how to run it and what it shows.

mod certificates;
mod cpu;
mod generator;
mod many;
mod measure;
mod memory;
mod options;
mod peers;
mod proxy;
mod report;
mod results;
mod scenario;
mod scenarios;
mod statistics;
mod targets;
mod testbed;

use std::process::ExitCode;

use clap::Parser;

use options::Options;
use results::Results;
use testbed::Testbed;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let (peers, scenarios) = (options.peers()?, options.scenarios());
    let mut testbed = Testbed::new(&options.directory, options.quick)?;
    let mut results = Results::default();
    report::heading(&peers, &testbed, options.rounds());
    for round in 1..=options.rounds() {
        // Peer after peer in each round: whatever the machine does meanwhile, it does to all.
        for peer in &peers {
            report::progress(&format!("round {round} of {}: {}", options.rounds(), peer.name));
            scenarios::run(&scenarios, peer, &mut testbed, &mut results);
        }
    }
    report::progress("");
    let table = report::table(&peers, &results);
    println!("{table}");
    report::targets(&peers, &results, &table, &options.directory)?;
    report::write(&options.directory, &peers, &results, &testbed, options.rounds())
}
