//! The tables of medians: for terminals, and as Markdown.

use crate::measure::Measure;
use crate::results::{Cell, Column, Results};

/// For terminals: medians, the spread of the rounds in hundredths of them, and certgate's median over each.
pub(crate) fn text(columns: &[Column], results: &Results) -> String {
    let names = columns.iter().map(|column| column.name.clone());
    let mut lines: Vec<Vec<_>> = vec![std::iter::once(String::new()).chain(names).collect()];
    for measure in rows(columns, results) {
        let mut line = vec![measure.title().to_owned()];
        line.extend(
            columns
                .iter()
                .map(|column| cell(column, measure, results, |ratio| format!("{ratio:.2}×"))),
        );
        lines.push(line);
    }
    let width = |position: usize| lines.iter().map(|line| line[position].chars().count()).max();
    let widths: Vec<_> = (0..=columns.len())
        .map(|position| width(position).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let (title, cells) = (&line[0], line[1..].iter().zip(&widths[1..]));
        let cells: String = cells.map(|(cell, width)| format!("  {cell:>width$}")).collect();
        let first = widths[0];
        text += format!("{title:<first$}{cells}\n").as_str();
    }
    text
}

/// The same as Markdown.
pub(crate) fn markdown(columns: &[Column], results: &Results) -> String {
    let heads = columns.iter().map(|column| {
        format!(
            " {} |",
            format!("{} {}", column.name, column.versions.join(", ")).trim_end()
        )
    });
    let mut text = format!(
        "| |{}\n| --- |{}\n",
        heads.collect::<String>(),
        " --- |".repeat(columns.len())
    );
    for measure in rows(columns, results) {
        let cells = columns.iter().map(|column| {
            format!(
                " {} |",
                cell(column, measure, results, |ratio| format!("({ratio:.2} ×)"))
            )
        });
        let indent = if measure.is_detail() { "… " } else { "" };
        let title = measure.title().trim_start();
        text += format!("| {indent}{title} |{}\n", cells.collect::<String>()).as_str();
    }
    text
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => format!("{value:.0}"),
        medium if medium >= 9.995 => format!("{value:.1}"),
        small if small >= 0.9995 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Those of which one of `columns` has something.
fn rows(columns: &[Column], results: &Results) -> Vec<Measure> {
    let has = |measure: &&Measure| {
        columns
            .iter()
            .any(|column| results.cell(&column.name, **measure).is_some())
    };
    Measure::ALL.iter().filter(has).copied().collect()
}

fn cell(column: &Column, measure: Measure, results: &Results, ratio: fn(f64) -> String) -> String {
    let Some(cell) = results.cell(&column.name, measure) else {
        return MISSING.to_owned();
    };
    match results.certgate_ratio(&column.name, measure) {
        Some(value) => format!("{} {}", median(cell), ratio(value)),
        None => median(cell),
    }
}

fn median(cell: Cell<'_>) -> String {
    match (cell.samples.median(), cell.samples.spread()) {
        (Some(median), Some(spread)) if spread.is_finite() && cell.samples.values().len() > 1 => {
            format!("{} ±{:.0}%", number(median), spread / 2.0)
        }
        (Some(median), _) => number(median),
        (None, _) => MISSING.to_owned(),
    }
}

/// What a program can't do, or was not asked for.
const MISSING: &str = "–";
