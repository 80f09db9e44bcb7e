//! Lists, lists that may be one item, tables of named entries, and tags.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::certificate::CertificateName;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Key, Reader, Table, Value};
use crate::config::source::{Located, Place};
use crate::config::text::Resolver;
use crate::name::DnsName;

/// A list that holds something. Items that could not be used are reported and left out.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<Located<T>>);

/// One item, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<Located<T>>);

/// `[section.NAME]` tables, by name.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) BTreeMap<String, Entry<T>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// Its name.
    pub(super) name: Located<String>,
    /// What it says; absent when it is not a table at all, which has been reported.
    pub(super) table: Option<T>,
}

/// The operator's own labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Tags(pub(super) BTreeMap<String, String>);

/// Zones, and addresses of their servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Zones(pub(super) BTreeMap<DnsName, Vec<SocketAddr>>);

impl<T> Key<Named<T>> {
    /// Every entry, by name.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.value().into_iter().flat_map(|named| named.value.0.values())
    }

    /// The entry with a name.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry<T>> {
        self.value().and_then(|named| named.value.0.get(name))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// Whether something may have that name: yes also when the whole section could not be read.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        matches!(self, Self::Invalid) || self.entry(name).is_some()
    }

    /// The names there are.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.name.value.as_str())
    }

    /// The entries that can be checked, with their names.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&Located<String>, &T)> {
        self.entries()
            .filter_map(|entry| entry.table.as_ref().map(|table| (&entry.name, table)))
    }
}

impl<T> Key<List<T>> {
    /// The usable items.
    pub(super) fn items(&self) -> &[Located<T>] {
        self.value().map_or(&[], |list| &list.value.0)
    }
}

impl<T: Value> Value for List<T> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(array) = found.get_ref() else {
            reader.wrong_type(found, "a list");
            return None;
        };
        if array.is_empty() {
            let place = reader.place(found.span());
            let message = format!("{} is an empty list", reader.key());
            reader.report(
                Diagnostic::new(Code::EmptyList, message)
                    .at(&place, "needs at least one item")
                    .help("add an item, or remove the key where it is optional"),
            );
            return None;
        }
        Some(Self(
            array.iter().filter_map(|item| reader.located(item)).collect(),
        ))
    }
}

impl<T: Value> Value for OneOrMany<T> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match found.get_ref() {
            DeValue::Array(_) => List::read(found, reader).map(|list| Self(list.0)),
            _ => reader.located(found).map(|item| Self(vec![item])),
        }
    }
}

impl<T: Table> Value for Named<T> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut entries = BTreeMap::new();
        for (name, value) in reader.entries(found)? {
            let place = reader.place(name.span());
            let text: &str = name.get_ref();
            check_name(text, &place, reader);
            let table = reader.within(text, |reader| {
                let keys = reader.entries(value)?;
                Some(reader.known(keys, &place))
            });
            let name = Located {
                value: text.to_owned(),
                place,
            };
            entries.insert(text.to_owned(), Entry { name, table });
        }
        Some(Self(entries))
    }
}

impl Value for Tags {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut tags = BTreeMap::new();
        for (name, value) in reader.entries(found)? {
            if let Some(text) = reader.within(name.get_ref(), |reader| reader.text(value)) {
                tags.insert(name.get_ref().to_string(), text.to_owned());
            }
        }
        Some(Self(tags))
    }
}

impl Value for Zones {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut zones = BTreeMap::new();
        for (zone, servers) in reader.entries(found)? {
            let name = DnsName::parse(zone.get_ref());
            let servers = reader.within(zone.get_ref(), |reader| List::<Resolver>::read(servers, reader));
            match name {
                Ok(name) => {
                    let servers = servers?.0.into_iter().map(|server| server.value.0);
                    zones.insert(name, servers.collect());
                }
                Err(error) => {
                    let place = reader.place(zone.span());
                    let message = format!("{}: {error}", reader.key());
                    reader.report(Diagnostic::new(Code::InvalidValue, message).at(&place, "not a zone"));
                }
            }
        }
        Some(Self(zones))
    }
}

impl JsonSchema for Zones {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Zones".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let servers = generator.subschema_for::<List<Resolver>>();
        json_schema!({ "type": "object", "additionalProperties": servers })
    }
}

/// Names become keys of the store, labels of metrics and parts of URLs.
fn check_name(name: &str, place: &Place, reader: &mut Reader<'_>) {
    let sound = name.len() <= 64 && !name.contains('/') && CertificateName::parse(name).is_ok();
    if !sound {
        let message = format!("`{name}` cannot be a name {}", reader.table());
        reader.report(
            Diagnostic::new(Code::InvalidValue, message)
                .at(place, "not a name")
                .help(
                    "allowed: letters, digits, `.`, `_` and `-`, not beginning with `.`, at most 64 of them",
                ),
        );
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "minItems": 1, "items": generator.subschema_for::<T>() })
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        let many = generator.subschema_for::<List<T>>();
        json_schema!({ "anyOf": [one, many] })
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$" },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

impl JsonSchema for Tags {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Tags".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
