//! Progress while a certificate is being obtained: a spinner on a terminal, lines elsewhere; on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use crate::admin::{Client, Events};
use crate::certificate::CertificateName;

/// The steps of one certificate, shown as they happen.
pub(super) struct Progress {
    events: Events,
    spinner: Option<ProgressBar>,
}

impl Progress {
    /// Begins to listen; call it before asking for what it is to show.
    pub(super) async fn subscribe(client: &Client) -> Result<Self, Failure> {
        let events = client.events().await?;
        let spinner = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner().with_style(style);
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        Ok(Self { events, spinner })
    }

    /// Shows what happens to `name` until it is obtained, or has failed for now.
    pub(super) async fn wait_for(&mut self, name: &CertificateName) -> Result<(), Failure> {
        while let Some(event) = self.events.next().await {
            if event.certificate != *name {
                continue;
            }
            match event.kind.as_str() {
                "obtained" | "renewed" => {
                    self.finish();
                    return Ok(());
                }
                "blocked" | "failed" => {
                    self.finish();
                    return Err(format!("certificate `{name}`: {}", event.detail).into());
                }
                _ => self.show(&format!("{name}: {}", event.detail)),
            }
        }
        self.finish();
        Err(format!("the gateway went away while certificate `{name}` was being obtained; it goes on after its restart").into())
    }

    fn show(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(line.to_owned()),
            // What is waited for comes whether anybody reads this or not.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
