//! Whom a listener lets in, as far as its keys and those of its CA bundle say.

use std::collections::{BTreeMap, BTreeSet};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::Value;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::config::ResourceTable;

/// How much is asked of clients: nothing, a look at a certificate, a certificate that verifies; then a CRL in date, and a
/// place on a list.
pub(super) fn strictness(table: &ResourceTable) -> (u8, bool, bool) {
    let accepts = table.get("expired_crl").and_then(Value::as_str) == Some("accept");
    match authentication(table) {
        "mutual" => (2, !accepts, table.contains_key("allow_clients")),
        "observe" => (1, false, false),
        _ => (0, false, false),
    }
}

/// The same for people.
pub(super) fn demand(table: &ResourceTable) -> String {
    let mut text = authentication(table).to_owned();
    if let (_, in_date, listed) = strictness(table)
        && text == "mutual"
    {
        text.push_str(if listed { ", for `allow_clients`" } else { "" });
        text.push_str(if in_date {
            ""
        } else {
            ", with expired CRLs accepted"
        });
    }
    text
}

/// Whether only clients with a certificate are let in.
pub(super) fn is_mutual(table: &ResourceTable) -> bool {
    authentication(table) == "mutual"
}

/// What a listener's keys say of authentication; checked already, or about to be.
fn authentication(table: &ResourceTable) -> &str {
    table
        .get("authentication")
        .and_then(|word| word.as_str())
        .unwrap_or("one-way")
}

/// What a listener with mutual authentication goes by. Things are told apart by what identifies them, and each has words for
/// people. What files hold is not looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Admission {
    /// Whose clients may come in.
    authorities: Things,
    /// What is looked up before they do.
    crls: Things,
    /// Which of them; everybody, where it is absent.
    allowed: Option<Things>,
}

type Things = BTreeMap<Vec<u8>, String>;

impl Admission {
    /// That of a listener with the keys `listener`, whose CA bundle has the keys `bundle`.
    pub(super) fn of(listener: &ResourceTable, bundle: Option<&ResourceTable>) -> Self {
        let none = ResourceTable::new();
        let bundle = bundle.unwrap_or(&none);
        let mut authorities = listed(bundle, "files", "CA file");
        let mut crls = listed(bundle, "crl_files", "CRL file");
        crls.extend(listed(bundle, "crl_urls", "CRL at"));
        if let Some(issuer) = bundle.get("issuer").and_then(Value::as_str) {
            authorities.insert(issuer.into(), format!("local CA `{issuer}`"));
            crls.insert(issuer.into(), format!("CRL of local CA `{issuer}`"));
        }
        let text = |key: &str| bundle.get(key).and_then(Value::as_str).unwrap_or_default();
        for der in CertificateDer::pem_slice_iter(text("certificates_pem").as_bytes()).flatten() {
            let parsed = X509Certificate::from_der(&der);
            let subject = parsed.map(|(_, parsed)| parsed.subject().to_string());
            authorities.insert(der.to_vec(), format!("CA `{}`", subject.unwrap_or_default()));
        }
        for der in CertificateRevocationListDer::pem_slice_iter(text("crls_pem").as_bytes()).flatten() {
            let parsed = CertificateRevocationList::from_der(&der);
            let issuer = parsed.map(|(_, parsed)| parsed.issuer().to_string());
            crls.insert(der.to_vec(), format!("CRL of `{}`", issuer.unwrap_or_default()));
        }
        let allowed = listener.get("allow_clients").and_then(Value::as_object);
        let allowed = allowed.map(|allowed| {
            let kinds = allowed.keys();
            kinds.flat_map(|kind| listed(allowed, kind, kind)).collect()
        });
        Self {
            authorities,
            crls,
            allowed,
        }
    }

    /// Who would come in by this, and does not by `other`, a line for each kind.
    pub(super) fn beyond(&self, other: &Self) -> Vec<String> {
        let mut more: Vec<_> =
            (beyond(&self.authorities, &other.authorities).map(|ca| format!("clients of {ca}"))).collect();
        match (&self.allowed, &other.allowed) {
            (Some(ours), Some(theirs)) => {
                more.extend(beyond(ours, theirs).map(|pattern| format!("clients with {pattern}")));
            }
            (None, Some(_)) => more.push("clients that `allow_clients` has not named".to_owned()),
            (_, None) => {}
        }
        more
    }

    /// Whether somebody can have a certificate that counts for both.
    pub(super) fn shares_an_authority_with(&self, other: &Self) -> bool {
        let mut all = self.authorities.keys();
        all.any(|authority| other.authorities.contains_key(authority))
    }

    /// The CRLs that `other` goes by and this does not.
    pub(super) fn unchecked(&self, other: &Self) -> Vec<String> {
        beyond(&other.crls, &self.crls).map(str::to_owned).collect()
    }

    /// Whether CRLs of `other` were left out here. One may be in the place of another; whether one has gone with its CA
    /// cannot be seen from what the files are called.
    pub(super) fn has_fewer_crls(&self, other: &Self) -> bool {
        self.crls.len() < other.crls.len()
    }
}

/// The list `key` of `table`; each item is called by `word` and itself.
fn listed(table: &ResourceTable, key: &str, word: &str) -> Things {
    let items = table.get(key).and_then(Value::as_array);
    let texts: BTreeSet<_> = items.into_iter().flatten().filter_map(Value::as_str).collect();
    let thing = |text: &str| (format!("{key} {text}").into_bytes(), format!("{word} `{text}`"));
    texts.into_iter().map(thing).collect()
}

fn beyond<'t>(ours: &'t Things, theirs: &'t Things) -> impl Iterator<Item = &'t str> {
    let more = ours.iter().filter(|(thing, _)| !theirs.contains_key(*thing));
    more.map(|(_, words)| words.as_str())
}
