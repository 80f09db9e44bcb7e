//! What stands outside the blocks of a PEM file and is no comment. Readers of PEM pass over it, and with it over a block
//! whose first line is damaged: a CRL would be missing, and nobody would know.

use std::fmt;

/// A line that is no part of a block, and no comment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stray {
    /// The block that it would belong to, counted from 1.
    pub(super) block: usize,
    line: usize,
}

/// The first such line of `text`. Comments are text that people can read (RFC 7468 §5.2).
pub(super) fn stray(text: &[u8]) -> Option<Stray> {
    let (mut blocks, mut is_inside) = (0, false);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        let is_boundary = |word: &[u8]| line.starts_with(word) && line.ends_with(b"-----");
        if is_inside {
            is_inside = !is_boundary(b"-----END ");
        } else if is_boundary(b"-----BEGIN ") {
            (blocks, is_inside) = (blocks + 1, true);
        } else if !is_comment(line) {
            return Some(Stray {
                block: blocks + 1,
                line: index + 1,
            });
        }
    }
    None
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
            (format!("{BLOCK}\u{1}\u{2}\n{BLOCK}"), Some((2, 4))),
        ] {
            let found = stray(text.as_bytes()).map(|stray| (stray.block, stray.line));
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(stray(b"\xff\xfe\n").map(|stray| stray.line), Some(1));
    }
}
