//! What the command line asks for.

use std::path::PathBuf;

use clap::Parser;

use crate::peers::{Kind, Peer};
use crate::scenario::Scenario;

/// certgate beside its peers: CPU per handshake and per byte, memory, and what changes cost.
#[derive(Debug, Parser)]
#[command(name = "tests/bench/run")]
pub(crate) struct Options {
    /// Three rounds of shorter measurements, under five minutes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds, instead of 5 (3 with --quick).
    #[arg(long)]
    rounds: Option<usize>,
    /// These scenarios only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// These peers only.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    peers: Vec<Kind>,
    /// Another certgate than target/dist/certgate: PATH, or NAME=PATH; may be given again to compare.
    #[arg(long, value_name = "[NAME=]PATH")]
    certgate: Vec<String>,
    /// Where certificates, stores, logs and results are kept.
    #[arg(long, default_value = "target/bench")]
    pub(crate) directory: PathBuf,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }

    /// What is measured, in the order of the table.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        let wanted = |scenario: &Scenario| match self.only.is_empty() {
            true => !self.quick || scenario.is_quick(),
            false => self.only.contains(scenario),
        };
        Scenario::ALL.into_iter().filter(wanted).collect()
    }

    /// Who is measured; those that are not there are named on standard error.
    pub(crate) fn peers(&self) -> Result<Vec<Peer>, String> {
        let mut peers = Vec::new();
        for kind in Kind::ALL {
            if !self.peers.is_empty() && !self.peers.contains(&kind) {
                continue;
            }
            if kind == Kind::Certgate && !self.certgate.is_empty() {
                for certgate in &self.certgate {
                    let (name, path) = certgate.split_once('=').unwrap_or(("certgate", certgate));
                    peers.push(Peer::at(kind, name.to_owned(), path.as_ref())?);
                }
                continue;
            }
            match Peer::usual(kind) {
                Ok(peer) => peers.push(peer),
                Err(error) => eprintln!("without {}: {error}", kind.name()),
            }
        }
        if peers.is_empty() {
            return Err("there is no peer to measure".to_owned());
        }
        Ok(peers)
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join(", ");
        format!("known are {names}")
    })
}
