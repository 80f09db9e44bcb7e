//! The files of a configuration as one document.

use toml::de::DeTable;

use crate::config::collection::Named;
use crate::config::diagnostic::{Code, Diagnostic, Report};
use crate::config::reader::{Key, Reader};
use crate::config::source::{Place, Sources};
use crate::config::written::Document;

/// Reads every file and joins them. After a syntax error the other findings are still reported, but there is no
/// document: what is missing from it may only be hidden by the error.
pub(super) fn read(sources: &Sources, report: &mut Report) -> Option<Document> {
    // A file that could not be read would make names dangle that it defines.
    let mut complete = !report.has_errors();
    let mut whole = Document::default();
    for (file, source) in sources.iter().enumerate() {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let place = Place::new(file, table.span());
        let part = Reader::new(file, report).known::<Document>(table.get_ref(), &place);
        for error in &errors {
            let place = Place::new(file, error.span().unwrap_or_default());
            report.forget_guesses(sources, &place);
            report.push(
                Diagnostic::new(Code::Syntax, format!("not TOML: {}", error.message())).at(&place, "here"),
            );
        }
        complete &= errors.is_empty();
        join(&mut whole, part, report);
    }
    complete.then_some(whole)
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
    named(
        &mut whole.server_groups,
        part.server_groups,
        "server_groups",
        report,
    );
    named(&mut whole.listeners, part.listeners, "listeners", report);
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
    for entry in part.value.0 {
        let name = &entry.name;
        match whole.iter().find(|other| other.name.value == name.value) {
            Some(first) => {
                let table = format!("{section}.{}", name.value);
                report.push(twice(&table, &name.place, &first.name.place));
            }
            None => whole.push(entry),
        }
    }
}

fn twice(table: &str, second: &Place, first: &Place) -> Diagnostic {
    Diagnostic::new(Code::DefinedTwice, format!("[{table}] is in two files"))
        .at(second, "defined again")
        .and(first, "first defined here")
        .help("keep one of them; a later file adds tables, it does not change earlier ones")
}
