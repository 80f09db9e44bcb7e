//! `spare_issuer` of `[certificates.NAME]`: a second certificate, from another CA.

use super::Checker;
use super::certificate::issuers_of;
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::Key;
use crate::config::source::{Located, Place};
use crate::config::written::Certificate;

impl Checker<'_> {
    /// The spares of `issued`, the certificates of the table `name`; none where none is asked for.
    pub(super) fn spares(
        &mut self,
        name: &Located<String>,
        certificate: &Certificate,
        issued: &[DesiredCertificate],
    ) -> Option<Vec<DesiredCertificate>> {
        let written = match &certificate.spare_issuer {
            Key::Absent => return Some(Vec::new()),
            Key::Invalid => return None,
            Key::Present(written, _) => written,
        };
        let document = self.document;
        let Located { value: issuer, place } = written;
        if !self.refers(&document.issuers, "issuers", "issuer", issuer, place) {
            return None;
        }
        let entry = document.issuers.entry(issuer);
        let table = entry.and_then(|entry| entry.table.as_ref());
        if let Some(table) = table {
            self.signs(issuer, place, table, certificate.domains.items());
        }
        let issuers = issuers_of(document, certificate);
        let directory = |name: &str| {
            let table = document.issuers.entry(name)?.table.as_ref()?;
            Some(&table.directory.value()?.value)
        };
        let is_same = |other: &&&Located<String>| {
            other.value == *issuer
                || directory(issuer).is_some_and(|url| directory(&other.value) == Some(url))
        };
        if let Some(same) = issuers.iter().find(is_same) {
            let message = format!(
                "the spare of the certificate `{}` would come from the CA of the certificate itself",
                name.value
            );
            self.report.push(
                Diagnostic::new(Code::NotAllowed, message)
                    .at(place, "the same CA")
                    .and(&same.place, "this one")
                    .help("name an issuer at another CA: a spare is for the day on which this one fails"),
            );
            return None;
        }
        issued
            .iter()
            .map(|primary| {
                Some(DesiredCertificate {
                    name: self.spare_name(&primary.name, place)?,
                    issuers: vec![issuer.clone()],
                    spare_of: Some(primary.name.clone()),
                    ..primary.clone()
                })
            })
            .collect()
    }

    /// The name of a spare, which no other certificate may have.
    fn spare_name(&mut self, primary: &CertificateName, place: &Place) -> Option<CertificateName> {
        let spare = match primary.spare() {
            Ok(spare) => spare,
            Err(error) => {
                self.report.push(
                    Diagnostic::new(Code::InvalidValue, error.to_string())
                        .at(place, "the spare would be called so")
                        .help("give the certificate a shorter name"),
                );
                return None;
            }
        };
        let Some(other) = self.document.certificates.entry(spare.as_str()) else {
            return Some(spare);
        };
        let message = format!("the certificate `{spare}` is the spare of `{primary}`");
        self.report.push(
            Diagnostic::new(Code::DefinedTwice, message)
                .at(&other.name.place, "the same name")
                .and(place, "the spare is called so")
                .help("give the other certificate another name"),
        );
        None
    }
}
