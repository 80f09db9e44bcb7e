//! What was measured so far.

use std::collections::BTreeMap;

use crate::measure::Measure;
use crate::statistics::Samples;

/// Samples by row and column, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: BTreeMap<Measure, BTreeMap<String, Samples>>,
    problems: Vec<String>,
}

impl Results {
    /// Adds what one round has found.
    pub(crate) fn add(&mut self, peer: &str, measure: Measure, value: f64) {
        let row = self.samples.entry(measure).or_default();
        row.entry(peer.to_owned()).or_default().push(value);
    }

    /// Adds something that went wrong; the table says "–" there if it never goes right.
    pub(crate) fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The rows, in the order of the table.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Measure, &BTreeMap<String, Samples>)> {
        self.samples.iter().map(|(measure, row)| (*measure, row))
    }

    /// One cell.
    pub(crate) fn cell(&self, peer: &str, measure: Measure) -> Option<&Samples> {
        self.samples.get(&measure)?.get(peer)
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }
}
