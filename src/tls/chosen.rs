//! The certificate of a handshake, from its decision to rustls.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::client_auth::{self, Place, Verdict};
use super::selection::MatchedBy;
use super::table::Candidate;

/// The certificate that a client is served. rustls asks for it in the midst of the handshake, when it could not be
/// looked up once more: meanwhile another may have been published, or it may have left the cache.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub(super) candidate: Arc<Candidate>,
    pub(super) by: MatchedBy,
    pub(super) is_verifiable: bool,
    /// Where the client is asked for a certificate, what became of that.
    pub(super) client: Option<Arc<Place>>,
}

impl Chosen {
    /// The certificate.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// What led to it.
    pub fn by(&self) -> MatchedBy {
        self.by
    }

    /// Whether the client says that it can verify it; if not, it can verify none that there are for the name.
    pub fn is_verifiable(&self) -> bool {
        self.is_verifiable
    }

    /// Runs a step of the handshake, in which rustls gets this certificate when it asks for one.
    pub fn during<T>(&self, step: impl FnOnce() -> T) -> T {
        let before = CHOSEN.replace(Some(self.candidate.credential().certified_key().clone()));
        let _restored = Restored(before);
        match &self.client {
            Some(place) => client_auth::noting(place, step),
            None => step(),
        }
    }

    /// Whether the certificate that the client has shown is its own, as far as it has shown one. Where it is not, and the
    /// client is let in all the same, the certificate counts for nothing, and never will.
    pub fn is_clients_own(&self) -> bool {
        self.client.as_ref().is_none_or(|place| place.is_proven())
    }

    /// What became of the client's certificate in a handshake that ended with `error`, or without one. Nothing where
    /// none is asked for, and where it had not come to that.
    pub fn verdict(&self, error: Option<&rustls::Error>) -> Option<Verdict> {
        let place = self.client.as_ref()?;
        let none_shown = || matches!(error, None | Some(rustls::Error::NoCertificatesPresented));
        place
            .verdict()
            .or_else(|| none_shown().then(Verdict::of_no_certificate))
    }
}

/// Answers with what is chosen for the step that the thread is in, and with nothing outside of one.
#[derive(Debug)]
pub(super) struct Resolver;

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        CHOSEN.with_borrow(Clone::clone)
    }
}

/// Also when a step panics: the next handshake of the thread is another client's.
struct Restored(Option<Arc<CertifiedKey>>);

impl Drop for Restored {
    fn drop(&mut self) {
        CHOSEN.set(self.0.take());
    }
}

thread_local! {
    static CHOSEN: RefCell<Option<Arc<CertifiedKey>>> = const { RefCell::new(None) };
}
