//! What was measured: by this run, and by runs before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::machine::Machine;
use crate::measure::Measure;
use crate::scenario::Scenario;
use crate::statistics::Samples;

/// What all results of one run have in common. Only such are compared: the machine is not the same in another hour.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Run {
    /// When it began.
    pub(crate) date: String,
    /// How many there were, of one that was ended early as well.
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
}

/// What was measured: a program, or a library.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Subject {
    /// None for what is no program.
    pub(crate) kind: Option<Kind>,
    pub(crate) version: String,
    /// How it was configured beyond what all have in common.
    pub(crate) configuration: String,
}

/// What one scenario has found with one subject.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) run: Run,
    pub(crate) subject: Subject,
    pub(crate) samples: BTreeMap<Measure, Samples>,
    pub(crate) problems: Vec<String>,
}

impl Entry {
    pub(crate) fn new(run: Run, subject: Subject) -> Self {
        Self {
            run,
            subject,
            samples: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Adds what one round has found, or why it has found nothing.
    pub(crate) fn take(&mut self, found: Result<Vec<(Measure, f64)>, String>) {
        match found {
            Ok(found) => found
                .into_iter()
                .for_each(|(measure, value)| self.add(measure, value)),
            Err(error) => self.problem(error),
        }
    }

    fn add(&mut self, measure: Measure, value: f64) {
        match value.is_finite() {
            true => self.samples.entry(measure).or_default().push(value),
            false => self.problem(format!("{} is {value}", measure.key())),
        }
    }

    fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// What is in a cell of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) samples: &'a Samples,
    pub(crate) run: &'a Run,
}

/// A column of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Option<Kind>,
    /// More than one when its results are of several.
    pub(crate) versions: Vec<String>,
    pub(crate) configuration: String,
}

/// Entries by scenario and the name of the subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results(BTreeMap<(Scenario, String), Entry>);

impl Results {
    /// What `scenario` has found with the subject called `name`, so far.
    pub(crate) fn entry(
        &mut self,
        scenario: Scenario,
        name: &str,
        new: impl FnOnce() -> Entry,
    ) -> &mut Entry {
        self.0.entry((scenario, name.to_owned())).or_insert_with(new)
    }

    /// All that was measured was measured in so many rounds.
    pub(crate) fn rounds_done(&mut self, rounds: usize) {
        for entry in self.0.values_mut() {
            entry.run.rounds = rounds;
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (Scenario, &str, &Entry)> {
        let all = self.0.iter();
        all.map(|((scenario, name), entry)| (*scenario, name.as_str(), entry))
    }

    /// Takes what a later run has found in the place of what was there. Where that has found nothing at all, what was
    /// there stays.
    pub(crate) fn merge(&mut self, later: &Self) {
        for (key, entry) in &later.0 {
            if !entry.samples.is_empty() || !self.0.contains_key(key) {
                self.0.insert(key.clone(), entry.clone());
            }
        }
    }

    /// One cell.
    pub(crate) fn cell(&self, name: &str, measure: Measure) -> Option<Cell<'_>> {
        self.entries().find_map(|(_, of, entry)| {
            let samples = entry.samples.get(&measure).filter(|_| of == name)?;
            let run = &entry.run;
            Some(Cell { samples, run })
        })
    }

    /// One median over another, if both are of the same run.
    pub(crate) fn ratio(&self, of: (&str, Measure), to: (&str, Measure)) -> Option<f64> {
        let (of, to) = (self.cell(of.0, of.1)?, self.cell(to.0, to.1)?);
        let ratio = of.samples.median()? / to.samples.median()?;
        (of.run == to.run && ratio.is_finite()).then_some(ratio)
    }

    /// certgate's median over that of `name`; of several certgates the first one's.
    pub(crate) fn certgate_ratio(&self, name: &str, measure: Measure) -> Option<f64> {
        let certgate = self.programs().into_iter().next()?;
        let compares = certgate.kind == Some(Kind::Certgate) && certgate.name != name && !measure.is_detail();
        compares
            .then(|| self.ratio((&certgate.name, measure), (name, measure)))
            .flatten()
    }

    /// The programs, certgate first.
    pub(crate) fn programs(&self) -> Vec<Column> {
        self.columns(|subject| subject.kind.is_some())
    }

    /// What is no program.
    pub(crate) fn libraries(&self) -> Vec<Column> {
        self.columns(|subject| subject.kind.is_none())
    }

    fn columns(&self, wanted: impl Fn(&Subject) -> bool) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for (_, name, entry) in self.entries().filter(|(_, _, entry)| wanted(&entry.subject)) {
            let subject = &entry.subject;
            let position = columns.iter().position(|column| column.name == name);
            let position = position.unwrap_or_else(|| {
                columns.push(Column {
                    name: name.to_owned(),
                    kind: subject.kind,
                    versions: Vec::new(),
                    configuration: subject.configuration.clone(),
                });
                columns.len() - 1
            });
            let versions = &mut columns[position].versions;
            if !versions.contains(&subject.version) {
                versions.push(subject.version.clone());
            }
        }
        columns.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
        columns
    }

    /// What went wrong: a line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let lines = self.entries().flat_map(|(scenario, name, entry)| {
            let line = move |problem| format!("{name}, {}: {problem}", scenario.name());
            entry.problems.iter().map(line)
        });
        lines.collect()
    }

    /// In how many scenarios of how many programs something went wrong.
    pub(crate) fn failed(&self) -> usize {
        self.entries()
            .filter(|(_, _, entry)| !entry.problems.is_empty())
            .count()
    }
}
