//! Amounts of memory: a whole number and a unit.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Reader, Value};

/// An amount from `MIN` to `MAX` MiB, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ByteSize<const MIN: usize, const MAX: usize>(pub(super) usize);

impl<const MIN: usize, const MAX: usize> Value for ByteSize<MIN, MAX> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        if let DeValue::Integer(number) = found.get_ref() {
            let message = format!("{} needs a unit; found {number}", reader.key());
            reader.report(
                Diagnostic::new(Code::WrongType, message)
                    .at(&place, "no unit")
                    .help(format!(
                        "write \"{number}MiB\" for mebibytes; units are KiB, MiB and GiB"
                    )),
            );
            return None;
        }
        let text = reader.text(found)?;
        let Some(bytes) = parse(text) else {
            let message = format!("{}: `{text}` is not an amount of memory", reader.key());
            reader.report(
                Diagnostic::new(Code::InvalidValue, message)
                    .at(&place, "not an amount of memory")
                    .help("write a whole number and a unit: \"512KiB\", \"256MiB\", \"2GiB\""),
            );
            return None;
        };
        if (MIN * MIB..=MAX * MIB).contains(&bytes) {
            return Some(Self(bytes));
        }
        let message = format!("{} must be from {MIN}MiB to {MAX}MiB; found {text}", reader.key());
        reader.report(Diagnostic::new(Code::OutOfRange, message).at(&place, "out of range"));
        None
    }
}

impl<const MIN: usize, const MAX: usize> JsonSchema for ByteSize<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("ByteSize{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$" })
    }
}

fn parse(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "KiB" => MIB >> 10,
        "MiB" => MIB,
        "GiB" => MIB << 10,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

const MIB: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_and_a_unit() {
        for (text, bytes) in [("512KiB", 512 << 10), ("256MiB", 256 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for broken in [
            "",
            "MiB",
            "256",
            "256MB",
            "1.5GiB",
            "-1MiB",
            "1 MiB",
            "99999999999999999999GiB",
        ] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
