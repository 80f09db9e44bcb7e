//! `certgate audit`: who asked for which change.

use std::process::ExitCode;

use super::Failure;
use super::arguments::OutputFormat;
use super::output::{Printed, Surplus};
use crate::admin::Client;
use crate::admin::api::{AuditOutcome, AuditRecord};

pub(super) async fn audit(
    client: &Client,
    after: Option<u64>,
    limit: u16,
    format: OutputFormat,
) -> Result<ExitCode, Failure> {
    let records = client.audit(after, limit).await?;
    if format == OutputFormat::Json {
        Printed::json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["NUMBER", "AT", "WHO", "WHAT", "RESOURCE", "OUTCOME"];
    Printed::table(&header, records.iter().map(row), Surplus::Wrap)?;
    Ok(ExitCode::SUCCESS)
}

/// A refusal may show the lines of a file that it is about; a table has one for each record.
fn in_a_line(detail: &str) -> String {
    let words = detail.split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

fn row(record: &AuditRecord) -> Vec<String> {
    let outcome = match record.outcome {
        AuditOutcome::Begun => "begun",
        AuditOutcome::Done => "done",
        AuditOutcome::Failed => "failed",
        AuditOutcome::Refused => "refused",
    };
    let outcome = match &record.detail {
        Some(detail) => format!("{outcome}: {}", in_a_line(detail)),
        None => outcome.to_owned(),
    };
    vec![
        record.number.to_string(),
        record.at.to_string(),
        record.caller.name.clone(),
        record.action.clone(),
        record.resource.clone(),
        outcome,
    ]
}
