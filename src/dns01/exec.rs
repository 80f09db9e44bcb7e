//! A command that changes the zone, called as lego's `exec` provider calls it, so that scripts for that one work here:
//! `COMMAND present|cleanup OWNER. VALUE`, or raw `COMMAND present|cleanup -- DOMAIN TOKEN KEY-AUTHORIZATION`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::command::Group;
use crate::config::ExecConfig;
use crate::dns01::Dns01Error;
use crate::dns01::provider::Provider;
use crate::dns01::turn::Turns;
use crate::inventory::PlacedRecord;

/// The command.
pub(super) struct Exec {
    config: ExecConfig,
}

impl Exec {
    pub(super) fn new(config: &ExecConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    async fn run(&self, action: &'static str, record: &PlacedRecord) -> Result<(), Dns01Error> {
        let command = BTreeSet::from([self.config.command.display().to_string()]);
        let _turn = TURNS.take(command, Duration::ZERO).await;
        let failed = |reason: String| Dns01Error::Command {
            command: self.config.command.clone(),
            action,
            owner: record.owner.clone(),
            reason,
        };
        let mut command = Command::new(&self.config.command);
        command.arg(action);
        match self.config.raw {
            true => command
                .args(["--", record.domain.as_str(), &record.token])
                .arg(record.key_authorization.expose()),
            false => command.args([&format!("{}.", record.owner), &record.value]),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // All that it starts ends with it: what goes on could add a record after it was taken away.
        let group = Group::start(&mut command);
        let mut group = group.map_err(|error| failed(format!("did not start: {error}")))?;
        let (output, errors) = (group.child().stdout.take(), group.child().stderr.take());
        // What still writes is of the group as long as the command was not waited for.
        let ended = async {
            let (output, errors) = tokio::join!(tail(output), tail(errors));
            (output, errors, group.wait().await)
        };
        let Ok((output, errors, status)) = tokio::time::timeout(PATIENCE, ended).await else {
            group.end(GRACE).await;
            return Err(failed(format!("has not ended within {} s", PATIENCE.as_secs())));
        };
        tracing::debug!(
            action,
            owner = record.owner,
            output,
            errors,
            "the command of dns-01 has run"
        );
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let said = if errors.is_empty() { output } else { errors };
                let said = if said.is_empty() {
                    said
                } else {
                    format!(": {said}")
                };
                Err(failed(format!("ended with {status}{said}")))
            }
            Err(error) => Err(failed(format!("cannot be waited for: {error}"))),
        }
    }
}

#[async_trait]
impl Provider for Exec {
    async fn place(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        self.run("present", record).await
    }

    async fn remove(&self, record: &PlacedRecord) -> Result<(), Dns01Error> {
        self.run("cleanup", record).await
    }

    // What the command would do, only it knows.
    async fn rehearse(&self, record: &PlacedRecord, _is_wanted: bool) -> Result<String, Dns01Error> {
        let command = &self.config.command;
        let problem = match tokio::fs::metadata(command).await {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => None,
            Ok(_) => Some("is no executable file".to_owned()),
            Err(error) => Some(format!("would not start: {error}")),
        };
        match problem {
            None => Ok(format!(
                "which `{} present` would be called for",
                command.display()
            )),
            Some(reason) => Err(Dns01Error::Command {
                command: command.clone(),
                action: "present",
                owner: record.owner.clone(),
                reason,
            }),
        }
    }
}

/// The end of what is written, as one line of printable text.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else {
        return String::new();
    };
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
    let text = String::from_utf8_lossy(&kept);
    let words: Vec<_> = text.split(|c: char| c.is_control()).map(str::trim).collect();
    let lines: Vec<_> = words.into_iter().filter(|line| !line.is_empty()).collect();
    lines.join(" | ")
}

/// A command runs once at a time, as with lego: scripts that change a file expect that. Another one does not wait for it.
static TURNS: Turns = Turns::new();

/// For one call. Some commands wait for a provider's own servers.
const PATIENCE: Duration = Duration::from_secs(120);

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// Octets of its output that are kept.
const KEPT: usize = 500;
