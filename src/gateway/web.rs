//! The gateway as a client of web servers.

use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls_platform_verifier::Verifier;

/// A client that sends no bodies, follows no redirects and trusts whom the system trusts.
pub(super) type WebClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A client for http and https.
///
/// # Errors
/// In words, why there is none.
pub(super) fn client() -> Result<WebClient, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

fn tls_config() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(provider.clone()).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(builder.with_no_client_auth())
}

/// What it calls itself.
pub(super) const USER_AGENT: &str = concat!("certgate/", env!("CARGO_PKG_VERSION"));
