//! The configuration: from the file as written to a valid [`Config`], or every problem at once.
//!
//! [`load`] reads one TOML file, or the `*.toml` of a directory in name order. Reading goes in two steps: first
//! exactly what was written, table by table, every value with its place; then what it means, with every check
//! across tables. Both steps go on after a finding, so that one run reports all of them.

mod alpn;
mod byte_size;
mod check;
mod collection;
mod diagnostic;
mod dns_provider;
mod document;
mod export;
mod external_account;
mod files;
mod hook;
mod on_demand;
mod period;
mod policy_part;
mod reader;
mod resource;
mod settings;
mod source;
mod suggestion;
mod text;
mod value;
mod word;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use diagnostic::{Code, Diagnostic, Diagnostics, Position, Severity};
pub use dns_provider::*;
pub use export::ExportConfig;
pub use external_account::ExternalAccountConfig;
pub use files::Files;
pub use hook::{Fraction, HookConfig, HookEvent, HookTarget, WebhookConfig};
pub use on_demand::OnDemandConfig;
pub use resource::{NotAResource, ResourceId, ResourceKind, ResourceTable, RuntimeChanges};
pub use settings::*;

use diagnostic::Report;
use source::Sources;

use crate::policy::Policy;

/// What a configuration means depends on besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    /// The value of `$STATE_DIRECTORY`; where it names several directories, the first counts.
    pub state_directory: Option<&'a OsStr>,
    /// How many data-plane threads are right where the file does not say.
    pub cores: usize,
}

impl Environment<'_> {
    /// Where the store is when no file says otherwise: `$STATE_DIRECTORY`, else `./certgate-data`.
    pub fn default_store(&self) -> PathBuf {
        let text = self.state_directory.and_then(|value| value.to_str());
        // systemd separates several directories by colons (systemd.exec(5), StateDirectory=).
        let first = text
            .and_then(|text| text.split(':').next())
            .filter(|text| !text.is_empty());
        match (first, self.state_directory) {
            (Some(first), _) => PathBuf::from(first),
            (None, Some(value)) if text.is_none() => PathBuf::from(value),
            _ => PathBuf::from("./certgate-data"),
        }
    }
}

/// A configuration that can be used, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// Reads and checks the file at `path`, or all `*.toml` files of the directory there, joined in name order; each
/// table stands in one of them only. Relative paths start at the directory of the file that has them. Files named
/// in the configuration must be there, and files of CA certificates must hold one; nothing is written.
///
/// # Errors
/// Everything that is wrong, in order, with at least one error among it.
pub fn load(path: &Path, environment: &Environment<'_>) -> Result<Loaded, Diagnostics> {
    let mut report = Report::default();
    let sources = Sources::read(path, &mut report);
    evaluate(
        sources,
        &RuntimeChanges::new(),
        &BTreeSet::new(),
        report,
        environment,
    )
}

/// The policies that `tables` say, each with its name: those of one configuration, or of a running gateway.
///
/// # Errors
/// Everything that is wrong with them.
pub fn policies(
    tables: impl IntoIterator<Item = (String, ResourceTable)>,
    environment: &Environment<'_>,
) -> Result<BTreeMap<String, Arc<Policy>>, Diagnostics> {
    let (mut sources, mut report) = (Sources::default(), Report::default());
    for (name, table) in tables {
        let id = ResourceId::new(ResourceKind::Policy, name);
        sources.add_change(resource::title(&id), resource::document(&id, &table));
    }
    let document = document::read(&sources, &RuntimeChanges::new(), &mut report);
    let policies =
        document.and_then(|document| check::policies(&document, &sources, environment, &mut report));
    match policies {
        Some(policies) if !report.has_errors() => Ok(policies),
        _ => Err(Diagnostics::new(Arc::new(sources), report)),
    }
}

/// The JSON Schema of a configuration file.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(written::Document);
    schema.insert("title".into(), "certgate".into());
    schema.to_value()
}

fn evaluate(
    mut sources: Sources,
    changes: &RuntimeChanges,
    settled_bundles: &BTreeSet<String>,
    mut report: Report,
    environment: &Environment<'_>,
) -> Result<Loaded, Diagnostics> {
    for (id, table) in changes {
        if let Some(table) = table {
            sources.add_change(resource::title(id), resource::document(id, table));
        }
    }
    let document = document::read(&sources, changes, &mut report);
    let config = document
        .and_then(|document| check::check(&document, &sources, settled_bundles, environment, &mut report));
    if let Some(config) = &config
        && config.listeners.is_empty()
        && !report.has_errors()
    {
        // An emptied file is an accident; applied, it would end every service.
        let nothing = "the configuration has no listener, so nothing would be served";
        let help = "add `[listeners.NAME]` with `port`, `certificates` and `server_group`";
        report.push(Diagnostic::new(Code::NoListener, nothing).help(help));
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "tests/fixtures/config/valid/everything.toml";

    /// Everything that a text goes through, to the last line that is shown.
    fn go_through(text: String) -> Result<Loaded, Diagnostics> {
        let mut sources = Sources::default();
        sources.add(Path::new(VALID), text);
        let environment = Environment {
            state_directory: None,
            cores: 1,
        };
        let (changes, settled) = (RuntimeChanges::new(), BTreeSet::new());
        let result = evaluate(sources, &changes, &settled, Report::default(), &environment);
        let diagnostics = match &result {
            Ok(loaded) => &loaded.warnings,
            Err(diagnostics) => diagnostics,
        };
        for colour in [false, true] {
            let shown = diagnostics.render(colour);
            assert_eq!(shown.is_empty(), diagnostics.is_empty());
        }
        result
    }

    /// A cut or a replacement at a place given in thousandths of the text.
    fn mutate(text: &str, edits: &[(usize, usize, String)]) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, length, replacement) in edits {
            let start = characters.len() * (at % 1000) / 1000;
            let end = (start + length).min(characters.len());
            characters.splice(start..end, replacement.chars());
        }
        characters.into_iter().collect()
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_fail_without_a_reason(text in any::<String>()) {
            if let Err(diagnostics) = go_through(text) {
                prop_assert!(diagnostics.count(Severity::Error) > 0);
            }
        }

        #[test]
        fn no_mutation_of_a_good_file_makes_it_panic_or_fail_without_a_reason(
            edits in proptest::collection::vec(
                (0_usize..1000, 0_usize..40, "[\\[\\]{}=\"'.,#\n\r\ta-z0-9_*/:\u{0}\u{e9}\u{202e}-]{0,12}"),
                1..6,
            ),
        ) {
            let text = mutate(&fs::read_to_string(VALID)?, &edits);
            if let Err(diagnostics) = go_through(text) {
                prop_assert!(diagnostics.count(Severity::Error) > 0);
            }
        }

        #[test]
        fn a_finding_is_shown_with_its_file_line_and_column(
            at in 0_usize..1000,
            replacement in "[\\[\\]={}\"a-z ]{1,3}",
        ) {
            let text = mutate(&fs::read_to_string(VALID)?, &[(at, 4, replacement)]);
            if let Err(diagnostics) = go_through(text) {
                let shown = diagnostics.to_string();
                for found in &diagnostics {
                    let position = found.position().map(ToString::to_string);
                    prop_assert!(position.is_some_and(|position| shown.contains(&position)), "{}", found.message());
                }
            }
        }
    }
}
