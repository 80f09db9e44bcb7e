//! Names and texts as zone files have them (RFC 1035 §5.1), where `\200` is the octet 200. The library writes and reads
//! such escapes in octal, which a name server takes for another name.

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::rr::Name;

/// A name in lower case, without the closing dot; the root is a dot.
pub(super) fn written(name: &Name) -> String {
    if name.is_root() {
        return ROOT.to_owned();
    }
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        for octet in label {
            write(octet.to_ascii_lowercase(), &mut text, is_plain_in_names);
        }
    }
    text
}

/// The same with the closing dot, without which a zone file would put its own name behind it.
pub(super) fn absolute(written: &str) -> String {
    match written {
        ROOT => ROOT.to_owned(),
        written => format!("{written}."),
    }
}

/// The name that such a text is, whose closing dot is left out: an escape is an octet in decimal.
///
/// # Errors
/// What no name can be: an escape that stands for no octet, an empty label, one of more than 63 octets, more than 255
/// octets in all (RFC 1035 §2.3.4).
pub fn fully_qualified(text: &str) -> Result<Name, ProtoError> {
    if text == ROOT {
        return Ok(Name::root());
    }
    let mut labels = vec![Vec::new()];
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let octet = match first {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => {
                let (octet, behind) = unescaped(rest).ok_or(NO_OCTET)?;
                rest = behind;
                octet
            }
            plain => *plain,
        };
        if let Some(label) = labels.last_mut() {
            label.push(octet);
        }
    }
    Name::from_labels(labels)
}

/// Octets as a character-string in quotation marks.
pub(super) fn quoted(octets: &[u8]) -> String {
    format!("\"{}\"", shown(octets))
}

/// The same without the quotation marks, for people.
pub(super) fn shown(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        write(*octet, &mut text, is_plain_in_quotes);
    }
    text
}

fn write(octet: u8, text: &mut String, is_plain: fn(u8) -> bool) {
    match octet {
        plain if is_plain(plain) => text.push(char::from(plain)),
        b'!'..=b'~' => text.extend(['\\', char::from(octet)]),
        _ => text.push_str(&format!("\\{octet:03}")),
    }
}

/// What means nothing else in a zone file.
fn is_plain_in_names(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"\"$().;@\\".contains(&octet)
}

fn is_plain_in_quotes(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && !b"\"\\".contains(&octet)
}

/// What follows a backslash: three digits of an octet, or the octet itself.
fn unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (first, behind) = text.split_first()?;
    if !first.is_ascii_digit() {
        return Some((*first, behind));
    }
    let (digits, behind) = text.split_first_chunk::<3>()?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok();
    Some((number.filter(|_| digits.iter().all(u8::is_ascii_digit))?, behind))
}

const ROOT: &str = ".";
const NO_OCTET: &str = "a backslash in it stands before no octet";

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_octets_are_written_in_decimal_and_marks_of_zone_files_behind_a_backslash() {
        let name = |labels: &[&[u8]]| Name::from_labels(labels.to_vec()).unwrap();
        for (labels, expected) in [
            (&[&b"www"[..], b"Example", b"COM"][..], "www.example.com"),
            (&[b"a.b", b"c d"], "a\\.b.c\\032d"),
            (&[b"\x00\x08\x80\xff"], "\\000\\008\\128\\255"),
            (&[b"\"$();@\\"], "\\\"\\$\\(\\)\\;\\@\\\\"),
            (&[b"*", b"_a-b/c"], "*._a-b/c"),
            (&[], "."),
        ] {
            assert_eq!(written(&name(labels)), expected);
        }
        assert_eq!(absolute("www.example.com"), "www.example.com.");
        assert_eq!(absolute("."), ".");
        assert_eq!(quoted(b"a \"b\"\\; \xc3\xa9\n"), r#""a \"b\"\\; \195\169\010""#);
    }

    #[test]
    fn what_no_name_can_be_is_refused() {
        let long = "a".repeat(64);
        let longer = vec!["a".repeat(63); 4].join(".");
        for text in [
            "", "a..b", ".a", "a.", "\\", "a\\25", "a\\256", "a\\2x5", &long, &longer,
        ] {
            assert!(fully_qualified(text).is_err(), "{text}");
        }
    }

    /// Reads as a name server does (RFC 1035 §5.1), told octet by octet: the labels of a name, or one text.
    fn read(text: &str) -> Vec<Vec<u8>> {
        let mut labels = vec![Vec::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let octet = match character {
                '.' => {
                    labels.push(Vec::new());
                    continue;
                }
                '\\' => match characters.next().unwrap() {
                    digit if digit.is_ascii_digit() => {
                        let digits = [digit, characters.next().unwrap(), characters.next().unwrap()];
                        digits.iter().collect::<String>().parse::<u8>().unwrap()
                    }
                    itself => u8::try_from(itself).unwrap(),
                },
                plain => u8::try_from(plain).unwrap(),
            };
            labels.last_mut().unwrap().push(octet);
        }
        labels
    }

    proptest! {
        #[test]
        fn a_name_of_any_octets_reads_back_as_a_zone_file_and_here(
            labels in vec(vec(any::<u8>(), 1..40), 1..6),
        ) {
            let name = Name::from_labels(labels.clone()).unwrap();
            let text = written(&name);
            let lower: Vec<_> = labels.iter().map(|label| label.to_ascii_lowercase()).collect();
            prop_assert_eq!(read(&text), lower);
            prop_assert_eq!(fully_qualified(&text).unwrap(), name);
            prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic()));
        }

        #[test]
        fn a_text_of_any_octets_reads_back_as_a_zone_file(octets in vec(any::<u8>(), 0..300)) {
            let text = quoted(&octets);
            let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap();
            // Within quotation marks a dot ends nothing.
            prop_assert_eq!(read(&inside.replace('.', "\\.")), vec![octets]);
            prop_assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~')));
        }

        #[test]
        fn no_text_makes_reading_a_name_panic(text in any::<String>()) {
            if let Ok(name) = fully_qualified(&text) {
                prop_assert_eq!(fully_qualified(&written(&name)).unwrap(), name);
            }
        }
    }
}
