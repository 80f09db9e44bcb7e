//! `peers.json`: the results of all runs, the latest of each scenario with each program.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::measure::Measure;
use crate::results::{Entry, Results, Run, Subject};
use crate::scenario::Scenario;
use crate::statistics::Samples;

#[derive(Deserialize, Serialize)]
struct Document {
    format: u32,
    results: Vec<Stored>,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    scenario: String,
    program: String,
    kind: Option<String>,
    version: String,
    configuration: String,
    #[serde(flatten)]
    run: Run,
    measures: BTreeMap<String, StoredSamples>,
    problems: Vec<String>,
}

/// All but the samples is for readers, and computed anew.
#[derive(Deserialize, Serialize)]
struct StoredSamples {
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    /// certgate's median over this one.
    certgate_ratio: Option<f64>,
    samples: Vec<f64>,
}

/// What is in the file of `directory`; nothing when there is none.
///
/// # Errors
/// A sentence when it cannot be read, or is of another form.
pub(crate) fn read(directory: &Path) -> Result<Results, String> {
    let path = path(directory);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Results::default()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let document: Document = serde_json::from_str(&text).map_err(|error| {
        format!(
            "{} is not of this benchmark, move it away: {error}",
            path.display()
        )
    })?;
    if document.format != FORMAT {
        let (path, format) = (path.display(), document.format);
        return Err(format!("{path} has format {format}, not {FORMAT}: move it away"));
    }
    let mut results = Results::default();
    for stored in document.results {
        // What another version of the benchmark has measured, and this one does not know.
        let Some(scenario) = Scenario::named(&stored.scenario) else {
            continue;
        };
        results.entry(scenario, &stored.program.clone(), || stored.into_entry());
    }
    Ok(results)
}

/// Writes the file of `directory`, whole or not at all.
///
/// # Errors
/// A sentence when it cannot be written.
pub(crate) fn write(directory: &Path, results: &Results) -> Result<(), String> {
    let stored = results.entries().map(|(scenario, name, entry)| {
        let measures = entry.samples.iter().map(|(measure, samples)| {
            let stored = StoredSamples {
                median: samples.median(),
                min: samples.min(),
                max: samples.max(),
                certgate_ratio: results.certgate_ratio(name, *measure),
                samples: samples.values().to_vec(),
            };
            (measure.key().to_owned(), stored)
        });
        Stored {
            scenario: scenario.name(),
            program: name.to_owned(),
            kind: entry.subject.kind.map(|kind| kind.name().to_owned()),
            version: entry.subject.version.clone(),
            configuration: entry.subject.configuration.clone(),
            run: entry.run.clone(),
            measures: measures.collect(),
            problems: entry.problems.clone(),
        }
    });
    let document = Document {
        format: FORMAT,
        results: stored.collect(),
    };
    let path = path(directory);
    let fail = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", path.display());
    let text = serde_json::to_string_pretty(&document).map_err(|error| fail(&error))?;
    let new = path.with_extension("json.new");
    fs::write(&new, text + "\n").map_err(|error| fail(&error))?;
    fs::rename(&new, &path).map_err(|error| fail(&error))
}

/// Where it is.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("peers.json")
}

impl Stored {
    fn into_entry(self) -> Entry {
        let subject = Subject {
            kind: self.kind.as_deref().and_then(Kind::named),
            version: self.version,
            configuration: self.configuration,
        };
        let mut entry = Entry::new(self.run, subject);
        for (key, stored) in self.measures {
            if let Some(measure) = Measure::named(&key) {
                entry.samples.insert(measure, Samples::from(stored.samples));
            }
        }
        entry.problems = self.problems;
        entry
    }
}

const FORMAT: u32 = 2;
