//! `certgate apply` and `certgate diff`: a running gateway and a file.

use std::path::Path;
use std::process::ExitCode;

use super::arguments::{Form, OutputFormat};
use super::output::Printed;
use super::resource_arguments::{ApplyFile, DiffFile};
use super::resources::{drift_text, value_text};
use super::{Failure, environment};
use crate::admin::{Client, api};
use crate::config::Files;

pub(super) async fn apply(client: &Client, apply: &ApplyFile) -> Result<ExitCode, Failure> {
    let request = request(&apply.config, apply.allow_downgrade, false)?;
    show(&client.apply(&request).await?, apply.form)
}

pub(super) async fn diff(client: &Client, diff: &DiffFile) -> Result<ExitCode, Failure> {
    let request = request(&diff.config, false, true)?;
    show(&client.apply(&request).await?, diff.form)
}

/// The files travel as texts: the gateway need not be able to read them.
fn request(path: &Path, allow_downgrade: bool, dry_run: bool) -> Result<api::ApplyRequest, Failure> {
    let path = std::path::absolute(path)?;
    let files = environment::with(|environment| Files::read(&path, environment))?;
    let text = |(path, text): (&str, &str)| api::FileText {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    Ok(api::ApplyRequest {
        files: files.texts().map(text).collect(),
        allow_downgrade,
        dry_run,
    })
}

fn show(report: &api::ApplyReport, form: Form) -> Result<ExitCode, Failure> {
    if form.output == OutputFormat::Json {
        Printed::json(report)?;
        return Ok(ExitCode::SUCCESS);
    }
    if report.changes.is_empty() {
        Printed::text("nothing to change\n")?;
    }
    for change in &report.changes {
        let api::TableChange { table, change, keys } = change;
        Printed::text(format!("{change} {table}\n"))?;
        for key in keys {
            let before = key.before.as_ref().map_or_else(absent, value_text);
            let after = key.after.as_ref().map_or_else(absent, value_text);
            Printed::text(format!(
                "  {}: {} -> {}\n",
                key.key,
                short(&before),
                short(&after)
            ))?;
        }
    }
    for drift in &report.drift {
        Printed::text(format!("stays: {}\n", drift_text(drift)))?;
    }
    for line in &report.loosened {
        Printed::text(format!("note: {line}\n"))?;
    }
    for line in &report.warnings {
        Printed::text(format!("warning: {line}\n"))?;
    }
    for downgrade in &report.downgrades {
        Printed::text(format!("needs --allow-downgrade: {downgrade}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn absent() -> String {
    "absent".to_owned()
}

/// A line's worth of a value.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.chars().nth(SHOWN).is_some() || line.len() < text.trim_end().len() {
        true => format!("{}…", line.chars().take(SHOWN).collect::<String>()),
        false => line.to_owned(),
    }
}

/// Characters.
const SHOWN: usize = 60;
