//! `certgate listener` and `certgate ca-bundle`: what may be changed at run time.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::output::{Printed, Surplus};
use super::resource_arguments::{CaBundleCommand, ListenerCommand};
use super::status;
use crate::admin::{Client, api};
use crate::config::{ResourceId, ResourceKind, ResourceTable};

pub(super) async fn listener(client: &Client, command: ListenerCommand) -> Result<ExitCode, Failure> {
    match command {
        ListenerCommand::List { form } => {
            let listeners = client.resources(ResourceKind::Listener).await?;
            match form.output {
                OutputFormat::Json => Printed::json(&listeners)?,
                OutputFormat::Text => listener_table(&listeners)?,
            }
        }
        ListenerCommand::Show { name, form } => show_listener(client, &name, form).await?,
        ListenerCommand::Auth {
            name,
            mode,
            client_ca,
        } => {
            let mut keys = table(json!({ "authentication": mode }));
            if let Some(bundle) = client_ca {
                keys.insert("client_ca".to_owned(), Value::from(bundle));
            }
            let now = patch(client, &name, &keys).await?;
            let against = match (mode.as_str(), now.get("client_ca").and_then(Value::as_str)) {
                ("one-way", _) | (_, None) => String::new(),
                (_, Some(bundle)) => format!(", clients are checked against `{bundle}`"),
            };
            Printed::text(format!(
                "listener `{name}` is {mode}{against}, from the next handshake on\n"
            ))?;
        }
        ListenerCommand::Recheck {
            name,
            dry_run,
            per_second,
            form,
        } => {
            let report = client.recheck(&name, dry_run, per_second).await?;
            match form.output {
                OutputFormat::Json => Printed::json(&report)?,
                OutputFormat::Text => recheck_text(&name, &report, per_second)?,
            }
        }
        ListenerCommand::Enable {
            name,
            allow_downgrade,
        } => {
            switch(client, &name, true, allow_downgrade).await?;
            Printed::text(format!("listener `{name}` accepts connections\n"))?;
        }
        ListenerCommand::Disable {
            name,
            allow_downgrade,
        } => {
            switch(client, &name, false, allow_downgrade).await?;
            Printed::text(format!(
                "listener `{name}` accepts no more connections; open ones go on\n"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn ca_bundle(client: &Client, command: CaBundleCommand) -> Result<ExitCode, Failure> {
    match command {
        CaBundleCommand::List { form } => {
            let bundles = client.resources(ResourceKind::CaBundle).await?;
            if form.output == OutputFormat::Json {
                Printed::json(&bundles)?;
            } else {
                let listeners = client.resources(ResourceKind::Listener).await?;
                ca_bundle_table(&bundles, &listeners)?;
            }
        }
        CaBundleCommand::Add {
            name,
            files,
            crl,
            crl_url,
        } => {
            let (certificates, crls) = (joined(&files)?, joined(&crl)?);
            add(client, &name, &certificates, &crls, crl_url).await?;
        }
        CaBundleCommand::Show { name, form } => {
            let bundle = found(client, ResourceKind::CaBundle, &name).await?;
            let contents = client.ca_bundle_contents(&name).await?;
            match form.output {
                OutputFormat::Json => Printed::json(&json!({ "resource": bundle, "contents": contents }))?,
                OutputFormat::Text => {
                    shown(&bundle)?;
                    contents_tables(&contents)?;
                }
            }
        }
        CaBundleCommand::Delete { name } => {
            let id = ResourceId::new(ResourceKind::CaBundle, name.as_str());
            client.delete_resource(&id).await?;
            Printed::text(format!("CA bundle `{name}` is deleted\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn recheck_text(name: &str, report: &api::Recheck, per_second: u16) -> Result<(), Failure> {
    let api::Recheck {
        connections,
        no_longer_admitted,
        ..
    } = report;
    Printed::text(format!(
        "listener `{name}`: {connections} open connections, {no_longer_admitted} of them would not be let in now\n"
    ))?;
    if report.reasons.is_empty() {
        return Ok(());
    }
    let rows = report.reasons.iter().map(|reason| {
        let subjects = reason.subjects.join("; ");
        vec![reason.reason.clone(), reason.connections.to_string(), subjects]
    });
    Printed::table(&["REASON", "CONNECTIONS", "SUBJECTS"], rows, Surplus::Wrap)?;
    match report.closing {
        true => Printed::text(format!("they are being closed, {per_second} each second\n")),
        false => Printed::text("nothing was closed; without --dry-run they are\n"),
    }
}

/// What the files hold, one after the other.
fn joined(files: &[PathBuf]) -> Result<String, Failure> {
    let mut all = String::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {} as PEM: {error}", file.display()))?;
        if !text.contains("-----BEGIN ") {
            return Err(format!(
                "{} holds no block of PEM, so there is nothing to add",
                file.display()
            )
            .into());
        }
        all.push_str(text.trim_end());
        all.push('\n');
    }
    Ok(all)
}

async fn add(
    client: &Client,
    name: &str,
    certificates: &str,
    crls: &str,
    crl_urls: Vec<String>,
) -> Result<(), Failure> {
    let id = ResourceId::new(ResourceKind::CaBundle, name);
    let bundles = client.resources(ResourceKind::CaBundle).await?;
    let known = bundles.into_iter().find(|bundle| bundle.name == name);
    let mut keys = known.as_ref().map(|known| known.keys.clone()).unwrap_or_default();
    for (key, more) in [("certificates_pem", certificates), ("crls_pem", crls)] {
        let before = keys.get(key).and_then(Value::as_str).unwrap_or_default();
        let all = format!("{}\n{more}", before.trim_end());
        if !more.is_empty() {
            keys.insert(key.to_owned(), Value::from(all.trim_start()));
        }
    }
    if !crl_urls.is_empty() {
        let mut all = keys
            .get("crl_urls")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let new = crl_urls
            .into_iter()
            .map(Value::from)
            .filter(|url| !all.contains(url));
        all.extend(new.collect::<Vec<_>>());
        keys.insert("crl_urls".to_owned(), Value::from(all));
    }
    // What somebody else adds meanwhile must not be lost.
    match &known {
        Some(known) => client.put_resource(&id, &keys, Some(&known.etag)).await?,
        None => client.create_resource(&id, &keys).await?,
    };
    let what = if known.is_some() { "has more" } else { "is made" };
    Printed::text(format!("CA bundle `{name}` {what}\n"))
}

async fn patch(client: &Client, name: &str, keys: &ResourceTable) -> Result<ResourceTable, Failure> {
    let id = ResourceId::new(ResourceKind::Listener, name);
    Ok(client.patch_resource(&id, keys, None).await?)
}

/// Has a listener accept connections, or not.
async fn switch(
    client: &Client,
    name: &str,
    enabled: bool,
    allow_downgrade: bool,
) -> Result<ResourceTable, Failure> {
    let keys = table(json!({ "enabled": enabled }));
    if !allow_downgrade {
        return patch(client, name, &keys).await;
    }
    let id = ResourceId::new(ResourceKind::Listener, name);
    Ok(client.patch_allowing_downgrade(&id, &keys).await?)
}

/// What it says, and how it does.
async fn show_listener(client: &Client, name: &str, form: Form) -> Result<(), Failure> {
    let resource = found(client, ResourceKind::Listener, name).await?;
    let mut running = client.status().await?.listeners;
    running.retain(|listener| listener.name == name);
    if form.output == OutputFormat::Json {
        let mut all = serde_json::to_value(&resource)?;
        if let Some(fields) = all.as_object_mut() {
            fields.insert("status".to_owned(), serde_json::to_value(running.first())?);
        }
        return Printed::json(&all);
    }
    shown(&resource)?;
    for crl in running.iter().flat_map(|listener| &listener.fails_open) {
        let which = match (&crl.issuer, &crl.since) {
            (Some(issuer), Some(since)) => format!("the CRL of `{issuer}` is out of date since {since}"),
            _ => "a CRL could not be had yet".to_owned(),
        };
        Printed::text(format!(
            "\nfails open: in CA bundle `{}` {which}; clients that may have been revoked are let in\n",
            crl.ca_bundle
        ))?;
    }
    status::observed(&running)
}

async fn found(client: &Client, kind: ResourceKind, name: &str) -> Result<api::Resource, Failure> {
    let mut all = client.resources(kind).await?.into_iter();
    let found = all.find(|resource| resource.name == name);
    Ok(found.ok_or_else(|| format!("there is no {} `{name}`", kind.noun()))?)
}

fn shown(resource: &api::Resource) -> Result<(), Failure> {
    let keys = resource.keys.iter();
    Printed::labelled(keys.map(|(key, value)| (key.clone(), value_text(value))))?;
    match &resource.drift {
        Some(drift) => Printed::text(format!("\n{}\n", drift_text(drift))),
        None => Ok(()),
    }
}

fn contents_tables(contents: &api::CaBundleContents) -> Result<(), Failure> {
    let rows = contents.certificates.iter().map(|certificate| {
        let kind = if certificate.is_root {
            "root"
        } else {
            "intermediate"
        };
        vec![
            certificate.subject.clone(),
            kind.to_owned(),
            certificate.key.clone(),
            certificate.not_before.to_string(),
            certificate.not_after.to_string(),
            certificate.fingerprint.clone(),
        ]
    });
    let api::CaBundleVersion { version, digest } = &contents.version;
    Printed::text(format!("\nversion {version}, SHA-256 of all of it {digest}\n\n"))?;
    let header = ["CERTIFICATE", "KIND", "KEY", "VALID FROM", "UNTIL", "SHA-256"];
    Printed::table(&header, rows, Surplus::Wrap)?;
    let certificates = contents.skipped.iter().map(|skipped| {
        let place = format!("block {} of {}", skipped.block, skipped.file);
        vec![skipped.subject.clone(), place, format!("it {}", skipped.reason)]
    });
    let texts = contents.skipped_text.iter().map(|text| {
        let place = format!("line {} of {}", text.lines, text.file);
        vec![
            "text".to_owned(),
            place,
            "it stands outside the blocks".to_owned(),
        ]
    });
    let rows: Vec<_> = certificates.chain(texts).collect();
    if !rows.is_empty() {
        Printed::text("\n")?;
        Printed::table(&["SKIPPED", "WHERE", "WHY"], rows, Surplus::Wrap)?;
    }
    if contents.awaits_crl {
        Printed::text("\na CRL could not be had yet: until then clients are refused\n")?;
    }
    if contents.crls.is_empty() {
        return Ok(());
    }
    let rows = contents.crls.iter().map(|crl| {
        vec![
            crl.issuer.clone(),
            crl.entries.to_string(),
            crl.this_update.to_string(),
            crl.next_update.to_string(),
        ]
    });
    Printed::text("\n")?;
    Printed::table(&["CRL OF", "REVOKED", "MADE", "NEXT DUE"], rows, Surplus::Wrap)
}

/// A difference from the file, in a line.
pub(super) fn drift_text(drift: &api::Drift) -> String {
    let what = match drift.change.as_str() {
        "kept" => {
            return format!(
                "{}: kept, because the file asks for less authentication",
                drift.resource
            );
        }
        change => format!("{}: {change} at run time", drift.resource),
    };
    match (&drift.by, &drift.at) {
        (Some(by), Some(at)) => format!("{what}, by {by} at {at}"),
        _ => what,
    }
}

/// A value in a line: text without quotes, everything else as JSON.
pub(super) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn listener_table(listeners: &[api::Resource]) -> Result<(), Failure> {
    let rows = listeners.iter().map(|listener| {
        let text = |key, default: &str| {
            listener
                .keys
                .get(key)
                .map_or_else(|| default.to_owned(), value_text)
        };
        let plain = text("protocol", "tls") == "http";
        let of_tls = |key, default| if plain { "-".to_owned() } else { text(key, default) };
        vec![
            listener.name.clone(),
            text("port", "-"),
            text("enabled", "true"),
            of_tls("authentication", "one-way"),
            of_tls("client_ca", "-"),
            of_tls("policy", "intermediate"),
            listener
                .drift
                .as_ref()
                .map_or("-", |drift| &drift.change)
                .to_owned(),
        ]
    });
    let header = [
        "LISTENER",
        "PORT",
        "ENABLED",
        "AUTHENTICATION",
        "CLIENT CA",
        "POLICY",
        "DRIFT",
    ];
    Printed::table(&header, rows, Surplus::Cut)
}

fn ca_bundle_table(bundles: &[api::Resource], listeners: &[api::Resource]) -> Result<(), Failure> {
    let rows = bundles.iter().map(|bundle| {
        let issuer = bundle.keys.get("issuer").and_then(Value::as_str);
        let files = bundle
            .keys
            .get("files")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let contents = bundle.contents.as_ref();
        let of_contents =
            |shown: fn(&api::CaBundleSummary) -> String| contents.map_or_else(|| "-".to_owned(), shown);
        let users = listeners.iter().filter(|listener| {
            listener.keys.get("client_ca").and_then(Value::as_str) == Some(bundle.name.as_str())
        });
        let users: Vec<_> = users.map(|listener| listener.name.as_str()).collect();
        vec![
            bundle.name.clone(),
            issuer.unwrap_or("-").to_owned(),
            files.to_string(),
            of_contents(|contents| contents.certificates.to_string()),
            of_contents(|contents| contents.crls.to_string()),
            of_contents(|contents| contents.version.version.to_string()),
            of_contents(|contents| contents.version.digest.chars().take(SHORT_DIGEST).collect()),
            if users.is_empty() {
                "-".to_owned()
            } else {
                users.join(", ")
            },
            bundle
                .drift
                .as_ref()
                .map_or("-", |drift| &drift.change)
                .to_owned(),
        ]
    });
    let header = [
        "CA BUNDLE",
        "LOCAL CA",
        "FILES",
        "CERTIFICATES",
        "CRLS",
        "VERSION",
        "SHA-256",
        "LISTENERS",
        "DRIFT",
    ];
    Printed::table(&header, rows, Surplus::Cut)
}

/// Hex digits: enough to see a difference.
const SHORT_DIGEST: usize = 16;

fn table(value: Value) -> ResourceTable {
    match value {
        Value::Object(table) => table,
        _ => ResourceTable::new(),
    }
}
