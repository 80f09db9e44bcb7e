//! The commands about the gateway's own CAs, and certificates of theirs for clients.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::ca_arguments::{CaCommand, Issue, Revoke};
use super::certificates::{read_pem, write_private};
use super::output::{Printed, Surplus, time_left};
use crate::admin::{Client, api};
use crate::certificate::{CredentialPem, Pkcs12Salts, PrivateKey};
use crate::clock::{Clock, SystemClock, Timestamp};

/// Does what `command` says at the gateway.
pub(super) async fn run(client: &Client, command: CaCommand) -> Result<ExitCode, Failure> {
    match command {
        CaCommand::Create { name } => {
            client.create_local_ca(&name).await?;
            Printed::text(format!(
                "the local CA `{name}` is there; `certgate ca export {name}` prints its root\n"
            ))?;
        }
        CaCommand::Crl { name, out } => {
            let crl = client.crl(&name).await?;
            match out {
                Some(file) => std::fs::write(&file, crl)
                    .map_err(|error| format!("cannot write {}: {error}", file.display()))?,
                None => Printed::text(crl)?,
            }
        }
        CaCommand::Export { name } => Printed::text(client.local_ca_root(&name).await?)?,
        CaCommand::Issue(issue) => return issued(client, &issue).await,
        CaCommand::List { form } => list(client.issuers().await?, form)?,
        CaCommand::Revoke(revoke) => return revoked(client, &revoke).await,
        CaCommand::Show { name, form } => {
            let issuer = client.issuer(&name).await?;
            let Some(local_ca) = &issuer.local_ca else {
                return Err(format!("issuer `{name}` is no local CA").into());
            };
            let mut certificates = client.client_certificates(&name).await?;
            certificates.sort_by_key(|certificate| certificate.issued_at);
            match form.output {
                OutputFormat::Json => {
                    Printed::json(&json!({ "issuer": issuer, "certificates": certificates }))?;
                }
                OutputFormat::Text => show(&name, local_ca, &certificates)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn issued(client: &Client, issue: &Issue) -> Result<ExitCode, Failure> {
    // Whatever can fail here does so before anything is signed.
    for file in issue.pem.iter().chain(&issue.pkcs12) {
        if file.symlink_metadata().is_ok() {
            return Err(format!("{} is there already; name a new file", file.display()).into());
        }
    }
    let password = match (&issue.pkcs12, &issue.password_file) {
        (None, _) => None,
        (Some(_), Some(file)) => Some(read_password(file)?),
        (Some(_), None) => Some(made_password()?),
    };
    let (key, csr_pem) = match &issue.csr {
        Some(file) => (None, read_pem(file)?.to_string()),
        None => {
            let key = PrivateKey::generate(issue.key_type)?;
            let request = key.to_request_pem()?;
            (Some(key), request)
        }
    };
    let request = api::ClientCertificateRequest {
        csr_pem,
        common_name: issue.common_name.clone(),
        dns: issue.dns.clone(),
        uri: issue.uri.clone(),
        email: issue.email.clone(),
        days: issue.days,
    };
    let issued = client.issue_client_certificate(&issue.name, &request).await?;
    let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).collect::<Result<_, _>>();
    let chain: Vec<_> = chain.map_err(|_| "the gateway's answer holds no certificate")?;
    let credential = key.map(|key| CredentialPem::new(chain, &key));
    if let Some(file) = &issue.pem {
        let text = match &credential {
            Some(credential) => credential.to_pem(),
            None => Zeroizing::new(issued.certificate_pem.clone()),
        };
        write_private(file, text.as_bytes())?;
    }
    if let (Some(file), Some(credential), Some(password)) = (&issue.pkcs12, &credential, &password) {
        let salts = Pkcs12Salts([random()?, random()?, random()?, random()?, random()?]);
        let document = credential.to_pkcs12(&issue.common_name, password, &salts)?;
        write_private(file, &document)?;
    }
    let made = password.filter(|_| issue.password_file.is_none());
    told(issue, &issued, made)?;
    Ok(ExitCode::SUCCESS)
}

fn told(
    issue: &Issue,
    issued: &api::IssuedClientCertificate,
    made: Option<Zeroizing<String>>,
) -> Result<(), Failure> {
    let certificate = &issued.certificate;
    let (serial, not_after) = (&certificate.serial, certificate.not_after);
    if issue.form.output == OutputFormat::Json {
        let mut answer = json!({ "certificate": certificate, "certificate_pem": issued.certificate_pem });
        if let Some(made) = made {
            answer["pkcs12_password"] = made.as_str().into();
        }
        return Printed::json(&answer);
    }
    if issue.pem.is_none() && issue.pkcs12.is_none() {
        // For another program, as it stands.
        return Printed::text(&issued.certificate_pem);
    }
    let mut rows = vec![
        ("common name", certificate.common_name.clone()),
        ("serial", serial.clone()),
        ("not after", not_after.to_string()),
    ];
    rows.extend(issue.pem.iter().map(|file| ("PEM", file.display().to_string())));
    rows.extend(
        issue
            .pkcs12
            .iter()
            .map(|file| ("PKCS#12", file.display().to_string())),
    );
    rows.extend(made.iter().map(|made| ("password", made.to_string())));
    Printed::labelled(rows.into_iter().map(|(label, text)| (label.to_owned(), text)))
}

async fn revoked(client: &Client, revoke: &Revoke) -> Result<ExitCode, Failure> {
    let serials = match (&revoke.serial, &revoke.common_name) {
        (Some(serial), _) => vec![serial.clone()],
        (None, wanted) => {
            let all = client.client_certificates(&revoke.name).await?.into_iter();
            let is_meant = |certificate: &api::ClientCertificate| {
                certificate.state == "valid" && Some(&certificate.common_name) == wanted.as_ref()
            };
            all.filter(is_meant)
                .map(|certificate| certificate.serial)
                .collect()
        }
    };
    if serials.is_empty() {
        let wanted = revoke.common_name.as_deref().unwrap_or_default();
        let name = &revoke.name;
        return Err(format!(
            "`{name}` has signed no certificate for `{wanted}` that is still good; `certgate ca show {name}` lists them"
        )
        .into());
    }
    let mut all = Vec::new();
    for serial in serials {
        let revoked = client.revoke_client_certificate(&revoke.name, &serial, revoke.reason);
        all.push(revoked.await?);
    }
    if revoke.form.output == OutputFormat::Json {
        Printed::json(&all)?;
    } else {
        for certificate in &all {
            let (name, serial) = (&certificate.common_name, &certificate.serial);
            let at = certificate.revoked_at.map(|at| format!(" at {at}"));
            let at = at.unwrap_or_default();
            Printed::text(format!("the certificate {serial} of `{name}` was revoked{at}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(issuers: Vec<api::Issuer>, form: Form) -> Result<(), Failure> {
    let local: Vec<_> = issuers
        .into_iter()
        .filter(|issuer| issuer.local_ca.is_some())
        .collect();
    if form.output == OutputFormat::Json {
        return Printed::json(&local);
    }
    let now = SystemClock.now();
    let row = |issuer: &api::Issuer| {
        let local_ca = issuer.local_ca.as_ref()?;
        let clients = local_ca.clients.as_ref();
        let count = |count: fn(&api::Clients) -> usize| {
            clients.map_or_else(|| "-".to_owned(), |clients| count(clients).to_string())
        };
        let left = local_ca.root_not_after.map(|end| time_left(now, end));
        Some(vec![
            issuer.name.clone(),
            local_ca.common_name.clone(),
            left.unwrap_or_else(|| "not made".to_owned()),
            count(|clients| clients.valid),
            count(|clients| clients.revoked),
            count(|clients| clients.expired),
            clients.map_or_else(|| "-".to_owned(), |clients| clients.crl_number.to_string()),
        ])
    };
    let header = [
        "CA",
        "COMMON NAME",
        "ROOT LEFT",
        "CLIENTS",
        "REVOKED",
        "EXPIRED",
        "CRL",
    ];
    Printed::table(&header, local.iter().filter_map(row), Surplus::Cut)
}

fn show(name: &str, local_ca: &api::LocalCa, certificates: &[api::ClientCertificate]) -> Result<(), Failure> {
    let now = SystemClock.now();
    let moment = |time: Timestamp| format!("{time} ({})", time_left(now, time));
    let clients = local_ca.clients.as_ref();
    let facts = [
        ("CA", Some(name.to_owned())),
        ("common name", Some(local_ca.common_name.clone())),
        ("of the next root", local_ca.next_common_name.clone()),
        (
            "root sha-256",
            Some(
                local_ca
                    .root_fingerprint
                    .clone()
                    .unwrap_or_else(|| "not made".to_owned()),
            ),
        ),
        ("root not after", local_ca.root_not_after.map(moment)),
        (
            "CRL number",
            clients.map(|clients| clients.crl_number.to_string()),
        ),
        (
            "CRL next update",
            clients.map(|clients| moment(clients.crl_next_update)),
        ),
        ("CRL at", clients.and_then(|clients| clients.crl_url.clone())),
    ];
    let facts = facts.into_iter();
    Printed::labelled(facts.filter_map(|(fact, value)| Some((fact.to_owned(), value?))))?;
    if certificates.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    let row = |certificate: &api::ClientCertificate| {
        let names = [&certificate.dns, &certificate.uri, &certificate.email];
        let names: Vec<_> = names.into_iter().flatten().map(String::as_str).collect();
        let state = match certificate.revocation_reason {
            Some(reason) => format!("revoked ({reason})"),
            None => certificate.state.clone(),
        };
        vec![
            certificate.serial.clone(),
            certificate.common_name.clone(),
            state,
            time_left(now, certificate.not_after),
            names.join(", "),
        ]
    };
    let header = ["SERIAL", "COMMON NAME", "STATE", "LEFT", "NAMES"];
    Printed::table(&header, certificates.iter().map(row), Surplus::Cut)
}

/// The first line of a file, or of standard input.
fn read_password(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let fail = |error: std::io::Error| format!("cannot read the password of {}: {error}", file.display());
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(file).map_err(fail)?;
        file.take(MAX_PASSWORD).read_to_string(&mut text)
    }
    .map_err(fail)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(format!(
            "the first line of {} is empty; a password is needed",
            file.display()
        )
        .into());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// 120 bits in letters and digits that nobody mistakes for one another.
fn made_password() -> Result<Zeroizing<String>, Failure> {
    let random: [u8; 24] = random()?;
    let digit = |octet: &u8| char::from(DIGITS[usize::from(octet % 32)]);
    Ok(Zeroizing::new(random.iter().map(digit).collect()))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| "there are no random numbers to be had")?;
    Ok(octets)
}

const DIGITS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
const MAX_PASSWORD: u64 = 4096;
