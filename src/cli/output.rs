//! Printing: tables and JSON on standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};
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
        surplus: Surplus,
    ) -> Result<(), Failure> {
        let rows = rows.into_iter().map(|cells| {
            let mut row = Row::from(cells);
            if surplus == Surplus::Cut {
                row.max_height(1);
            }
            row
        });
        let mut table = table(rows);
        table.set_header(header);
        fit(&mut table, surplus);
        Self::lines(&table)
    }

    /// Texts beside their labels, wrapped where the terminal ends.
    pub(super) fn labelled(rows: impl IntoIterator<Item = (String, String)>) -> Result<(), Failure> {
        let rows = rows.into_iter().map(|(label, text)| Row::from([label, text]));
        let mut table = table(rows);
        fit(&mut table, Surplus::Wrap);
        Self::lines(&table)
    }

    fn lines(table: &Table) -> Result<(), Failure> {
        let lines: String = table
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        Self::text(lines)
    }
}

/// What becomes of a text that is too long for its column.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Surplus {
    /// It is cut, so that every row is one line.
    Cut,
    /// It goes on in the next line.
    Wrap,
}

fn table(rows: impl Iterator<Item = Row>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index < last { 2 } else { 0 }));
    }
    table
}

/// On a terminal, lets the columns with the longest texts give way, and no other.
fn fit(table: &mut Table, surplus: Surplus) {
    if !io::stdout().is_terminal() {
        return;
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let widths = table.column_max_content_widths();
    let longest = widths.iter().max().copied().unwrap_or_default();
    let gives_way = |width: u16| match surplus {
        Surplus::Cut => width == longest,
        Surplus::Wrap => width > NARROW,
    };
    for (column, width) in table.column_iter_mut().zip(widths) {
        if !gives_way(width) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// Characters of a column that is never made narrower.
const NARROW: u16 = 12;

/// The time from `now` to `then` as people say it: `89 d`, `5 h`, `12 min`, `30 s`; `-` before the past.
pub(super) fn time_left(now: Timestamp, then: Timestamp) -> String {
    if then < now {
        format!("-{}", span(now.since(then)))
    } else {
        span(then.since(now))
    }
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
