//! `certgate explain`: what a handshake would get, and why.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::output::Printed;
use crate::admin::{Client, api};

#[derive(Debug, Args)]
pub(super) struct Asked {
    /// The listener.
    listener: String,
    /// The server name that the client asks for; without it, it asks for none.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// A well-known client by the beginning of its name, as `certgate policy explain` lists them [default: a browser of
    /// today]
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// An application protocol that it offers; may be given again.
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// A PEM file with the certificate that it shows, and its intermediates. A private key in it stays here.
    #[arg(long, alias = "client-cert", value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn explain(client: &Client, asked: &Asked) -> Result<ExitCode, Failure> {
    let certificates = asked.client_certificate.as_deref().map(certificates);
    let request = api::ExplainRequest {
        server_name: asked.sni.clone(),
        client: asked.client.clone(),
        alpn: asked.alpn.clone(),
        client_certificate_pem: certificates.transpose()?,
    };
    let explanation = client.explain(&asked.listener, &request).await?;
    match asked.form.output {
        OutputFormat::Json => Printed::json(&explanation)?,
        OutputFormat::Text => print(&explanation)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The certificates of a file, and nothing else of it.
fn certificates(file: &Path) -> Result<String, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut certificates = String::new();
    let mut rest = text.as_str();
    while let Some(begin) = rest.find(BEGIN) {
        let from = &rest[begin..];
        let end = from.find(END).map(|end| end + END.len());
        let end = end.ok_or_else(|| format!("{}: a certificate has no end", file.display()))?;
        certificates.push_str(&from[..end]);
        certificates.push('\n');
        rest = &from[end..];
    }
    match certificates.is_empty() {
        true => Err(format!("{} holds no certificate; PEM is expected", file.display()).into()),
        false => Ok(certificates),
    }
}

fn print(explained: &api::Explanation) -> Result<(), Failure> {
    let name = explained.server_name.as_deref();
    let asks = name.map_or("asks for no name".to_owned(), |name| format!("asks for {name}"));
    let outcome = match explained.outcome.as_str() {
        "served" => "the handshake succeeds".to_owned(),
        "challenge" => "taken for a CA's look at an ACME challenge: answered, and never forwarded".to_owned(),
        _ => refused(explained),
    };
    let rows = [
        ("client", format!("{}, {asks}", explained.client)),
        ("outcome", outcome),
        ("certificate", certificate(explained)),
        ("policy", policy(&explained.policy)),
        (
            "ALPN",
            explained.alpn.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        ("authentication", authentication(&explained.authentication)),
        ("backend", backend(&explained.backend)),
    ];
    Printed::labelled(rows.map(|(label, text)| (label.to_owned(), text)))
}

fn refused(explained: &api::Explanation) -> String {
    let reason = explained.reason.as_deref().unwrap_or("no reason is known");
    match &explained.alert {
        Some(alert) => format!("refused: {reason}\nthe client is told {alert}"),
        None => format!("refused: {reason}"),
    }
}

fn certificate(explained: &api::Explanation) -> String {
    let Some(certificate) = &explained.certificate else {
        return "none: it does not come to that".to_owned();
    };
    let why = match certificate.by.as_str() {
        "exact" => "it has the very name",
        "wildcard" => "it has a wildcard for the name, and none has the very name",
        _ => "the listener's default, for none has the name",
    };
    let key = match certificate.verifiable {
        true => "which the client can verify",
        false => "which the client cannot verify; there is none that it can",
    };
    let domains: Vec<_> = certificate.domains.iter().map(ToString::to_string).collect();
    format!(
        "{}: {why}\n{}, {key}\nfor {}, until {}\nSHA-256 {}",
        certificate.name,
        certificate.key,
        domains.join(", "),
        certificate.not_after,
        certificate.fingerprint
    )
}

fn policy(policy: &api::ExplainedPolicy) -> String {
    let agreed = [&policy.version, &policy.cipher_suite, &policy.group];
    let agreed: Vec<_> = agreed.into_iter().flatten().map(String::as_str).collect();
    match agreed.is_empty() {
        true => format!("{}: nothing is agreed on", policy.name),
        false => format!("{}: {}", policy.name, agreed.join(", ")),
    }
}

fn authentication(authentication: &api::ExplainedAuthentication) -> String {
    let bundle = authentication.client_ca.as_deref().unwrap_or_default();
    let Some(verdict) = &authentication.verdict else {
        return format!("{}: no certificate is asked for", authentication.mode);
    };
    let mut text = format!("{}, against `{bundle}`: {verdict}", authentication.mode);
    if let Some(subject) = &authentication.subject {
        text.push_str(&format!(" ({subject})"));
    }
    if let Some(detail) = &authentication.detail {
        text.push_str(&format!("\n{detail}"));
        if authentication.admitted {
            text.push_str("; let in all the same");
        }
    }
    text
}

fn backend(backend: &api::ExplainedBackend) -> String {
    let next = backend.next.as_deref().unwrap_or("no server");
    let mut text = format!("{}: next is {next}", backend.server_group);
    for server in backend.servers.iter().filter(|server| !server.up) {
        let error = server.error.as_deref().unwrap_or("it failed");
        text.push_str(&format!("\n{} rests after failures: {error}", server.address));
    }
    text
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
