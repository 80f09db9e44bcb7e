//! `certgate test`: fresh TLS connections with a listener, and what came of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::ServerName;
use serde::Serialize;

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::output::{Printed, Surplus, time_left};
use super::probe::{Answer, Prober, Seen};
use crate::admin::{Client, api};
use crate::certificate::CredentialPem;
use crate::clock::Timestamp;
use crate::name::NamePattern;

#[derive(Debug, Args)]
pub(super) struct Tested {
    /// The listener.
    listener: String,
    /// The server name to ask for [default: the first one of the listener's default certificate]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// How many connections.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Where to connect, as host:port [default: the listener's address]
    #[arg(long, value_name = "ADDRESS", value_parser = host_and_port)]
    connect: Option<String>,
    /// An application protocol to offer; may be given again.
    #[arg(long, value_name = "PROTOCOL", default_value = "http/1.1")]
    alpn: Vec<String>,
    /// A PEM file with the certificate to show when one is asked for, and its intermediates.
    #[arg(long, alias = "client-cert", value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// A PEM file with its key [default: the same file]
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report {
    listener: String,
    address: String,
    server_name: String,
    passed: bool,
    connections: Vec<Connection>,
}

/// One connection.
#[derive(Serialize)]
struct Connection {
    passed: bool,
    error: Option<String>,
    certificate: Option<Certificate>,
    verified: bool,
    verified_by: Option<String>,
    not_verified_because: Option<String>,
    version: Option<String>,
    cipher_suite: Option<String>,
    group: Option<String>,
    alpn: Option<String>,
    authentication: Authentication,
    answer: Option<Answered>,
    connect_ms: Option<f64>,
    handshake_ms: Option<f64>,
    total_ms: f64,
}

#[derive(Serialize)]
struct Certificate {
    names: Vec<NamePattern>,
    issuer: String,
    key: String,
    not_after: Timestamp,
    days_left: u64,
    fingerprint: String,
}

#[derive(Serialize)]
struct Authentication {
    asked_for: bool,
    shown: bool,
    verdict: &'static str,
}

#[derive(Serialize)]
struct Answered {
    status: String,
    server: Option<String>,
    body: Option<String>,
}

pub(super) async fn test(client: &Client, tested: &Tested) -> Result<ExitCode, Failure> {
    let status = client.status().await?;
    let address = match &tested.connect {
        Some(address) => address.clone(),
        None => address(&status, &tested.listener)?,
    };
    let name = match &tested.sni {
        Some(name) => name.clone(),
        None => usual_name(client, &tested.listener).await?,
    };
    let server_name = ServerName::try_from(name.clone())
        .map_err(|_| format!("`{name}` is no name of a server; name another one with --sni"))?;
    let mut prober = Prober::new(&roots(client).await?, true)?.offering(&tested.alpn);
    if let Some(certificate) = &tested.client_certificate {
        prober = prober.presenting(&credential(certificate, tested.client_key.as_deref())?)?;
    }
    let mut connections = Vec::new();
    for _ in 0..tested.count {
        let seen = prober.connection(&address, &server_name).await;
        connections.push(Connection::of(
            seen,
            tested.client_certificate.is_some(),
            status.now,
        ));
    }
    let report = Report {
        listener: tested.listener.clone(),
        address,
        server_name: name,
        passed: connections.iter().all(|connection| connection.passed),
        connections,
    };
    match tested.form.output {
        OutputFormat::Json => Printed::json(&report)?,
        OutputFormat::Text => print(&report, status.now)?,
    }
    Ok(match report.passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// An address as connections are made to it.
fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(1..) => Ok(text.to_owned()),
        _ => Err("write host:port, as in `127.0.0.1:8443` or `[::1]:8443`".to_owned()),
    }
}

/// Where a client on this machine reaches the listener.
fn address(status: &api::Status, name: &str) -> Result<String, Failure> {
    let found = status.listeners.iter().find(|listener| listener.name == name);
    let Some(listener) = found else {
        let names: Vec<_> = status
            .listeners
            .iter()
            .map(|listener| listener.name.as_str())
            .collect();
        return Err(format!("there is no listener `{name}`; there are: {}", names.join(", ")).into());
    };
    if listener.protocol != "tls" {
        return Err(format!("listener `{name}` speaks plain HTTP; only TLS is tested").into());
    }
    if !listener.enabled {
        return Err(
            format!("listener `{name}` is disabled; `certgate listener enable {name}` opens it").into(),
        );
    }
    let mut address: SocketAddr = listener.address.parse()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address.to_string())
}

