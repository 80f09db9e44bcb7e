//! Client authentication: a certificate is asked for and comes to a [`Verdict`], which a mutual listener enforces and
//! an observing one only notes.
//!
//! A verdict is reached in the midst of the handshake, on the thread that takes that step of it; it is put down where
//! [`Chosen::during`](super::Chosen::during) has laid a place for it.

mod generation;
mod observations;
mod rejection;
mod verify;

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

pub use generation::AuthenticationGeneration;
pub use observations::{Observation, Observations};
pub use rejection::RejectionReason;

use crate::certificate::{AllowedClients, CaBundle, ClientIdentity};
use crate::config::{Authentication, ExpiredCrl, ListenerConfig};

/// What has become of a client's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Everything was right with it.
    Verified {
        /// Who the client is.
        identity: Arc<ClientIdentity>,
        /// Whether that was said with a CRL that is out of date.
        with_expired_crl: bool,
    },
    /// It was refused, or would have been where it is only observed.
    Rejected {
        /// Why.
        reason: RejectionReason,
        /// What the certificate says, if there was one that can be read. None of it is proven.
        claimed: Option<Arc<ClientIdentity>>,
    },
}

impl Verdict {
    /// That of a client that shows none.
    pub(super) fn of_no_certificate() -> Self {
        Self::Rejected {
            reason: RejectionReason::NoCertificate,
            claimed: None,
        }
    }

    /// What the certificate says; proven only when it was verified.
    pub fn identity(&self) -> Option<&Arc<ClientIdentity>> {
        match self {
            Self::Verified { identity, .. } => Some(identity),
            Self::Rejected { claimed, .. } => claimed.as_ref(),
        }
    }

    /// Why it was rejected, if it was.
    pub fn rejection(&self) -> Option<RejectionReason> {
        match self {
            Self::Verified { .. } => None,
            Self::Rejected { reason, .. } => Some(*reason),
        }
    }

    /// In one word: `verified`, or the reason.
    pub fn label(&self) -> &'static str {
        self.rejection().map_or("verified", RejectionReason::label)
    }
}

/// Demands a certificate that `bundle` vouches for, with its CRLs: as a mutual listener that allows everyone of them.
pub fn client_verifier(bundle: &CaBundle) -> Arc<dyn ClientCertVerifier> {
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    Arc::new(ClientVerifier::demanding(bundle.clone(), algorithms))
}

/// Asks clients for a certificate and judges it.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    bundle: CaBundle,
    allow: Option<Arc<AllowedClients>>,
    expired_crl: ExpiredCrl,
    /// Whether verdicts count; otherwise they are only noted.
    enforce: bool,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl ClientVerifier {
    pub(super) fn new(
        listener: &ListenerConfig,
        bundle: CaBundle,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            allow: listener.allow_clients.clone(),
            expired_crl: listener.expired_crl,
            enforce: !matches!(listener.authentication, Authentication::Observe { .. }),
            ..Self::demanding(bundle, algorithms)
        }
    }

    fn demanding(bundle: CaBundle, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let hints = bundle.roots().subjects();
        let size: usize = hints.iter().map(|hint| hint.as_ref().len() + 2).sum();
        Self {
            bundle,
            allow: None,
            expired_crl: ExpiredCrl::Refuse,
            enforce: true,
            algorithms,
            // They must fit into a message with others; without them a client chooses by itself.
            hints: if size <= MAX_HINTS { hints } else { Vec::new() },
        }
    }

    /// Whether verdicts count.
    pub(super) fn enforces(&self) -> bool {
        self.enforce
    }

    /// What `verified` means for a client whose `certificate` it is about.
    fn proven(
        &self,
        certificate: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let Err(error) = verified else {
            return verified;
        };
        let reason = match verify::weak_key(certificate) {
            true => RejectionReason::WeakKey,
            false => RejectionReason::BadSignature,
        };
        note(Verdict::Rejected {
            reason,
            claimed: ClientIdentity::parse(certificate).map(Arc::new),
        });
        match self.enforce {
            true if reason == RejectionReason::WeakKey => Err(reason.error()),
            true => Err(error),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.enforce
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verdict = self.judge(end_entity, intermediates, now);
        let rejection = verdict.rejection();
        note(verdict);
        match rejection {
            Some(reason) if self.enforce => Err(reason.error()),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = verify_tls12_signature(message, certificate, signature, &self.algorithms);
        self.proven(certificate, verified)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = verify_tls13_signature(message, certificate, signature, &self.algorithms);
        self.proven(certificate, verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Where the verdict on one client is put down.
#[derive(Debug, Default)]
pub(super) struct Place {
    certificate: OnceLock<Verdict>,
    /// A certificate that was good may turn out not to be the client's own.
    proof: OnceLock<Verdict>,
}

impl Place {
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let rejected = |verdict: &&Verdict| verdict.rejection().is_some();
        let first = self.certificate.get();
        first.filter(rejected).or(self.proof.get()).or(first).cloned()
    }

    /// Whether the client has signed with the key of what it has shown, if it has shown something.
    pub(super) fn is_proven(&self) -> bool {
        self.proof.get().is_none()
    }
}

/// Runs a step of a handshake whose verdict belongs at `place`.
pub(super) fn noting<T>(place: &Arc<Place>, step: impl FnOnce() -> T) -> T {
    let _restored = Restored(PLACE.replace(Some(place.clone())));
    step()
}

fn note(verdict: Verdict) {
    PLACE.with_borrow(|place| {
        if let Some(place) = place
            && let Err(proof) = place.certificate.set(verdict)
        {
            // Steps are taken once: a third verdict cannot come.
            let _ = place.proof.set(proof);
        }
    });
}

/// Also when a step panics: the next handshake of the thread is another client's.
struct Restored(Option<Arc<Place>>);

impl Drop for Restored {
    fn drop(&mut self) {
        PLACE.set(self.0.take());
    }
}

thread_local! {
    static PLACE: RefCell<Option<Arc<Place>>> = const { RefCell::new(None) };
}

/// Bytes of CA names that are shown to clients; all of a CertificateRequest must stay below 64 KiB.
const MAX_HINTS: usize = 16 * 1024;
