//! TLS for the API on TCP, with a certificate of the store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::{CaBundle, CertificateName};
use crate::tls::{Lookup, PublishedCertificates, client_verifier};

/// How TLS is spoken on the API's addresses. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
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
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(bundle) => builder.with_client_cert_verifier(client_verifier(bundle)),
        };
        let mut config = builder.with_cert_resolver(served.clone());
        // Who is let in is looked at in every handshake anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: Arc::new(config).into(),
            served,
        })
    }

    /// Shakes hands; gives the subject of the client's certificate with it, if one was asked for.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<String>)> {
        let accepted = tokio::time::timeout(HANDSHAKE, async {
            if self.served.key().is_none() {
                let entry = Lookup::Entry(self.served.certificate.clone());
                self.served.published.look_up(entry).await;
            }
            self.acceptor.accept(stream).await
        });
        let stream = accepted.await??;
        let shown = stream.get_ref().1.peer_certificates();
        let subject =
            shown.and_then(<[_]>::first).map(|certificate| {
                match x509_parser::parse_x509_certificate(certificate) {
                    Ok((_, certificate)) => certificate.subject().to_string(),
                    Err(_) => "unreadable".to_owned(),
                }
            });
        Ok((stream, subject))
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