/// A name of the certificate that is served to a client which asks for none.
async fn usual_name(client: &Client, listener: &str) -> Result<String, Failure> {
    let request = api::ExplainRequest {
        server_name: None,
        client: None,
        alpn: Vec::new(),
        client_certificate_pem: None,
    };
    let certificate = client.explain(listener, &request).await?.certificate;
    let name = certificate.and_then(|certificate| certificate.domains.into_iter().next());
    match name {
        Some(name) if name.is_wildcard() => Ok(format!("www.{}", name.base())),
        Some(name) => Ok(match name.address() {
            Some(address) => address.to_string(),
            None => name.to_string(),
        }),
        None => Err(format!(
            "listener `{listener}` serves nothing to who asks for no name; say which one with --sni"
        )
        .into()),
    }
}

/// The gateway's own CAs.
async fn roots(client: &Client) -> Result<Vec<(String, String)>, Failure> {
    let mut roots = Vec::new();
    for issuer in client.issuers().await? {
        let made = issuer.local_ca.and_then(|local| local.root_fingerprint);
        if made.is_some() {
            let root = client.local_ca_root(&issuer.name).await?;
            roots.push((issuer.name, root));
        }
    }
    Ok(roots)
}

fn credential(certificate: &Path, key: Option<&Path>) -> Result<CredentialPem, Failure> {
    let text = |path: &Path| {
        let read = std::fs::read(path).map(zeroize::Zeroizing::new);
        read.map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let chain = text(certificate)?;
    let (parsed, file) = match key {
        None => (CredentialPem::parse(&chain), certificate),
        Some(key) => match CredentialPem::parse_pair(&chain, &text(key)?) {
            Err(error) if error.is_of_key => (Err(error.problem), key),
            parsed => (parsed.map_err(|error| error.problem), certificate),
        },
    };
    parsed.map_err(|error| {
        let why = crate::cause::with_causes(&error);
        format!("{}: {why}", file.display()).into()
    })
}

impl Connection {
    fn of(seen: Seen, has_certificate: bool, now: Timestamp) -> Self {
        let passed = seen.is_good();
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
        let shaken_hands = seen.shaken_hands_after.zip(seen.connected_after);
        let (verified_by, problem) = match seen.verdict {
            Some(Ok(by)) => (Some(by), None),
            Some(Err(problem)) => (None, Some(problem)),
            None => (None, None),
        };
        let verdict = match (seen.is_asked, has_certificate, &seen.error) {
            _ if seen.connected_after.is_none() => "not-connected",
            (false, _, Some(_)) if seen.shaken_hands_after.is_none() => "unknown",
            (false, _, _) => "not-asked",
            (true, _, Some(_)) => "refused",
            (true, true, None) => "admitted",
            (true, false, None) => "admitted-without",
        };
        Self {
            passed,
            error: seen.error,
            certificate: seen.leaf.map(|leaf| Certificate {
                days_left: match leaf.not_after > now {
                    true => leaf.not_after.since(now).as_secs() / 86_400,
                    false => 0,
                },
                names: leaf.names,
                issuer: leaf.issuer,
                key: leaf.key,
                not_after: leaf.not_after,
                fingerprint: leaf.fingerprint,
            }),
            verified: verified_by.is_some(),
            verified_by,
            not_verified_because: problem,
            version: seen.version,
            cipher_suite: seen.cipher_suite,
            group: seen.group,
            alpn: seen.alpn,
            authentication: Authentication {
                asked_for: seen.is_asked,
                shown: seen.is_asked && has_certificate,
                verdict,
            },
            answer: seen
                .answer
                .map(|Answer { status, server, body }| Answered { status, server, body }),
            connect_ms: seen.connected_after.map(milliseconds),
            handshake_ms: shaken_hands.map(|(end, begin)| milliseconds(end - begin)),
            total_ms: milliseconds(seen.ended_after),
        }
    }
}

fn print(report: &Report, now: Timestamp) -> Result<(), Failure> {
    Printed::text(format!(
        "listener {} at {}, asked for {}\n\n",
        report.listener, report.address, report.server_name
    ))?;
    let rows = report.connections.iter().enumerate().map(|(index, connection)| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let outcome = match (&connection.error, &connection.answer) {
            (Some(error), _) if connection.connect_ms.is_none() => format!("could not connect: {error}"),
            (Some(error), _) => format!("failed: {error}"),
            (None, Some(answer)) => answered(answer),
            (None, None) => "no request was sent".to_owned(),
        };
        vec![
            (index + 1).to_string(),
            or_dash(&connection.version),
            or_dash(&connection.cipher_suite),
            or_dash(&connection.group),
            or_dash(&connection.alpn),
            connection
                .handshake_ms
                .map_or_else(|| "-".to_owned(), |time| format!("{time:.1} ms")),
            format!("{:.1} ms", connection.total_ms),
            outcome,
        ]
    });
    let header = [
        "CONNECTION",
        "VERSION",
        "SUITE",
        "KEY EXCHANGE",
        "ALPN",
        "HANDSHAKE",
        "TOTAL",
        "ANSWER",
    ];
    Printed::table(&header, rows, Surplus::Wrap)?;
    Printed::text("\n")?;
    let distinct = |text: fn(&Connection, Timestamp) -> String| {
        let texts = report.connections.iter().map(|connection| text(connection, now));
        texts
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join("\n")
    };
    Printed::labelled([
        ("certificate".to_owned(), distinct(certificate)),
        (
            "verified".to_owned(),
            distinct(|connection, _| verified(connection)),
        ),
        (
            "authentication".to_owned(),
            distinct(|connection, _| authentication(connection)),
        ),
    ])?;
    let failed = report
        .connections
        .iter()
        .filter(|connection| !connection.passed)
        .count();
    let all = report.connections.len();
    Printed::text(match failed {
        0 => format!("\nAll {all} were verified and let in.\n"),
        failed => format!("\n{failed} of {all} FAILED.\n"),
    })
}

