//! TLS as the data plane ends it: which certificate a client is served, which configuration its handshake gets,
//! and who is refused before it.
//!
//! [`ServerTls::decide`] looks at a ClientHello and says what to do with the connection. The certificates come
//! from the one [`PublishedCertificates`] of the process, of which every listener sees what its [`Selection`]
//! lets through; a new certificate is served by the next handshake, and no configuration is rebuilt for it.
//!
//! Nothing on this path waits or takes longer the more certificates there are, and no lock is taken but the read
//! lock under which rustls keeps its ticket keys, written once in six hours.

mod challenge;
mod chosen;
mod client_auth;
mod index;
mod offer;
mod preview;
mod published;
mod selection;
mod server;
mod table;
mod tally;

pub use challenge::{ACME_TLS_ALPN, ChallengeError, ChallengeProblem, ChallengeTable};
pub use chosen::Chosen;
pub use client_auth::{
    AuthenticationGeneration, Observation, Observations, RejectionReason, Verdict, client_verifier,
};
pub use index::StoredNames;
pub use offer::{Misfit, Offer, client_hello};
pub use preview::{Preview, Reason};
pub use published::{LookupRequest, PublishedCertificates};
pub use selection::{Choice, ClientOffer, MatchedBy, Selection, select};
pub use server::{Decision, Refusal, ServerTls, TlsError, alert_record};
pub use table::{Candidate, CertificateTable, KeyKind, Lookup};
pub use tally::{Counts, Fate, Kind, Tally};

#[cfg(test)]
mod tests;
