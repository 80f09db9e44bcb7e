//! The admin API: HTTP and JSON over a Unix socket that only the owner can open, and over TCP for who has a token.
//!
//! [`Operations`] is what a running gateway can be asked to do; [`Server`] serves it and [`Client`] is its other end,
//! used by the command line. The bodies are in [`api`]. A route is declared once, in `endpoints`: from that come the
//! right it needs, its place in the [`AuditTrail`], and its part of the OpenAPI document.

mod access;
mod account_client;
mod accounts;
pub mod api;
mod audit;
mod calendar;
mod certificate_edits;
mod client;
mod endpoints;
mod exact;
mod exports;
mod guard;
pub(crate) mod handshakes;
mod hook_client;
mod hooks;
mod issuer_client;
mod issuers;
mod openapi;
mod page;
mod problem;
mod resource_client;
pub(crate) mod resources;
mod route;
mod server;
mod tls;
mod transport;
mod version_client;
mod versions;

use std::path::Path;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use access::Admission;
pub use accounts::AccountOperations;
pub use audit::AuditTrail;
pub use calendar::CalendarOperations;
pub use certificate_edits::CertificateOperations;
pub use client::{Client, ClientError, Events};
pub use exports::ExportOperations;
pub use handshakes::HandshakeOperations;
pub use hooks::HookOperations;
pub use issuers::IssuerOperations;
pub use page::Page;
pub use problem::{Finding, Problem};
pub use resources::{Conditions, Edit, ResourceOperations};
pub use server::{Server, ServerError};
pub use tls::Tls;
pub use transport::Credentials;
pub use versions::VersionOperations;

use crate::certificate::CertificateName;

/// What a running gateway can be asked to do. Each answer is a body of [`api`], or a [`Problem`].
#[async_trait]
pub trait Operations:
    AccountOperations
    + CalendarOperations
    + CertificateOperations
    + ExportOperations
    + HandshakeOperations
    + HookOperations
    + IssuerOperations
    + ResourceOperations
    + VersionOperations
{
    /// One screen: listeners, certificates, backends, last errors.
    async fn status(&self) -> Result<api::Status, Problem>;

    /// Whether every listener has a certificate to serve.
    async fn is_ready(&self) -> bool;

    /// The certificate store, sorted by name.
    async fn certificates(&self, page: &Page) -> Result<Vec<api::Certificate>, Problem>;

    /// One entry of it.
    async fn certificate(&self, name: &CertificateName) -> Result<api::Certificate, Problem>;

    /// Asks for a new certificate now.
    async fn renew(&self, name: &CertificateName, even_if: Option<api::Objection>) -> Result<(), Problem>;

    /// The chain, and the private key if asked for; the latter is logged.
    async fn export(&self, name: &CertificateName, with_key: bool)
    -> Result<api::CertificateExport, Problem>;

    /// The root certificate of a local CA, as PEM.
    async fn local_ca_root(&self, issuer: &str) -> Result<String, Problem>;

    /// What DNS says about names, against `[gateway]`.
    async fn dns_check(&self, request: api::DnsCheckRequest) -> Result<Vec<api::DomainVerdict>, Problem>;

    /// Every metric as OpenMetrics text.
    async fn metrics(&self) -> String;

    /// What happens to certificates from now on.
    fn events(&self) -> broadcast::Receiver<api::Event>;
}

/// Whether somebody answers at `socket`.
pub async fn is_answered(socket: &Path) -> bool {
    tokio::net::UnixStream::connect(socket).await.is_ok()
}
