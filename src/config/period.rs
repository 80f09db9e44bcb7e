//! Durations: a whole number and a unit.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Reader, Value};

/// A duration from `MIN` to `MAX` seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Period<const MIN: u64, const MAX: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64> Value for Period<MIN, MAX> {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let place = reader.place(found.span());
        if let DeValue::Integer(number) = found.get_ref() {
            let message = format!("{} needs a unit; found {number}", reader.key());
            reader.report(
                Diagnostic::new(Code::WrongType, message)
                    .at(&place, "no unit")
                    .help(format!(
                        "write \"{number}s\" for seconds; units are ms, s, m, h and d"
                    )),
            );
            return None;
        }
        let text = reader.text(found)?;
        let Some(duration) = parse(text) else {
            let message = format!("{}: `{text}` is not a duration", reader.key());
            reader.report(
                Diagnostic::new(Code::InvalidValue, message)
                    .at(&place, "not a duration")
                    .help("write a whole number and a unit: \"500ms\", \"30s\", \"15m\", \"12h\", \"90d\""),
            );
            return None;
        };
        if (Duration::from_secs(MIN)..=Duration::from_secs(MAX)).contains(&duration) {
            return Some(Self(duration));
        }
        let (least, most) = (written(MIN), written(MAX));
        let message = format!("{} must be from {least} to {most}; found {text}", reader.key());
        reader.report(Diagnostic::new(Code::OutOfRange, message).at(&place, "out of range"));
        None
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Period<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Period{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

fn written(seconds: u64) -> String {
    match seconds {
        _ if seconds >= 2 * 86_400 && seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        _ if seconds >= 3600 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, seconds) in [("900s", 900), ("10m", 600), ("24h", 86_400), ("90d", 7_776_000)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        for broken in [
            "",
            "s",
            "10",
            "1.5s",
            "-1s",
            "1 s",
            "1w",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn bounds_are_shown_in_the_unit_a_person_would_use() {
        assert_eq!(
            [1, 120, 86_400, 86_400 * 825].map(written),
            ["1s", "2m", "24h", "825d"]
        );
    }
}
