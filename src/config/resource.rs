//! The tables of a configuration that may be changed at run time, and such a change as a small document, so that it is
//! read and checked by the same code as the file.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::written;

/// What kind of thing a resource is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ResourceKind {
    /// `[ca_bundles.NAME]`.
    CaBundle,
    /// `[certificates.NAME]`.
    Certificate,
    /// `[issuers.NAME]`.
    Issuer,
    /// `[listeners.NAME]`.
    Listener,
    /// `[policies.NAME]`.
    Policy,
    /// `[server_groups.NAME]`.
    ServerGroup,
}

/// One table of the configuration that may be changed at run time; written as `listeners/web`.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    /// What it is.
    pub kind: ResourceKind,
    /// What it is called.
    pub name: String,
}

/// The keys of a resource, exactly as in the file.
pub type ResourceTable = serde_json::Map<String, Value>;

/// What stands in the place of the file's tables: other keys, or nothing where one is removed.
pub type RuntimeChanges = BTreeMap<ResourceId, Option<ResourceTable>>;

/// A text that is no resource's.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no resource; expected one like `listeners/web`")]
pub struct NotAResource(String);

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::CaBundle,
        Self::Certificate,
        Self::Issuer,
        Self::Listener,
        Self::Policy,
        Self::ServerGroup,
    ];

    /// Its section of the file.
    pub const fn section(self) -> &'static str {
        match self {
            Self::CaBundle => "ca_bundles",
            Self::Certificate => "certificates",
            Self::Issuer => "issuers",
            Self::Listener => "listeners",
            Self::Policy => "policies",
            Self::ServerGroup => "server_groups",
        }
    }

    /// Its part of a path of the API.
    pub const fn path(self) -> &'static str {
        match self {
            Self::CaBundle => "ca-bundles",
            Self::Certificate => "certificates",
            Self::Issuer => "issuers",
            Self::Listener => "listeners",
            Self::Policy => "policies",
            Self::ServerGroup => "server-groups",
        }
    }

    /// The JSON Schema of its keys.
    pub const fn schema(self) -> fn(&mut SchemaGenerator) -> Schema {
        match self {
            Self::CaBundle => SchemaGenerator::subschema_for::<written::CaBundle>,
            Self::Certificate => SchemaGenerator::subschema_for::<written::Certificate>,
            Self::Issuer => SchemaGenerator::subschema_for::<written::Issuer>,
            Self::Listener => SchemaGenerator::subschema_for::<written::Listener>,
            Self::Policy => SchemaGenerator::subschema_for::<written::Policy>,
            Self::ServerGroup => SchemaGenerator::subschema_for::<written::ServerGroup>,
        }
    }

    /// One of it, in words.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::CaBundle => "CA bundle",
            Self::Certificate => "certificate",
            Self::Issuer => "issuer",
            Self::Listener => "listener",
            Self::Policy => "TLS security policy",
            Self::ServerGroup => "server group",
        }
    }
}

impl ResourceId {
    /// The resource of a kind called `name`.
    pub fn new(kind: ResourceKind, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { kind, name }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.path(), self.name)
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ResourceId {
    type Error = NotAResource;
    fn try_from(text: String) -> Result<Self, NotAResource> {
        let found = text.split_once('/').and_then(|(path, name)| {
            let kind = ResourceKind::ALL.into_iter().find(|kind| kind.path() == path)?;
            (!name.is_empty() && !name.contains('/')).then(|| Self::new(kind, name))
        });
        found.ok_or(NotAResource(text))
    }
}

/// How a resource is called in messages about what was said of it at run time.
pub(super) fn title(id: &ResourceId) -> String {
    format!("{id} (changed at run time)")
}

/// A resource's keys as TOML. What TOML cannot say, a `null` for one, becomes a syntax error at its place.
pub(super) fn document(id: &ResourceId, table: &ResourceTable) -> String {
    let mut text = format!("[{}.{}]\n", id.kind.section(), key(&id.name));
    for (name, found) in table {
        text.push_str(&key(name));
        text.push_str(" = ");
        value(&mut text, found);
        text.push('\n');
    }
    text
}

fn value(text: &mut String, found: &Value) {
    match found {
        Value::Array(items) => {
            text.push('[');
            for (count, item) in items.iter().enumerate() {
                if count > 0 {
                    text.push_str(", ");
                }
                value(text, item);
            }
            text.push(']');
        }
        Value::Object(entries) => {
            text.push_str("{ ");
            for (count, (name, entry)) in entries.iter().enumerate() {
                if count > 0 {
                    text.push_str(", ");
                }
                text.push_str(&key(name));
                text.push_str(" = ");
                value(text, entry);
            }
            text.push_str(" }");
        }
        // A message shows a whole line of what it is about; nobody wants a page of PEM there.
        Value::String(lines) if lines.contains('\n') => {
            text.push_str("\"\"\"\n");
            for (count, line) in lines.split('\n').enumerate() {
                if count > 0 {
                    text.push('\n');
                }
                let quoted = Value::from(line).to_string();
                let inner = quoted.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
                text.push_str(inner.unwrap_or_default());
            }
            text.push_str("\"\"\"");
        }
        // Every escape of JSON's strings is one of TOML's basic strings, too.
        other => text.push_str(&other.to_string()),
    }
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read_back(table: &ResourceTable) -> Value {
        let id = ResourceId::new(ResourceKind::Listener, "a.b");
        let read: toml::Table = toml::from_str(&document(&id, table)).unwrap();
        serde_json::to_value(&read["listeners"]["a.b"]).unwrap()
    }

    #[test]
    fn a_resource_is_called_as_in_the_api() {
        for (text, id) in [
            (
                "listeners/web",
                Some(ResourceId::new(ResourceKind::Listener, "web")),
            ),
            ("ca-bundles/p", Some(ResourceId::new(ResourceKind::CaBundle, "p"))),
            (
                "certificates/www",
                Some(ResourceId::new(ResourceKind::Certificate, "www")),
            ),
            ("hooks/www", None),
            ("listeners/", None),
            ("listeners/a/b", None),
        ] {
            let found = ResourceId::try_from(text.to_owned()).ok();
            assert_eq!(
                found.as_ref().map(ToString::to_string),
                id.map(|id| id.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_toml_cannot_say_is_no_toml() {
        let id = ResourceId::new(ResourceKind::Listener, "web");
        let Value::Object(table) = json!({ "port": null }) else {
            panic!()
        };
        assert!(toml::from_str::<toml::Table>(&document(&id, &table)).is_err());
    }

    proptest! {
        #[test]
        fn keys_and_values_come_back_as_they_were(
            keys in proptest::collection::btree_map("[ -~\n\r\tä]{0,12}", "[ -~\n\r\t\u{0}ä\u{1f600}]{0,30}", 0..5),
            number in any::<i64>(),
            flag in any::<bool>(),
        ) {
            let list: Vec<_> = keys.values().cloned().collect();
            let Value::Object(mut table) = json!(keys) else { panic!() };
            table.insert("nested".into(), json!({ "number": number, "list": list, "more": [{ "flag": flag }] }));
            prop_assert_eq!(read_back(&table), Value::Object(table));
        }
    }
}
