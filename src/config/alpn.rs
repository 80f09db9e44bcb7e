//! `alpn` of a listener.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::collection::List;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::{Reader, Value};
use crate::config::source::Located;
use crate::config::word::refusal;

/// The ALPN protocols of a listener, in the server's order (RFC 7301).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Alpn(pub(super) Vec<Vec<u8>>);

impl Alpn {
    /// The named lists, as a cloud load balancer's user knows them; in `HTTP2Optional` h2 really is the last.
    const PRESETS: [(&'static str, &'static [&'static str]); 5] = [
        ("HTTP1Only", &["http/1.1", "http/1.0"]),
        ("HTTP2Only", &["h2"]),
        ("HTTP2Optional", &["http/1.1", "http/1.0", "h2"]),
        ("HTTP2Preferred", &["h2", "http/1.1", "http/1.0"]),
        ("None", &[]),
    ];
    const PRESET_NAMES: [&'static str; 5] = {
        let [a, b, c, d, e] = Self::PRESETS;
        [a.0, b.0, c.0, d.0, e.0]
    };

    fn read_list(items: &[Located<String>], reader: &mut Reader<'_>) -> Option<Self> {
        let mut protocols: Vec<Vec<u8>> = Vec::new();
        let mut sound = true;
        for Located { value, place } in items {
            let problem = if value == "acme-tls/1" {
                Diagnostic::new(
                    Code::ReservedAlpn,
                    "`acme-tls/1` cannot be among a listener's protocols",
                )
                .at(place, "reserved")
                .help("leave it out: TLS-ALPN-01 challenges are answered on every tls listener by themselves")
            } else if value.is_empty() || value.len() > 255 {
                let message = format!(
                    "an ALPN protocol has 1 to 255 octets (RFC 7301 §3.1); found {}",
                    value.len()
                );
                Diagnostic::new(Code::OutOfRange, message).at(place, "out of range")
            } else if protocols.iter().any(|listed| listed == value.as_bytes()) {
                Diagnostic::new(Code::ListedTwice, format!("`{value}` is listed twice in `alpn`"))
                    .at(place, "the second time")
            } else {
                protocols.push(value.as_bytes().to_owned());
                continue;
            };
            sound = false;
            reader.report(problem);
        }
        sound.then_some(Self(protocols))
    }
}

impl Value for Alpn {
    fn read(found: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match found.get_ref() {
            DeValue::String(name) => {
                let preset = Self::PRESETS.iter().find(|(preset, _)| preset == name);
                if preset.is_none() {
                    let place = reader.place(found.span());
                    reader.report(refusal("`alpn`", name, &place, &Self::PRESET_NAMES, &[]));
                }
                preset.map(|(_, protocols)| Self(protocols.iter().map(|p| p.as_bytes().to_owned()).collect()))
            }
            DeValue::Array(_) => {
                let list = List::<String>::read(found, reader)?;
                Self::read_list(&list.0, reader)
            }
            _ => {
                reader.wrong_type(found, "one of the named lists or a list of protocols");
                None
            }
        }
    }
}

impl JsonSchema for Alpn {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Alpn".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": Self::PRESET_NAMES },
            { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1, "maxLength": 255 } },
        ] })
    }
}
