//! The configuration: from the file as written to a valid [`Config`], or every problem at once.
//!
//! [`load`] reads one TOML file, or the `*.toml` of a directory in name order. Reading goes in two steps: first
//! exactly what was written, table by table, every value with its place; then what it means, with every check
//! across tables. Both steps go on after a finding, so that one run reports all of them.

mod check;
mod collection;
mod diagnostic;
mod document;
mod period;
mod reader;
mod settings;
mod source;
mod suggestion;
mod value;
mod word;
mod written;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

pub use diagnostic::{Code, Diagnostic, Diagnostics, Position, Severity};
pub use settings::*;

use diagnostic::Report;
use source::Sources;

/// What a configuration means depends on besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    /// The value of `$STATE_DIRECTORY`; where it names several directories, the first counts.
    pub state_directory: Option<&'a OsStr>,
    /// How many data-plane threads are right where the file does not say.
    pub cores: usize,
    /// The names of the TLS security policies there are.
    pub policies: &'a [&'a str],
}

/// A configuration that can be used, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// Reads and checks the file at `path`, or all `*.toml` files of the directory there. Nothing but these files is
/// read, except that files named in them must be there.
///
/// # Errors
/// Everything that is wrong, in order, with at least one error among it.
pub fn load(path: &Path, environment: &Environment<'_>) -> Result<Loaded, Diagnostics> {
    let mut report = Report::default();
    let sources = Sources::read(path, &mut report);
    evaluate(sources, report, environment)
}

/// The JSON Schema of a configuration file.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(written::Document).to_value()
}

fn evaluate(
    sources: Sources,
    mut report: Report,
    environment: &Environment<'_>,
) -> Result<Loaded, Diagnostics> {
    let document = document::read(&sources, &mut report);
    let config = document.and_then(|document| check::check(&document, &sources, environment, &mut report));
    let failed = report.has_errors();
    let diagnostics = Diagnostics::new(Arc::new(sources), report);
    match config {
        Some(config) if !failed => Ok(Loaded {
            config,
            warnings: diagnostics,
        }),
        _ => Err(diagnostics),
    }
}
