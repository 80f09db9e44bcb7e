//! What the command line asks for.

use std::path::PathBuf;

use clap::Parser;

use crate::kind::Kind;
use crate::peers::Peer;
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
    /// Print what it finds, and leave the results of earlier runs as they are.
    #[arg(long)]
    pub(crate) unrecorded: bool,
    /// Print all recorded results as Markdown, and measure nothing.
    #[arg(long)]
    pub(crate) report: bool,
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
        let wanted = |scenario: &&Scenario| match self.only.is_empty() {
            true => !self.quick || scenario.is_quick(),
            false => self.only.contains(scenario),
        };
        Scenario::all().iter().filter(wanted).copied().collect()
    }

    /// Who is measured, and for each that was asked for and is not there a line that says how to get it.
    ///
    /// # Errors
    /// A sentence when there is nobody, or no certgate where one was said to be.
    pub(crate) fn peers(&self) -> Result<(Vec<Peer>, Vec<String>), String> {
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        let wanted = |kind: &Kind| self.peers.is_empty() || self.peers.contains(kind);
        for kind in Kind::ALL.into_iter().filter(wanted) {
            if kind == Kind::Certgate && !self.certgate.is_empty() {
                for certgate in &self.certgate {
                    let (name, path) = certgate.split_once('=').unwrap_or(("certgate", certgate));
                    peers.push(Peer::at(kind, name.to_owned(), path.as_ref())?);
                }
                continue;
            }
            match Peer::usual(kind) {
                Ok(peer) => peers.push(peer),
                Err(error) => missing.push(format!("{}: {error}: {}", kind.name(), kind.how_to_get())),
            }
        }
        match peers.is_empty() {
            true => Err(format!("there is no peer to measure\n{}", missing.join("\n"))),
            false => Ok((peers, missing)),
        }
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::named(name).ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join(", ");
        format!("known are {names}")
    })
}
