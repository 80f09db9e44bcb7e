//! `certgate plan`: what will be asked of which CA, and when.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::output::{Printed, Surplus, time_left};
use crate::admin::{Client, api};
use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::dns;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct PlanQuestion {
    /// How far to look, 1 to 366.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// Only this certificate, one step after the other.
    #[arg(long, value_name = "NAME")]
    certificate: Option<CertificateName>,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn plan(client: &Client, question: &PlanQuestion) -> Result<ExitCode, Failure> {
    let plan = client.plan(question.days, question.certificate.as_ref()).await?;
    if question.form.output == OutputFormat::Json {
        Printed::json(&plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    if plan.steps_in_all == 0 {
        Printed::text(format!("nothing is asked of any CA before {}\n", plan.until))?;
    } else if question.certificate.is_some() || plan.steps_in_all <= FEW {
        steps(&plan)?;
    } else {
        days(&plan)?;
    }
    issuers(&plan)?;
    limits(&plan)?;
    held_back(&plan)?;
    if !plan.warnings.is_empty() {
        Printed::text("\n")?;
        let warnings = plan.warnings.iter().cloned();
        Printed::labelled(warnings.map(|warning| ("WARNING:".to_owned(), warning)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn steps(plan: &api::Plan) -> Result<(), Failure> {
    let rows = plan.steps.iter().map(|step| {
        let left = match (&step.limit, step.left, step.allowed) {
            (Some(limit), Some(left), Some(allowed)) => format!("{left} of {allowed} {limit}"),
            _ => "-".to_owned(),
        };
        let waits = step
            .due_at
            .map_or("-".to_owned(), |due_at| time_left(due_at, step.at));
        vec![
            minute(step.at),
            time_left(plan.now, step.at),
            step.certificate.to_string(),
            step.issuer.clone(),
            step.order.clone(),
            step.reason.clone(),
            waits,
            left,
        ]
    });
    let header = [
        "AT",
        "IN",
        "CERTIFICATE",
        "ISSUER",
        "ORDER",
        "BECAUSE",
        "WAITS",
        "LEFT BEFORE",
    ];
    Printed::table(&header, rows, Surplus::Cut)?;
    let more = plan.steps_in_all - plan.steps.len();
    if more > 0 {
        Printed::text(format!("and {more} more\n"))?;
    }
    Ok(())
}

fn days(plan: &api::Plan) -> Result<(), Failure> {
    let rows = plan.days.iter().map(|day| {
        vec![
            day.day.to_string().chars().take("2026-11-21".len()).collect(),
            day.issuer.clone(),
            day.orders.to_string(),
            day.renewals.to_string(),
            day.waited.to_string(),
            day.busiest_hour_count.to_string(),
        ]
    });
    let header = ["DAY", "ISSUER", "NEW", "RENEWALS", "WAITED", "BUSIEST HOUR"];
    Printed::table(&header, rows, Surplus::Cut)
}

fn issuers(plan: &api::Plan) -> Result<(), Failure> {
    if plan.issuers.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    let rows = plan.issuers.iter().map(|issuer| {
        vec![
            issuer.issuer.clone(),
            issuer.orders.to_string(),
            issuer.renewals.to_string(),
            format!("{} at {}", issuer.busiest_hour_count, minute(issuer.busiest_hour)),
            issuer.all_begun_at.map_or("-".to_owned(), minute),
        ]
    });
    let header = ["ISSUER", "NEW", "RENEWALS", "BUSIEST HOUR", "LAST NEW ONE"];
    Printed::table(&header, rows, Surplus::Cut)
}

fn held_back(plan: &api::Plan) -> Result<(), Failure> {
    if plan.held_back.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    let shown = plan.held_back.iter().take(FEW).map(|held| {
        let remedy = match held.remedy.is_empty() {
            true => String::new(),
            false => format!("; to put it right: {}", dns::in_a_line(&held.remedy)),
        };
        let (certificate, at) = (&held.certificate, minute(held.at));
        let text = format!("`{certificate}` at {at}: {}{remedy}", held.reason);
        ("HELD BACK:".to_owned(), text)
    });
    Printed::labelled(shown)?;
    match plan.held_back_in_all.saturating_sub(FEW) {
        0 => Ok(()),
        more => Printed::text(format!("and {more} more\n")),
    }
}

fn limits(plan: &api::Plan) -> Result<(), Failure> {
    let limits = plan
        .issuers
        .iter()
        .flat_map(|issuer| issuer.rate_limits.iter().take(SHOWN_LIMITS));
    let rows: Vec<_> = limits
        .map(|limit| super::status::limit_row(limit, plan.now))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    Printed::text("\n")?;
    Printed::table(&super::status::LIMIT_HEADER, rows, Surplus::Cut)
}

/// To the minute: `2026-11-21 07:05`.
fn minute(at: Timestamp) -> String {
    let text: String = at.to_string().chars().take("2026-11-21T07:05".len()).collect();
    text.replace('T', " ")
}

/// So many are shown one by one.
const FEW: usize = 40;
const SHOWN_LIMITS: usize = 10;
