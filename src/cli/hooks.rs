//! `certgate hook`: who is told what happens to certificates, and whether that works.

use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use super::arguments::{Form, OutputFormat};
use super::output::{Printed, Surplus};
use crate::admin::{Client, api};

#[derive(Debug, Subcommand)]
pub(super) enum HookCommand {
    /// List the hooks, what they are yet to be told, and what they were not told.
    #[command(after_help = "Example: certgate hook list\nExample: certgate hook list --output json")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Tell a hook that somebody tries it.
    ///
    /// Once and at once, with the event `test`; exits with 0 when it was told: the program ended with 0, or the answer
    /// was 2xx. After 50 seconds it is ended, whatever its own timeout.
    #[command(after_help = "Example: certgate hook test deploy")]
    Test {
        /// The hook.
        name: String,
    },
}

pub(super) async fn run(client: &Client, command: HookCommand) -> Result<ExitCode, Failure> {
    match command {
        HookCommand::List { form } => list(&client.hooks().await?, form.output),
        HookCommand::Test { name } => {
            let test = client.test_hook(&name).await?;
            if let Some(error) = test.error {
                return Err(format!("the hook `{name}` was not told: {error}").into());
            }
            Printed::text(format!(
                "the hook `{name}` was told, in {} ms\n",
                test.milliseconds
            ))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(hooks: &[api::Hook], format: OutputFormat) -> Result<ExitCode, Failure> {
    if format == OutputFormat::Json {
        Printed::json(&hooks)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = hooks.iter().map(|hook| {
        let given_up = hook.given_up.as_ref().map_or(0, |given_up| given_up.count);
        vec![
            hook.name.clone(),
            hook.target.clone(),
            hook.events.join(", "),
            hook.waiting.to_string(),
            given_up.to_string(),
        ]
    });
    Printed::table(
        &["HOOK", "TELLS", "EVENTS", "WAITING", "GIVEN UP"],
        rows,
        Surplus::Wrap,
    )?;
    let problems = hooks.iter().flat_map(|hook| {
        let given_up = hook.given_up.as_ref();
        let given_up = given_up.map(|last| {
            format!(
                "{} of `{}` at {}: {}",
                last.event, last.certificate, last.at, last.error
            )
        });
        let all = hook.error.clone().into_iter().chain(given_up);
        all.map(|problem| (hook.name.clone(), problem))
    });
    let problems: Vec<_> = problems.collect();
    if !problems.is_empty() {
        Printed::text("\n")?;
        Printed::labelled(problems)?;
    }
    Ok(ExitCode::SUCCESS)
}
