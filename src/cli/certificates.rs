//! `certgate cert`: the certificate store.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::Failure;
use super::arguments::{CertCommand, OutputFormat};
use super::output::{Printed, time_left};
use super::progress::Progress;
use crate::admin::{Client, api};
use crate::certificate::CertificateName;
use crate::clock::{Clock, SystemClock, Timestamp};

pub(super) async fn run(
    client: &Client,
    command: CertCommand,
    format: OutputFormat,
) -> Result<ExitCode, Failure> {
    match command {
        CertCommand::List => {
            let certificates = client.certificates().await?;
            match format {
                OutputFormat::Json => Printed::json(&certificates)?,
                OutputFormat::Text => table(&certificates, SystemClock.now())?,
            }
        }
        CertCommand::Show { name } => show(&client.certificate(&name).await?, format)?,
        CertCommand::Request {
            name,
            domains,
            issuer,
            key_type,
            no_wait,
        } => {
            let request = api::CertificateRequest {
                domains,
                issuer,
                key_type,
                tags: Default::default(),
            };
            let mut progress = Progress::subscribe(client).await?;
            let mut certificate = client.request(&name, &request).await?;
            // An attempt under way may have been for something else, so one result need not be the wanted one.
            while !no_wait && certificate.state != "valid" {
                if let Some(pause) = pause(&certificate) {
                    return Err(pause.into());
                }
                progress.wait_for(&name).await?;
                certificate = client.certificate(&name).await?;
            }
            show(&certificate, format)?;
        }
        CertCommand::Import {
            name,
            certificate,
            key,
        } => {
            let import = read_import(&certificate, key.as_deref())?;
            show(&client.import(&name, &import).await?, format)?;
        }
        CertCommand::Renew { name, no_wait } => {
            let mut progress = Progress::subscribe(client).await?;
            client.renew(&name).await?;
            if !no_wait {
                progress.wait_for(&name).await?;
            }
            show(&client.certificate(&name).await?, format)?;
        }
        CertCommand::Export { name, with_key, to } => {
            let exported = client.export(&name, with_key).await?;
            let key = exported.key_pem.unwrap_or_default();
            let text = Zeroizing::new(format!("{}{key}", exported.certificate_pem));
            match to {
                Some(path) => write_private(&path, &text)?,
                None => Printed::text(&*text)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The table of certificates, as `cert list` and `status` show it.
pub(super) fn table(certificates: &[api::Certificate], now: Timestamp) -> Result<(), Failure> {
    let row = |certificate: &api::Certificate| {
        let left = certificate
            .not_after
            .map_or_else(|| "-".to_owned(), |end| time_left(now, end));
        let next = certificate
            .next_attempt
            .map_or_else(|| "-".to_owned(), |next| time_left(now, next));
        vec![
            certificate.name.to_string(),
            names(certificate),
            certificate.source.clone(),
            certificate.state.clone(),
            left,
            next,
            certificate.reason.clone().unwrap_or_default(),
        ]
    };
    let header = [
        "CERTIFICATE",
        "NAMES",
        "SOURCE",
        "STATE",
        "LEFT",
        "NEXT",
        "REASON",
    ];
    Printed::table(&header, certificates.iter().map(row))
}

fn names(certificate: &api::Certificate) -> String {
    match certificate.domains.as_slice() {
        [] => "-".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

fn show(certificate: &api::Certificate, format: OutputFormat) -> Result<(), Failure> {
    if format == OutputFormat::Json {
        return Printed::json(certificate);
    }
    let now = SystemClock.now();
    let domains: Vec<_> = certificate.domains.iter().map(ToString::to_string).collect();
    let moment = |time: Option<Timestamp>| time.map(|time| format!("{time} ({})", time_left(now, time)));
    let published = if certificate.published { "yes" } else { "no" };
    let facts = [
        ("certificate", Some(certificate.name.to_string())),
        ("names", Some(domains.join(", "))),
        ("source", Some(certificate.source.clone())),
        ("state", Some(certificate.state.clone())),
        ("reason", certificate.reason.clone()),
        ("next attempt", moment(certificate.next_attempt)),
        ("issued by", certificate.issued_by.clone()),
        ("not before", certificate.not_before.map(|time| time.to_string())),
        ("not after", moment(certificate.not_after)),
        ("serial", certificate.serial.clone()),
        ("key", certificate.key.clone()),
        ("sha-256", certificate.fingerprint.clone()),
        ("published", Some(published.to_owned())),
    ];
    let lines = facts
        .into_iter()
        .filter_map(|(fact, value)| Some(format!("{fact:<13} {}\n", value?)));
    Printed::text(lines.collect::<String>())
}

/// Why nothing is done about `certificate` for now, and when that ends.
fn pause(certificate: &api::Certificate) -> Option<String> {
    let next = certificate.next_attempt?;
    let name = &certificate.name;
    match certificate.state.as_str() {
        "backing-off" | "blocked" | "stopped" => Some(format!(
            "certificate `{name}`: {}; tried again at {next}, or at once by `certgate cert renew {name}`",
            certificate.reason.as_deref().unwrap_or("the last attempt failed")
        )),
        _ => None,
    }
}

fn read_import(certificate: &Path, key: Option<&Path>) -> Result<api::CertificateImport, Failure> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let certificate_pem = read(certificate)?;
    let key_pem = key.map(read).transpose()?.unwrap_or_default();
    Ok(api::CertificateImport {
        certificate_pem,
        key_pem,
    })
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    Ok(())
}

/// Whether `certificate` is the named one and is served.
pub(super) fn is_served(certificates: &[api::Certificate], name: &CertificateName) -> bool {
    certificates
        .iter()
        .any(|certificate| certificate.name == *name && certificate.published)
}
