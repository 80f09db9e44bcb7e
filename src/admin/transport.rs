//! How the client reaches a gateway: its Unix socket, or TCP with a token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderValue;
use hyper::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::admin::ClientError;
use crate::certificate::CredentialPem;
use crate::web;

/// Where a gateway is, and what it takes to be let in.
#[derive(Clone)]
pub(super) enum Transport {
    Socket(PathBuf),
    Tcp(Arc<Remote>),
}

/// What it takes to call a gateway over TCP.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// A PEM file with the CA of the gateway's certificate. Absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the caller's own certificate and key, where the gateway asks for one.
    pub certificate_file: Option<PathBuf>,
}

pub(super) struct Remote {
    url: String,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    shows_certificate: bool,
    authorization: HeaderValue,
}

/// Either end of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Transport {
    /// A gateway at `url`: https, or http on this machine.
    pub(super) fn remote(url: &str, credentials: &Credentials) -> Result<Self, ClientError> {
        let refused = |problem: String| ClientError::Unusable {
            address: url.to_owned(),
            problem,
        };
        let uri: Uri = url.parse().map_err(|_| refused("it is no URL".to_owned()))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refused("write it as https://HOST:PORT".to_owned()));
        }
        let Some(token_file) = &credentials.token_file else {
            return Err(refused(
                "a token is needed there; name its file with --token-file".to_owned(),
            ));
        };
        let name = || {
            ServerName::try_from(host.clone())
                .map_err(|_| refused(format!("`{host}` is no name of a server")))
        };
        let tls = match uri.scheme_str() {
            Some("https") => {
                let config = tls(credentials).map_err(refused)?;
                Some((TlsConnector::from(Arc::new(config)), name()?))
            }
            _ if is_loopback(&host) => None,
            _ => {
                return Err(refused(
                    "the token would be sent in the clear; use https".to_owned(),
                ));
            }
        };
        Ok(Self::Tcp(Arc::new(Remote {
            port: uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 }),
            url: url.to_owned(),
            shows_certificate: credentials.certificate_file.is_some(),
            authorization: authorization(token_file).map_err(refused)?,
            host,
            tls,
        })))
    }

    /// Opens a connection, with TLS where that is spoken.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        match self {
            Self::Socket(socket) => match UnixStream::connect(socket).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                    let socket = socket.clone();
                    Err(ClientError::NotPermitted { socket, source })
                }
                Err(source) => {
                    let address = self.to_string();
                    Err(ClientError::NotRunning { address, source })
                }
            },
            Self::Tcp(remote) => {
                let stream = TcpStream::connect((remote.host.as_str(), remote.port)).await;
                let stream = stream.map_err(|source| ClientError::NotRunning {
                    address: remote.url.clone(),
                    source,
                })?;
                let Some((connector, name)) = &remote.tls else {
                    return Ok(Box::new(stream));
                };
                match connector.connect(name.clone(), stream).await {
                    Ok(stream) => Ok(Box::new(stream)),
                    Err(source) => Err(ClientError::Tls {
                        address: remote.url.clone(),
                        source,
                    }),
                }
            }
        }
    }

    /// The value of `Authorization`, where one is needed.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        match self {
            Self::Socket(_) => None,
            Self::Tcp(remote) => Some(remote.authorization.clone()),
        }
    }

    /// Whether it is TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tcp(remote) if remote.tls.is_some())
    }

    /// Whether there is a certificate of its own to be shown.
    pub(super) fn shows_certificate(&self) -> bool {
        matches!(self, Self::Tcp(remote) if remote.shows_certificate)
    }

    /// The value of `Host`.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        match self {
            Self::Socket(_) => Some(HeaderValue::from_static("certgate")),
            Self::Tcp(remote) if remote.host.contains(':') => {
                HeaderValue::try_from(format!("[{}]:{}", remote.host, remote.port)).ok()
            }
            Self::Tcp(remote) => HeaderValue::try_from(format!("{}:{}", remote.host, remote.port)).ok(),
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(socket) => socket.display().fmt(f),
            Self::Tcp(remote) => f.write_str(&remote.url),
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn authorization(file: &Path) -> Result<HeaderValue, String> {
    let unusable = |problem: &str| format!("the token file {} {problem}", file.display());
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    let header = Zeroizing::new(format!("Bearer {}", text.trim()));
    let mut value = HeaderValue::from_str(&header).map_err(|_| unusable("holds no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(credentials: &Credentials) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &credentials.ca_file {
        Some(file) => {
            let roots =
                web::roots(file).map_err(|reason| format!("the CA file {}: {reason}", file.display()))?;
            builder.with_root_certificates(roots)
        }
        None => {
            let verifier = Verifier::new(provider).map_err(|error| format!("the system's CAs: {error}"))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let Some(file) = &credentials.certificate_file else {
        return Ok(builder.with_no_client_auth());
    };
    let unusable = |problem: &dyn std::fmt::Display| format!("{}: {problem}", file.display());
    let text = std::fs::read(file)
        .map(Zeroizing::new)
        .map_err(|error| unusable(&error))?;
    let pem = CredentialPem::parse(&text).map_err(|error| unusable(&error))?;
    builder
        .with_client_auth_cert(pem.chain().to_vec(), pem.key().clone_key())
        .map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_sent_in_the_clear_to_another_machine() {
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, "secret\n").unwrap();
        let credentials = Credentials {
            token_file: Some(token_file),
            ..Credentials::default()
        };
        let problem = |url: &str| {
            Transport::remote(url, &credentials)
                .err()
                .map(|error| error.to_string())
        };
        assert!(problem("http://192.0.2.1:9180").unwrap().contains("in the clear"));
        assert!(
            problem("http://www.example.com")
                .unwrap()
                .contains("in the clear")
        );
        assert_eq!(problem("http://127.0.0.1:9180"), None);
        assert_eq!(problem("http://[::1]:9180/"), None);
        assert_eq!(problem("https://192.0.2.1:9180"), None);
        assert!(
            problem("https://www.example.com/v1")
                .unwrap()
                .contains("https://HOST:PORT")
        );
        let shown = format!(
            "{:?}",
            Transport::remote("http://localhost:1", &credentials).unwrap()
        );
        assert!(!shown.contains("secret"));
    }
}
