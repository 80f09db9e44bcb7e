//! The files of a configuration as they were read, and what they mean together with what was changed at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::diagnostic::Report;
use crate::config::resource::{ResourceId, ResourceKind, ResourceTable, RuntimeChanges};
use crate::config::settings::{LogConfig, StoreConfig};
use crate::config::source::Sources;
use crate::config::{Diagnostics, Environment, Loaded, check, document, evaluate};

/// The files of a configuration as they were read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Files(Sources);

impl Files {
    /// Reads the file at `path`, or all `*.toml` files of the directory there; what they say is not looked at.
    ///
    /// # Errors
    /// What cannot be read, and whatever else is wrong then.
    pub fn read(path: &Path, environment: &Environment<'_>) -> Result<Self, Diagnostics> {
        let mut report = Report::default();
        let sources = Sources::read(path, &mut report);
        if !report.has_errors() {
            return Ok(Self(sources));
        }
        match evaluate(
            sources,
            &RuntimeChanges::new(),
            &BTreeSet::new(),
            report,
            environment,
        ) {
            Err(diagnostics) => Err(diagnostics),
            Ok(_) => Ok(Self::default()),
        }
    }

    /// Files by their paths, which say where relative paths in them start, and texts.
    pub fn from_texts(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut sources = Sources::default();
        for (path, text) in texts {
            sources.add(&path, text);
        }
        Self(sources)
    }

    /// Every file's path and text, in their order.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|source| (source.name.as_str(), source.text.as_str()))
    }

    /// What the files mean where `changes` stand in the place of some of their tables. The CA files of
    /// `settled_bundles` are not looked at: these are in force already, and whatever has become of their files is no
    /// reason to refuse something else.
    ///
    /// # Errors
    /// Everything that is wrong, in order, with at least one error among it.
    pub fn check(
        &self,
        changes: &RuntimeChanges,
        settled_bundles: &BTreeSet<String>,
        environment: &Environment<'_>,
    ) -> Result<Loaded, Diagnostics> {
        evaluate(
            self.0.clone(),
            changes,
            settled_bundles,
            Report::default(),
            environment,
        )
    }

    /// Where the store is and how is logged, as far as the files say it in a usable way: what is needed before it can
    /// be known what was changed at run time.
    pub fn foundation(&self, environment: &Environment<'_>) -> Option<(StoreConfig, LogConfig)> {
        let mut report = Report::default();
        let document = document::read(&self.0, &RuntimeChanges::new(), &mut report)?;
        check::foundation(&document, &self.0, environment, &mut report)
    }

    /// What the files say of each resource.
    pub fn resources(&self) -> BTreeMap<ResourceId, ResourceTable> {
        let mut found = BTreeMap::new();
        for (name, value) in self.sections() {
            let kind = ResourceKind::ALL.into_iter().find(|kind| kind.section() == name);
            let (Some(kind), Value::Object(tables)) = (kind, value) else {
                continue;
            };
            for (name, table) in tables {
                if let Value::Object(table) = table {
                    found.insert(ResourceId::new(kind, name), table);
                }
            }
        }
        found
    }

    /// What they say of everything that is no resource: `log`, `certificate_directories.sites`.
    pub fn other_tables(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for (section, value) in self.sections() {
            if ResourceKind::ALL.iter().any(|kind| kind.section() == section) {
                continue;
            }
            match value {
                Value::Object(tables) if NAMED.contains(&section.as_str()) => {
                    found.extend(
                        tables
                            .into_iter()
                            .map(|(name, table)| (format!("{section}.{name}"), table)),
                    );
                }
                value => drop(found.insert(section, value)),
            }
        }
        found
    }

    fn sections(&self) -> impl Iterator<Item = (String, Value)> {
        self.0.iter().flat_map(|source| {
            let (table, _) = DeTable::parse_recoverable(&source.text);
            entries(table.get_ref())
        })
    }
}

fn entries(table: &DeTable<'_>) -> ResourceTable {
    let entry = |(name, value): (&Spanned<_>, &_)| -> (String, Value) {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        (name.to_string(), json(value))
    };
    table.iter().map(entry).collect()
}

/// A value of TOML as JSON. A number that JSON has none for keeps its text: it is compared, and then refused.
fn json(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(number.as_str()),
        },
        DeValue::Float(number) => {
            let parsed = number
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64);
            parsed.map_or_else(|| Value::from(number.as_str()), Value::Number)
        }
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(json).collect()),
        DeValue::Table(table) => Value::Object(entries(table)),
    }
}

/// The sections of named tables that are no resources.
const NAMED: [&str; 1] = ["certificate_directories"];
