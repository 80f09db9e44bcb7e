//! Plain values: strings, truth values, numbers, kinds of key, paths.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::certificate::KeyType;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Reader, Value};
use crate::config::word;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Integer<const MIN: u64, const MAX: u64>(pub(super) u64);

impl Value for String {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(found).map(str::to_owned)
    }
}

impl Value for bool {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Boolean(value) = found.get_ref() {
            return Some(*value);
        }
        reader.wrong_type(found, "true or false, without quotes");
        None
    }
}

impl<const MIN: u64, const MAX: u64> Value for Integer<MIN, MAX> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = match found.get_ref() {
            DeValue::Integer(number) => number,
            // JSON's numbers beyond 64 bits come as such.
            DeValue::Float(number)
                if number
                    .as_str()
                    .parse()
                    .is_ok_and(|number: f64| number.abs() >= WHOLE) =>
            {
                let place = reader.place(found.span());
                let number = number.as_str();
                let is = if number.starts_with('-') {
                    "too small"
                } else {
                    "too large"
                };
                let message = format!(
                    "{} must be from {MIN} to {MAX}; found {number}, which is {is}",
                    reader.key()
                );
                reader.report(Diagnostic::new(Code::OutOfRange, message).at(&place, is));
                return None;
            }
            _ => {
                reader.wrong_type(found, "a whole number, without quotes");
                return None;
            }
        };
        let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
        match value.and_then(|value| u64::try_from(value).ok()) {
            Some(value) if (MIN..=MAX).contains(&value) => Some(Self(value)),
            _ => {
                let place = reader.place(found.span());
                let message = format!("{} must be from {MIN} to {MAX}; found {number}", reader.key());
                reader.report(Diagnostic::new(Code::OutOfRange, message).at(&place, "out of range"));
                None
            }
        }
    }
}

/// From here on there are no fractions among them.
const WHOLE: f64 = 9_007_199_254_740_992.0;

impl<const MIN: u64, const MAX: u64> JsonSchema for Integer<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Integer{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl Value for KeyType {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        if let DeValue::Array(_) = found.get_ref() {
            reader.report(
                Diagnostic::new(
                    Code::NotInThisVersion,
                    "this version of certgate has no lists of key types",
                )
                .at(&place, "not in this version")
                .help("name one, or define a second certificate with the other key type"),
            );
            return None;
        }
        let text = reader.text(found)?;
        let key_type = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        if key_type.is_none() {
            let key = reader.key();
            let allowed = Self::ALL.map(Self::as_str);
            reader.report(word::refusal(&key, text, &place, &allowed, &[]));
        }
        key_type
    }
}

impl Value for PathBuf {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        let text = reader.text(found)?;
        if text.is_empty() || text.contains('\0') {
            let message = format!("{}: {text:?} cannot be a path", reader.key());
            reader.report(Diagnostic::new(Code::InvalidValue, message).at(&place, "not a path"));
            return None;
        }
        Some(Self::from(text))
    }
}
