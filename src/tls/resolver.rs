//! The certificate of a handshake, as rustls asks for it.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::published::PublishedCertificates;
use super::selection::{Choice, ClientOffer, Selection, select};

/// Resolves from what is published now, within a listener's selection.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) published: Arc<PublishedCertificates>,
    pub(super) selection: Selection,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.published.load();
        match select(&table, &self.selection, &ClientOffer::from(&hello)) {
            Choice::Certificate { credential, .. } => Some(credential.certified_key().clone()),
            Choice::NothingYet | Choice::UnknownName => None,
        }
    }
}
