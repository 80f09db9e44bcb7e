//! `certgate issuer`: accounts at CAs.

use std::process::ExitCode;

use super::Failure;
use super::arguments::{IssuerCommand, OutputFormat};
use super::output::{Printed, Surplus};
use crate::admin::Client;

pub(super) async fn run(client: &Client, command: IssuerCommand) -> Result<ExitCode, Failure> {
    match command {
        IssuerCommand::List { form } => {
            let issuers = client.issuers().await?;
            if form.output == OutputFormat::Json {
                Printed::json(&issuers)?;
                return Ok(ExitCode::SUCCESS);
            }
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let rows = issuers.into_iter().map(|issuer| {
                vec![
                    issuer.name,
                    issuer.kind,
                    or_dash(issuer.directory),
                    or_dash(issuer.account.map(|account| account.url)),
                ]
            });
            Printed::table(&["ISSUER", "KIND", "DIRECTORY", "ACCOUNT"], rows, Surplus::Wrap)?;
        }
        IssuerCommand::Rollover { name } => {
            client.roll_over(&name).await?;
            Printed::text(format!("the account of issuer `{name}` has a new key\n"))?;
        }
        IssuerCommand::Deactivate { name } => {
            client.deactivate(&name).await?;
            Printed::text(format!(
                "the account of issuer `{name}` has ended; the next order registers another\n"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
