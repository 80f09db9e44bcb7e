//! Entries of a policy's lists: versions, cipher suites and groups, by their names.

use std::borrow::Cow;

use rustls::SupportedCipherSuite;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Reader, Value};
use crate::config::suggestion;
use crate::policy::{Element, openssl_name};

/// One entry. Of a list with an unknown one nothing further can be said, so it stays there as `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<T>(pub(super) Option<T>);

impl<T: Element> Value for Part<T> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.text(found)?;
        let part = T::named(name);
        if part.is_none() {
            let place = reader.place(found.span());
            let message = format!("{} cannot hold `{name}`", reader.key());
            reader.report(
                Diagnostic::new(Code::NotAllowed, message)
                    .at(&place, "not allowed")
                    .help(meant::<T>(name)),
            );
        }
        Some(Self(part))
    }
}

/// Documentation of load balancers has OpenSSL's names of suites; and an old version is not a slip of the pen.
fn meant<T: Element>(name: &str) -> String {
    let mut suites = SupportedCipherSuite::all().iter().copied();
    if let Some(suite) = suites.find(|suite| openssl_name(*suite) == name) {
        return format!("did you mean `{}`?", suite.name());
    }
    let allowed = T::all().iter().map(|part| part.name());
    if name.starts_with("TLSv1") || name.starts_with("SSL") {
        let allowed = suggestion::list(allowed);
        return format!("allowed: {allowed}; what is older was retired by RFC 8996");
    }
    suggestion::for_word(name, allowed)
}

impl<T: Element> JsonSchema for Part<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("EntryOf_{}", T::KEY).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = T::all().iter().map(|part| part.name()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}
