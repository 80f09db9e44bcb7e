//! `certgate status` and `certgate dns check`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::Failure;
use super::arguments::OutputFormat;
use super::certificates;
use super::output::{Printed, Surplus, time_left};
use super::resources::drift_text;
use crate::admin::{Client, api};
use crate::clock::Timestamp;
use crate::name::NamePattern;

pub(super) async fn status(client: &Client, format: OutputFormat) -> Result<ExitCode, Failure> {
    let status = client.status().await?;
    if format == OutputFormat::Json {
        Printed::json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    let up = time_left(status.started_at, status.now);
    Printed::text(format!(
        "certgate {}, pid {}, up {up}\n\n",
        status.version, status.pid
    ))?;
    listeners(&status)?;
    observed(&status.listeners)?;
    on_demand(&status)?;
    if !status.certificates.is_empty() {
        Printed::text("\n")?;
        certificates::table(&status.certificates, status.now)?;
    }
    domains(&status)?;
    if !status.server_groups.is_empty() {
        Printed::text("\n")?;
        server_groups(&status)?;
    }
    if !status.rate_limits.is_empty() {
        Printed::text("\n")?;
        let rows = status
            .rate_limits
            .iter()
            .map(|limit| limit_row(limit, status.now));
        Printed::table(&LIMIT_HEADER, rows, Surplus::Cut)?;
    }
    if let Some(reload) = &status.last_reload {
        let outcome = match &reload.error {
            Some(error) => format!("refused, nothing was changed: {error}"),
            None => "applied".to_owned(),
        };
        Printed::text(format!("\nlast reload at {}: {outcome}\n", reload.at))?;
    }
    if !status.drift.is_empty() {
        Printed::text("\nnot as in the file:\n")?;
        let drift = status
            .drift
            .iter()
            .map(|drift| (String::new(), drift_text(drift)));
        Printed::labelled(drift)?;
    }
    if !status.warnings.is_empty() {
        Printed::text("\n")?;
        let warnings = status.warnings.iter().cloned();
        Printed::labelled(warnings.map(|warning| ("warning:".to_owned(), warning)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The columns of [`limit_row`].
pub(super) const LIMIT_HEADER: [&str; 4] = ["ISSUER", "RATE LIMIT", "LEFT", "NEXT"];

/// What is left of a CA's limit, as a row.
pub(super) fn limit_row(limit: &api::RateLimit, now: Timestamp) -> Vec<String> {
    let next = match limit.left {
        0 => time_left(now, limit.next_at),
        _ => "-".to_owned(),
    };
    vec![
        limit.issuer.clone(),
        limit.limit.clone(),
        format!("{} of {}", limit.left, limit.allowed),
        next,
    ]
}

/// Handshakes for names without a certificate, where these are obtained on demand.
fn on_demand(status: &api::Status) -> Result<(), Failure> {
    let rows: Vec<_> = status
        .listeners
        .iter()
        .filter_map(|listener| Some((listener, listener.on_demand.as_ref()?)))
        .map(|(listener, on_demand)| {
            let refused = on_demand.refused.iter();
            let refused: Vec<_> = refused
                .map(|(reason, count)| format!("{reason} {count}"))
                .collect();
            vec![
                listener.name.clone(),
                on_demand.obtained.to_string(),
                on_demand.pending.to_string(),
                on_demand.waiting.to_string(),
                match refused.is_empty() {
                    true => "-".to_owned(),
                    false => refused.join(", "),
                },
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    let header = ["ON DEMAND AT", "OBTAINED", "PENDING", "WAITING", "REFUSED"];
    Printed::table(&header, rows, Surplus::Wrap)?;
    refused_names(status)
}

/// Whose handshakes those were, and what was found of their names.
fn refused_names(status: &api::Status) -> Result<(), Failure> {
    let latest = status.listeners.iter().flat_map(|listener| {
        let on_demand = listener.on_demand.iter();
        let latest = on_demand.flat_map(|on_demand| &on_demand.latest_refused);
        latest.map(|refused| (listener.name.clone(), refused))
    });
    let rows: Vec<_> = latest
        .map(|(listener, refused)| {
            vec![
                listener,
                refused.reason.clone(),
                refused.domain.to_string(),
                time_left(refused.at, status.now),
                refused.detail.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    let header = ["REFUSED AT", "FOR", "LATEST NAME", "AGO", "BECAUSE"];
    Printed::table(&header, rows, Surplus::Wrap)
}

/// Who would be refused by listeners that only observe, and since when they do.
pub(super) fn observed(listeners: &[api::Listener]) -> Result<(), Failure> {
    let since = listeners.iter().filter_map(|listener| {
        let since = listener.observed_since.as_ref()?;
        let rules = match &listener.observed_by_other_rules_until {
            Some(at) => format!("; what they are checked against was something else until {at}"),
            None => String::new(),
        };
        let found = match listener.would_refuse.is_empty() {
            true => ": nobody would have been refused",
            false => "",
        };
        let name = &listener.name;
        Some(format!(
            "listener `{name}` observes its clients since {since}{found}{rules}\n"
        ))
    });
    let since: String = since.collect();
    if !since.is_empty() {
        Printed::text(format!("\n{since}"))?;
    }
    let rows: Vec<_> = listeners
        .iter()
        .flat_map(|listener| {
            listener.would_refuse.iter().map(|client| {
                vec![
                    listener.name.clone(),
                    client.reason.clone(),
                    client.count.to_string(),
                    client.source.to_string(),
                    client.subject.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    let header = ["OBSERVED BY", "WOULD BE REFUSED FOR", "TIMES", "FROM", "SUBJECT"];
    Printed::table(&header, rows, Surplus::Wrap)
}

pub(super) async fn dns_check(
    client: &Client,
    names: Vec<NamePattern>,
    issuer: Option<String>,
    format: OutputFormat,
) -> Result<ExitCode, Failure> {
    let names = match names.is_empty() {
        true => wanted_names(client).await?,
        false => names,
    };
    let mut checks = Vec::new();
    for names in names.chunks(api::DnsCheckRequest::MOST) {
        let (names, issuer) = (names.to_vec(), issuer.clone());
        let request = api::DnsCheckRequest { names, issuer };
        checks.extend(client.dns_check(&request).await?);
    }
    if format == OutputFormat::Json {
        Printed::json(&checks)?;
    } else {
        let rows = checks.iter().flat_map(|check| &check.rows).map(|row| {
            vec![
                row.owner.clone(),
                row.record.to_string(),
                row.found.clone(),
                row.expected.clone(),
                row.state.to_string(),
                row.said_by.join(", "),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let mut gap = "";
        // Of what is not in DNS there are none.
        if !rows.is_empty() {
            let header = ["NAME", "TYPE", "FOUND", "EXPECTED", "STATE", "SAID BY"];
            Printed::table(&header, rows, Surplus::Wrap)?;
            gap = "\n";
        }
        for check in &checks {
            let text = check.to_string();
            let (verdict, because) = text.split_once('\n').unwrap_or((&text, ""));
            Printed::text(format!("{gap}{verdict}\n"))?;
            gap = "\n";
            let because = because.lines().map(str::trim_start);
            Printed::labelled(because.map(|line| (String::new(), line.to_owned())))?;
        }
    }
    let refused = checks.iter().any(|check| !check.verdict.allows_order());
    Ok(if refused {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The names of every certificate that the gateway obtains.
async fn wanted_names(client: &Client) -> Result<Vec<NamePattern>, Failure> {
    let certificates = client.certificates().await?;
    let is_wanted =
        |certificate: &&api::Certificate| !["files", "import"].contains(&certificate.source.as_str());
    let wanted = certificates.iter().filter(is_wanted);
    let names: BTreeSet<_> = wanted.flat_map(|certificate| &certificate.domains).collect();
    Ok(names.into_iter().cloned().collect())
}

fn listeners(status: &api::Status) -> Result<(), Failure> {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows = status.listeners.iter().map(|listener| {
        vec![
            listener.name.clone(),
            match listener.enabled {
                true => listener.address.clone(),
                false => format!("{} (disabled)", listener.address),
            },
            listener.protocol.clone(),
            match listener.fails_open.is_empty() {
                true => or_dash(&listener.authentication),
                false => format!("{}, fails open", or_dash(&listener.authentication)),
            },
            or_dash(&listener.policy),
            or_dash(&listener.server_group),
            listener.connections.to_string(),
        ]
    });
    Printed::table(
        &[
            "LISTENER",
            "ADDRESS",
            "PROTOCOL",
            "AUTHENTICATION",
            "POLICY",
            "SERVERS",
            "OPEN",
        ],
        rows,
        Surplus::Cut,
    )
}

/// The names that are not as they should be: those with a certificate and nothing against the next one are left out.
fn domains(status: &api::Status) -> Result<(), Failure> {
    let all = status.certificates.iter().flat_map(|certificate| {
        let names = certificate.dns.iter();
        names.map(move |name| (certificate, name))
    });
    let rows: Vec<_> = all
        .filter(|(_, name)| name.state != api::DomainState::Issued)
        .map(|(certificate, name)| {
            vec![
                name.domain.to_string(),
                certificate.name.to_string(),
                name.state.to_string(),
                time_left(name.checked_at, status.now),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    Printed::table(&["DOMAIN", "CERTIFICATE", "STATE", "SEEN"], rows, Surplus::Cut)
}

fn server_groups(status: &api::Status) -> Result<(), Failure> {
    let rows = status.server_groups.iter().flat_map(|group| {
        group.servers.iter().map(|server| {
            let state = if server.up { "up" } else { "down" };
            vec![group.name.clone(), server.address.clone(), state.to_owned()]
        })
    });
    Printed::table(&["SERVERS", "ADDRESS", "STATE"], rows, Surplus::Cut)?;
    let errors: Vec<_> = status
        .server_groups
        .iter()
        .flat_map(|group| &group.servers)
        .filter_map(|server| Some((server.address.clone(), server.error.clone()?)))
        .collect();
    if !errors.is_empty() {
        Printed::text("\n")?;
        Printed::labelled(errors)?;
    }
    Ok(())
}
