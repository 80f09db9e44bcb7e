//! The files of a configuration as one document.

use std::collections::{BTreeSet, btree_map};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::collection::Named;
use crate::config::diagnostic::{Code, Diagnostic, Report};
use crate::config::reader::{Key, Reader};
use crate::config::resource::RuntimeChanges;
use crate::config::source::{Place, Source, Sources};
use crate::config::written::Document;

/// Reads every file and joins them. After a syntax error the other findings are still reported, but there is no
/// document: what is missing from it may only be hidden by the error. Tables of the files that were changed at run time
/// are passed over.
pub(super) fn read(sources: &Sources, changes: &RuntimeChanges, report: &mut Report) -> Option<Document> {
    // A file that could not be read would make names dangle that it defines.
    let mut complete = !report.has_errors();
    let mut whole = Document::default();
    for (file, source) in sources.iter().enumerate() {
        let (mut table, errors) = DeTable::parse_recoverable(&source.text);
        if !source.is_change {
            pass_over(table.get_mut(), changes);
        }
        let place = Place::new(file, table.span());
        let part = Reader::new(file, report).known::<Document>(table.get_ref(), &place);
        join(&mut whole, part, report);
        complete &= errors.is_empty();
        syntax(file, source, &errors, report);
    }
    complete.then_some(whole)
}

fn pass_over(table: &mut DeTable<'_>, changes: &RuntimeChanges) {
    for id in changes.keys() {
        let section = table.get_mut(id.kind.section()).map(Spanned::get_mut);
        if let Some(DeValue::Table(section)) = section {
            section.remove(id.name.as_str());
        }
    }
}

/// Reports syntax errors. What stands on the line of one is a guess, and so is what follows a broken `[header]`
/// up to the next: of those nothing else is said.
fn syntax(file: usize, source: &Source, errors: &[toml::de::Error], report: &mut Report) {
    // What is missing at the end is missing after the last word, not on an empty line behind it.
    let end = source.text.trim_end().len();
    let place = |error: &toml::de::Error| {
        let span = error.span().unwrap_or_default();
        Place::new(file, span.start.min(end)..span.end.min(end))
    };
    let broken: BTreeSet<_> = errors.iter().map(|error| source.line(&place(error))).collect();
    let mut guesses = BTreeSet::new();
    let mut header_broken = false;
    for (number, line) in (1..).zip(source.text.lines()) {
        let is_header = line.trim_start().starts_with('[');
        header_broken = broken.contains(&number) && is_header || header_broken && !is_header;
        if header_broken || broken.contains(&number) {
            guesses.insert(number);
        }
    }
    report.forget(|place| place.file == file && guesses.contains(&source.line(place)));
    for (count, error) in errors.iter().enumerate() {
        let place = place(error);
        let diagnostic = match source.bare_word(&place) {
            Some(word) => Diagnostic::new(Code::Syntax, format!("not TOML: `{word}` is no value"))
                .at(&place, "here")
                .help(format!("text stands in quotes: \"{word}\"")),
            None => {
                Diagnostic::new(Code::Syntax, format!("not TOML: {}", error.message())).at(&place, "here")
            }
        };
        if count + 1 == SYNTAX_ERRORS_SHOWN && errors.len() > SYNTAX_ERRORS_SHOWN {
            let more = errors.len() - SYNTAX_ERRORS_SHOWN;
            let help = format!("{more} more syntax errors follow in this file; is it TOML at all?");
            report.push(diagnostic.help(help));
            return;
        }
        report.push(diagnostic);
    }
}

fn join(whole: &mut Document, part: Document, report: &mut Report) {
    section(&mut whole.store, part.store, "store", report);
    section(&mut whole.gateway, part.gateway, "gateway", report);
    section(&mut whole.runtime, part.runtime, "runtime", report);
    section(&mut whole.log, part.log, "log", report);
    section(&mut whole.admin, part.admin, "admin", report);
    named(&mut whole.issuers, part.issuers, "issuers", report);
    named(&mut whole.certificates, part.certificates, "certificates", report);
    named(
        &mut whole.certificate_directories,
        part.certificate_directories,
        "certificate_directories",
        report,
    );
    named(&mut whole.ca_bundles, part.ca_bundles, "ca_bundles", report);
    named(&mut whole.policies, part.policies, "policies", report);
    named(
        &mut whole.server_groups,
        part.server_groups,
        "server_groups",
        report,
    );
    named(&mut whole.listeners, part.listeners, "listeners", report);
    named(&mut whole.hooks, part.hooks, "hooks", report);
    section(&mut whole.events, part.events, "events", report);
}

fn section<T>(whole: &mut Key<T>, part: Key<T>, name: &str, report: &mut Report) {
    match (whole.place(), part.place()) {
        (Some(first), Some(second)) => report.push(twice(name, second, first)),
        (_, None) => {}
        (None, Some(_)) => *whole = part,
    }
}

fn named<T>(whole: &mut Key<Named<T>>, part: Key<Named<T>>, section: &str, report: &mut Report) {
    let Key::Present(whole, _) = whole else {
        *whole = part;
        return;
    };
    let Key::Present(part, _) = part else { return };
    let whole = &mut whole.value.0;
    for (name, entry) in part.value.0 {
        match whole.entry(name) {
            btree_map::Entry::Occupied(first) => {
                let table = format!("{section}.{}", first.key());
                report.push(twice(&table, &entry.name.place, &first.get().name.place));
            }
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
        }
    }
}

fn twice(table: &str, second: &Place, first: &Place) -> Diagnostic {
    Diagnostic::new(Code::DefinedTwice, format!("[{table}] is in two files"))
        .at(second, "defined again")
        .and(first, "first defined here")
        .help("keep one of them; a later file adds tables, it does not change earlier ones")
}

/// A person mends a few and looks again.
const SYNTAX_ERRORS_SHOWN: usize = 20;
