//! Printing: tables and JSON on standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::Failure;
use crate::clock::Timestamp;

/// What a command prints.
pub(super) struct Printed;

impl Printed {
    /// Text as it is.
    pub(super) fn text(text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_ref().as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// A JSON document, indented.
    pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
        Self::text(format!("{}\n", serde_json::to_string_pretty(value)?))
    }

    /// A table that fits the terminal; without one, as wide as its content.
    pub(super) fn table(
        header: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(header);
        if io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        for row in rows {
            table.add_row(row);
        }
        let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        Self::text(lines)
    }
}

/// The time from `now` to `then` as people say it: `89 d`, `5 h`, `12 min`, `30 s`; `-` before the past.
pub(super) fn time_left(now: Timestamp, then: Timestamp) -> String {
    if then < now { format!("-{}", span(now.since(then))) } else { span(then.since(now)) }
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(time_left(now, after(30)), "30 s");
        assert_eq!(time_left(now, after(600)), "10 min");
        assert_eq!(time_left(now, after(6 * 3600)), "6 h");
        assert_eq!(time_left(now, after(90 * 86_400)), "90 d");
        assert_eq!(time_left(after(300), now), "-5 min");
    }
}
