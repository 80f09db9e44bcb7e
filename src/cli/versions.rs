//! `certgate cert activate`, `history`, `rollback` and `delete`: what is served of a certificate, and what there was.

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::certificates::show;
use super::output::{Printed, Surplus, time_left};
use super::version_arguments::VersionCommand;
use crate::admin::{Client, api};
use crate::certificate::CertificateName;
use crate::clock::{Clock, SystemClock};

pub(super) async fn run(client: &Client, command: VersionCommand) -> Result<(), Failure> {
    match command {
        VersionCommand::Activate {
            name, spare, form, ..
        } => {
            let serve = match spare {
                true => api::Served::Spare,
                false => api::Served::Primary,
            };
            show(&client.activate(&name, serve).await?, form)
        }
        VersionCommand::Delete { name } => Ok(client.delete_certificate(&name).await?),
        VersionCommand::History { name, form } => history(client, &name, form).await,
        VersionCommand::Rollback { name, form } => show(&client.roll_back(&name).await?, form),
    }
}

async fn history(client: &Client, name: &CertificateName, form: Form) -> Result<(), Failure> {
    let versions = client.history(name).await?;
    if form.output == OutputFormat::Json {
        return Printed::json(&versions);
    }
    let now = SystemClock.now();
    let rows = versions.iter().map(|version| {
        vec![
            state(version),
            version.issuer.clone(),
            version.serial.clone(),
            version.obtained_at.to_string(),
            time_left(now, version.not_after),
        ]
    });
    let header = ["STATE", "ISSUER", "SERIAL", "OBTAINED", "LEFT"];
    Printed::table(&header, rows, Surplus::Cut)
}

fn state(version: &api::CertificateVersion) -> String {
    match version.revoked {
        Some(reason) => format!("{}, revoked ({reason})", version.state),
        None => version.state.clone(),
    }
}

/// That the certificate there is has been revoked, and what follows.
pub(super) fn revoked(certificate: &api::Certificate) -> Option<String> {
    let reason = certificate.revoked?;
    Some(match certificate.published {
        true => format!("revoked ({reason}), and served until there is another"),
        false => format!("revoked ({reason}); another is obtained"),
    })
}

/// That the spare is served, since when and why.
pub(super) fn served(stand_in: &api::StandIn) -> String {
    let api::StandIn {
        since,
        by_operator,
        reason,
    } = stand_in;
    match by_operator {
        true => format!("served from its spare, since {since}, as an operator has asked for"),
        false => format!("served from its spare, since {since}: {reason}"),
    }
}
