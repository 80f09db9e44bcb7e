//! What stands outside the blocks of a PEM file. Readers of PEM pass over it, and with it over a block whose first line is
//! damaged: a CRL would be missing, and nobody would know. So what is no text for people is refused, and what is one is listed.

use std::fmt;
use std::path::PathBuf;

/// Text outside the blocks of a PEM file, which is passed over: comments, names, what `openssl x509 -text` prints (RFC 7468 §5.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SkippedText {
    /// The file, or the key of the configuration.
    pub file: PathBuf,
    /// Where.
    pub lines: SkippedLines,
}

/// Lines of a text, counted from 1, blank ones apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SkippedLines {
    /// The first and the last line of what stands together; of many places the first ones.
    places: Vec<(usize, usize)>,
    /// Places beyond those.
    more: usize,
}

/// A line that is no part of a block, and no text for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stray {
    /// The block that it would belong to, counted from 1.
    pub(super) block: usize,
    line: usize,
}

/// The lines of `text` that stand outside its blocks.
pub(super) fn outside(text: &[u8]) -> Result<SkippedLines, Stray> {
    let mut found = SkippedLines::default();
    let (mut blocks, mut is_inside, mut last) = (0, false, None);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        // As the reader of PEM has it: not after a blank, and an end with anything behind it.
        let begins = line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(b"-----");
        let ends = line.starts_with(b"-----END ");
        let line = line.trim_ascii();
        if is_inside {
            is_inside = !ends;
        } else if begins {
            (blocks, is_inside, last) = (blocks + 1, true, None);
        } else if !is_comment(line) {
            return Err(Stray {
                block: blocks + 1,
                line: index + 1,
            });
        } else if !line.is_empty() {
            found.add(index + 1, last);
            last = Some(index + 1);
        }
    }
    Ok(found)
}

impl SkippedLines {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds `line`, which only blank lines part from `last`, if there is such a line.
    fn add(&mut self, line: usize, last: Option<usize>) {
        let is_full = self.places.len() >= PLACES;
        match (self.places.last_mut(), last) {
            (Some((_, end)), Some(last)) if *end == last => *end = line,
            // One that goes on beyond what is told.
            (_, Some(_)) => {}
            (_, None) if is_full => self.more += 1,
            (_, None) => self.places.push((line, line)),
        }
    }
}

impl fmt::Display for SkippedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |(first, last): &(usize, usize)| match first == last {
            true => first.to_string(),
            false => format!("{first} to {last}"),
        };
        let places: Vec<_> = self.places.iter().map(place).collect();
        write!(f, "{}", places.join(", "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn is_comment(line: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(line) else {
        return false;
    };
    let is_dashed = text.starts_with('-') || text.ends_with("---");
    let names_a_boundary = text.contains("BEGIN") || text.contains("END");
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let is_data = line.len() >= SHORTEST_DATA && line.iter().copied().all(is_base64);
    let is_readable = text.chars().all(|c| c == '\t' || !c.is_control());
    is_readable && !is_data && !(is_dashed && names_a_boundary)
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no part of a block and no comment", self.line)
    }
}

/// Places of one file that are told; with a line before each certificate there are thousands.
const PLACES: usize = 20;
/// No word is as long; the lines of a block have 64 (RFC 7468 §2).
const SHORTEST_DATA: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN X-----\nMAA=\n-----END X-----\n";

    #[test]
    fn comments_and_blocks_are_passed_over_and_everything_else_is_found() {
        let data = "A".repeat(64);
        for (text, expected) in [
            (String::new(), None),
            (
                format!("# partners\n\n{BLOCK}Subject: CN=\u{e4}, O=b\n\t--\n{BLOCK}"),
                None,
            ),
            (format!("{BLOCK}----BEGIN X-----\n{data}\n"), Some((2, 4))),
            (format!("{BLOCK}-----BEGIN X----\n"), Some((2, 4))),
            (format!("{BLOCK}{BLOCK}-----END X-----\n"), Some((3, 7))),
            (format!("{data}\n{BLOCK}"), Some((1, 1))),
            (format!("{BLOCK} {BLOCK}"), Some((2, 4))),
            (format!("{BLOCK}\t{BLOCK}"), Some((2, 4))),
            (
                format!("{}# one\n----BEGIN X-----\n", BLOCK.trim_end()),
                Some((2, 4)),
            ),
            (BLOCK.replace('\n', " \r\n"), None),
            (format!("{BLOCK}\u{1}\u{2}\n{BLOCK}"), Some((2, 4))),
        ] {
            let found = outside(text.as_bytes()).err();
            let found = found.map(|stray| (stray.block, stray.line));
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(outside(b"\xff\xfe\n").map_err(|stray| stray.line), Err(1));
    }

    #[test]
    fn text_for_people_is_listed_by_its_lines_and_of_very_many_places_the_first_are() {
        let lines = |text: &str| outside(text.as_bytes()).unwrap().to_string();
        assert_eq!(lines(&format!("\n{BLOCK}\n{BLOCK}")), "");
        let text = format!("Partner Root\n====\n\nsubject=CN = a\n{BLOCK}# b\n{BLOCK}{BLOCK}\nc\nd");
        assert_eq!(lines(&text), "1 to 4, 8, 16 to 17");
        let many = format!("a\nb\n{BLOCK}").repeat(21);
        assert!(
            lines(&many).ends_with(", 96 to 97 and 1 more"),
            "{}",
            lines(&many)
        );
    }
}
