//! Certificates: what is wanted, what a leaf says, and a chain and key proven to fit.
//!
//! A [`DesiredCertificate`] is what the operator wrote. A [`CredentialPem`] is a chain and its key as one value,
//! the form in which they are kept and moved. A [`Credential`] is the same after every check, ready to serve.
//! A [`Leaf`] is what the end-entity certificate says of itself.

mod ca_bundle;
mod client;
mod credential;
mod desired;
mod key;
mod leaf;
mod on_demand;
mod pem;
mod pkcs12;
mod renewal_window;
mod revocation_reason;

pub use ca_bundle::{
    Authority, CaBundle, CaBundleError, CaBundleProblem, CaBundleSources, CrlProblem, FileReader,
    MAX_CRL_BYTES, Revocation, RevocationList, RevocationLists, SkipReason, Skipped, SkippedLines,
    SkippedText, ca_certificates_problem, crls_problem,
};
pub use client::{AllowedClients, ClientIdentity, UriPattern, UriPatternError};
pub use credential::{Credential, CredentialError};
pub use desired::{CertificateName, CertificateNameError, DesiredCertificate};
pub use key::{KeyError, KeyType, PrivateKey};
pub use leaf::{Leaf, LeafError};
pub use on_demand::ON_DEMAND_DIRECTORY;
pub use pem::{CredentialPem, PairProblem, PemProblem, crl_to_pem};
pub use pkcs12::{Pkcs12Error, Pkcs12Salts};
pub use renewal_window::RenewalWindow;
pub use revocation_reason::RevocationReason;