fn answered(answer: &Answered) -> String {
    let Answered { status, server, body } = answer;
    let server = server.as_ref().map(|server| format!("by {server}"));
    let parts = [Some(status.clone()), server, body.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn certificate(connection: &Connection, now: Timestamp) -> String {
    let Some(certificate) = &connection.certificate else {
        return "none was shown".to_owned();
    };
    let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
    format!(
        "for {}\n{}, signed by {}, {} left\nSHA-256 {}",
        names.join(", "),
        certificate.key,
        certificate.issuer,
        time_left(now, certificate.not_after),
        certificate.fingerprint
    )
}

fn verified(connection: &Connection) -> String {
    match (&connection.verified_by, &connection.not_verified_because) {
        (Some(by), _) => format!("by {by}"),
        (None, Some(problem)) => format!("NO: {problem}"),
        (None, None) => "NO: it did not come to that".to_owned(),
    }
}

fn authentication(connection: &Connection) -> String {
    match connection.authentication.verdict {
        "not-connected" => "unknown: there was no connection",
        "unknown" => "unknown: the handshake ended before a certificate was asked for",
        "not-asked" => "no certificate is asked for",
        "admitted" => "a certificate is asked for; yours was shown, and let in",
        "admitted-without" => "a certificate is asked for; none was shown, and you were let in all the same",
        _ if connection.authentication.shown => "a certificate is asked for; yours was shown, and refused",
        _ => "a certificate is asked for, and none was shown; name yours with --client-certificate",
    }
    .to_owned()
}
