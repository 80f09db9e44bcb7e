//! TLS for the API on TCP, with a certificate of the store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::{CaBundle, CertificateName};
use crate::clock::Timestamp;
use crate::tls::{Lookup, PublishedCertificates, client_verifier};

/// How TLS is spoken on the API's addresses. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    served: Arc<Served>,
}

/// The certificate, as it is published at the moment of a handshake.
#[derive(Debug)]
struct Served {
    certificate: CertificateName,
    published: Arc<PublishedCertificates>,
}

impl Tls {
    /// Shows `certificate` as `published` has it, and asks for a client certificate of `client_ca` where that is given.
    ///
    /// # Errors
    /// [`rustls::Error`] when the bundle cannot be used.
    pub fn new(
        certificate: CertificateName,
        client_ca: Option<&CaBundle>,
        published: Arc<PublishedCertificates>,
    ) -> Result<Self, rustls::Error> {
        let served = Arc::new(Served {
            certificate,
            published,
        });
        let builder = ServerConfig::builder();
        let clients = client_ca.map(client_verifier);
        let builder = match clients.clone() {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients),
        };
        let mut config = builder.with_cert_resolver(served.clone());
        // Who is let in is looked at in every handshake anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: Arc::new(config).into(),
            clients,
            served,
        })
    }

    /// Shakes hands; gives the client's chain with it, if one was asked for.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Arc<[CertificateDer<'static>]>)> {
        let accepted = tokio::time::timeout(HANDSHAKE, async {
            if self.served.key().is_none() {
                let entry = Lookup::Entry(self.served.certificate.clone());
                self.served.published.look_up(entry).await;
            }
            self.acceptor.accept(stream).await
        });
        let stream = accepted.await??;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let shown = shown.iter().map(|certificate| certificate.clone().into_owned());
        let shown = shown.collect();
        Ok((stream, shown))
    }

    /// Whether a client that has shown these certificates in its handshake would get through one at `now`.
    pub(super) fn admits(&self, shown: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let Some(clients) = &self.clients else { return true };
        let seconds = now.unix_seconds().try_into().unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        match shown {
            [] => false,
            [own, others @ ..] => clients.verify_client_cert(own, others, now).is_ok(),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.served.certificate).finish()
    }
}

impl Served {
    fn key(&self) -> Option<Arc<CertifiedKey>> {
        let table = self.published.load();
        let credential = table.get(&self.certificate).next()?;
        Some(credential.certified_key().clone())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

const HANDSHAKE: Duration = Duration::from_secs(10);
