//! `certgate cert`: the certificate store.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Failure;
use super::arguments::{CertCommand, Form, OutputFormat};
use super::output::{Printed, Surplus, time_left};
use super::progress::Progress;
use super::versions;
use crate::admin::{Client, api};
use crate::certificate::{CertificateName, RenewalWindow};
use crate::clock::{Clock, SystemClock, Timestamp};

pub(super) async fn run(client: &Client, command: CertCommand) -> Result<ExitCode, Failure> {
    match command {
        CertCommand::List { form } => {
            let certificates = client.certificates().await?;
            match form.output {
                OutputFormat::Json => Printed::json(&certificates)?,
                OutputFormat::Text => table(&certificates, SystemClock.now())?,
            }
        }
        CertCommand::Show { name, form } => show(&client.certificate(&name).await?, form)?,
        CertCommand::Request {
            name,
            domains,
            issuer,
            key_type,
            even_if,
            no_wait,
            form,
        } => {
            let request = api::CertificateRequest {
                domains,
                issuer,
                key_type,
                tags: Default::default(),
            };
            let mut progress = Progress::subscribe(client).await?;
            let mut certificate = match even_if {
                Some(objection) => client.request_even_if(&name, &request, objection).await?,
                None => client.request(&name, &request).await?,
            };
            // An attempt under way may have been for something else, so one result need not be the wanted one.
            while !no_wait && certificate.state != "valid" {
                if let Some(pause) = pause(&certificate) {
                    return Err(pause.into());
                }
                progress.wait_for(&name).await?;
                certificate = published(client, &name).await?;
            }
            show(&certificate, form)?;
        }
        CertCommand::Import {
            name,
            certificate,
            key,
            form,
        } => {
            let import = read_import(&certificate, key.as_deref())?;
            show(&client.import(&name, &import).await?, form)?;
        }
        CertCommand::Renew {
            name,
            even_if,
            no_wait,
            form,
        } => {
            let mut progress = Progress::subscribe(client).await?;
            match even_if {
                Some(objection) => client.renew_even_if(&name, objection).await?,
                None => client.renew(&name).await?,
            }
            if !no_wait {
                progress.wait_for(&name).await?;
            }
            show(&published(client, &name).await?, form)?;
        }
        CertCommand::Revoke { name, reason, form } => show(&client.revoke(&name, reason).await?, form)?,
        CertCommand::Versions(command) => versions::run(client, command).await?,
        CertCommand::Export { name, with_key, to } => {
            let exported = client.export(&name, with_key).await?;
            let key = exported.key_pem.unwrap_or_default();
            let text = Zeroizing::new(format!("{}{}", exported.certificate_pem, key.as_str()));
            match to {
                Some(path) => write_private(&path, text.as_bytes())?,
                None => Printed::text(&*text)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The certificate once it is served, which it is a moment after it was obtained; as it is if that takes longer.
async fn published(client: &Client, name: &CertificateName) -> Result<api::Certificate, Failure> {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..100 {
        looks.tick().await;
        let certificate = client.certificate(name).await?;
        let waits = certificate.spare_of.is_none() && certificate.stand_in.is_none();
        if certificate.published || certificate.state != "valid" || !waits {
            return Ok(certificate);
        }
    }
    Ok(client.certificate(name).await?)
}

/// The table of certificates, as `cert list` and `status` show it; what there is to say of one stands below.
pub(super) fn table(certificates: &[api::Certificate], now: Timestamp) -> Result<(), Failure> {
    let row = |certificate: &api::Certificate| {
        let span = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time_left(now, time));
        vec![
            certificate.name.to_string(),
            names(certificate),
            certificate.source.clone(),
            certificate.state.clone(),
            span(certificate.not_after),
            // What is due is tried as soon as there is a free hand.
            span(certificate.next_attempt.map(|next| next.max(now))),
        ]
    };
    let header = ["CERTIFICATE", "NAMES", "SOURCE", "STATE", "LEFT", "NEXT"];
    Printed::table(&header, certificates.iter().map(row), Surplus::Cut)?;
    let reasons: Vec<_> = certificates
        .iter()
        .flat_map(|certificate| {
            let stand_in = certificate.stand_in.as_ref().map(versions::served);
            let reasons = versions::revoked(certificate)
                .into_iter()
                .chain(stand_in)
                .chain(certificate.reason.clone());
            reasons.map(|reason| (certificate.name.to_string(), reason))
        })
        .collect();
    if !reasons.is_empty() {
        Printed::text("\n")?;
        Printed::labelled(reasons)?;
    }
    Ok(())
}

fn names(certificate: &api::Certificate) -> String {
    match certificate.domains.as_slice() {
        [] => "-".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

pub(super) fn show(certificate: &api::Certificate, form: Form) -> Result<(), Failure> {
    if form.output == OutputFormat::Json {
        return Printed::json(certificate);
    }
    let now = SystemClock.now();
    let domains: Vec<_> = certificate.domains.iter().map(ToString::to_string).collect();
    let moment = |time: Timestamp| format!("{time} ({})", time_left(now, time));
    let published = if certificate.published { "yes" } else { "no" };
    let in_dns: Vec<_> = certificate
        .dns
        .chunk_by(|one, next| (one.state, &one.reason) == (next.state, &next.reason))
        .map(in_dns)
        .collect();
    let facts = [
        ("certificate", Some(certificate.name.to_string())),
        ("names", Some(domains.join(", "))),
        ("source", Some(certificate.source.clone())),
        ("state", Some(certificate.state.clone())),
        ("reason", certificate.reason.clone()),
        (
            "next attempt",
            certificate.next_attempt.map(|next| moment(next.max(now))),
        ),
        (
            "CA suggests",
            certificate.suggested_window.as_ref().map(suggestion),
        ),
        ("issued by", certificate.issued_by.clone()),
        ("issuer", certificate.issuer.clone()),
        ("revoked", versions::revoked(certificate)),
        ("spare of", certificate.spare_of.as_ref().map(ToString::to_string)),
        ("spare", certificate.stand_in.as_ref().map(versions::served)),
        ("not before", certificate.not_before.map(|time| time.to_string())),
        ("not after", certificate.not_after.map(moment)),
        ("serial", certificate.serial.clone()),
        ("key", certificate.key.clone()),
        ("sha-256", certificate.fingerprint.clone()),
        ("published", Some(published.to_owned())),
        ("dns", (!in_dns.is_empty()).then(|| in_dns.join("; "))),
    ];
    Printed::labelled(
        facts
            .into_iter()
            .filter_map(|(fact, value)| Some((fact.to_owned(), value?))),
    )
}

/// When the CA wants a certificate to be renewed, and where it says why.
fn suggestion(window: &RenewalWindow) -> String {
    let RenewalWindow {
        start,
        end,
        explanation,
    } = window;
    let why = explanation
        .as_ref()
        .map_or_else(String::new, |page| format!("; see {page}"));
    format!("renewal between {start} and {end}{why}")
}

/// The state of names that are in the same, and what stands in their way.
fn in_dns(alike: &[api::DomainStatus]) -> String {
    let [first, rest @ ..] = alike else {
        return String::new();
    };
    let more = match rest.len() {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    match first.reason.is_empty() {
        true => format!("{}{more} {}", first.domain, first.state),
        false => format!("{}{more} {}: {}", first.domain, first.state, first.reason),
    }
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
    Ok(api::CertificateImport {
        certificate_pem: read_pem(certificate)?,
        key_pem: key.map(read_pem).transpose()?.unwrap_or_default(),
    })
}

pub(super) fn read_pem(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(fail)?;
    file.take(MAX_PEM + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_PEM {
        let path = path.display();
        return Err(format!(
            "{path} is larger than {MAX_PEM} bytes; name a file with a chain or a key in it, and nothing else"
        )
        .into());
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(format!(
            "{} is not PEM text; `openssl x509 -inform der` and `openssl pkey -inform der` make it of DER",
            path.display()
        )
        .into()),
    }
}

/// More than any chain and key have.
const MAX_PEM: u64 = 256 << 10;

/// Writes a new file that only its owner may read.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let fail = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    Ok(())
}

/// Whether `certificate` is the named one and is served.
pub(super) fn is_served(certificates: &[api::Certificate], name: &CertificateName) -> bool {
    certificates
        .iter()
        .any(|certificate| certificate.name == *name && certificate.published)
}
