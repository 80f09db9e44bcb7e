//! `certgate policy preview`: what a policy would have made of the latest handshakes.

use std::process::ExitCode;

use crate::admin::{Client, api};
use crate::cli::Failure;
use crate::cli::arguments::{Form, OutputFormat};
use crate::cli::output::{Printed, Surplus};

pub(super) async fn preview(
    client: &Client,
    listener: &str,
    policy: &str,
    form: Form,
) -> Result<ExitCode, Failure> {
    let preview = client.preview(listener, policy).await?;
    match form.output {
        OutputFormat::Json => Printed::json(&preview)?,
        OutputFormat::Text => print(&preview)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(preview: &api::PolicyPreview) -> Result<(), Failure> {
    let Some(since) = preview.since else {
        return Printed::text(format!(
            "listener `{}` has seen no handshake since it began to serve: there is nothing to judge by\n",
            preview.listener
        ));
    };
    let (would_fail, all) = (preview.would_fail, preview.handshakes);
    Printed::text(format!(
        "Of the last {all} handshakes on listener `{}` (since {since}), {would_fail} would have failed with policy \
         `{}` ({}); with `{}`, which is in force, {} do.\n",
        preview.listener,
        preview.policy,
        percent(would_fail, all),
        preview.in_force,
        preview.fail_now
    ))?;
    if !preview.reasons.is_empty() {
        Printed::text("\n")?;
        let rows = preview.reasons.iter().map(|reason| {
            vec![
                reason.handshakes.to_string(),
                percent(reason.handshakes, all),
                (reason.handshakes - reason.fail_now).to_string(),
                reason.detail.clone(),
                reason.offers.first().map(offered).unwrap_or_default(),
            ]
        });
        let header = [
            "WOULD FAIL",
            "OF ALL",
            "THAT DO NOT NOW",
            "BECAUSE",
            "MOST OF THEM OFFERED",
        ];
        Printed::table(&header, rows, Surplus::Wrap)?;
    }
    let mut notes = String::new();
    for refused in &preview.regardless {
        notes.push_str(&format!(
            "{} more are refused whatever the policy is: {}\n",
            refused.handshakes, refused.name
        ));
    }
    if preview.unknown > 0 {
        notes.push_str(&format!(
            "nothing can be said of {}: there were more kinds of offers than are kept\n",
            preview.unknown
        ));
    }
    match notes.is_empty() {
        true => Ok(()),
        false => Printed::text(format!("\n{notes}")),
    }
}

/// In one cell: everything that a policy can refuse.
fn offered(offer: &api::OfferedTogether) -> String {
    let list = |names: &[String]| match names {
        [] => "-".to_owned(),
        names => names.join(", "),
    };
    [&offer.versions, &offer.cipher_suites, &offer.groups]
        .map(|names| list(names))
        .join("; ")
}

fn percent(part: u64, all: u64) -> String {
    match all {
        0 => "0.0 %".to_owned(),
        all => format!("{:.1} %", 100.0 * part as f64 / all as f64),
    }
}
