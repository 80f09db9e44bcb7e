//! Programs of the operator: started without a shell, with a clean environment and a process group of their own, and
//! ended when their time is over.
//!
//! A program gets what it has to know as a document on its standard input and as a few variables, and nothing else of
//! this process: no secret that stands in the gateway's environment comes to it.

mod group;
mod output;

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::time::{Instant, timeout_at};

pub(crate) use crate::command::group::Group;
use crate::command::output::Output;

/// A program and its arguments, as they are handed to the system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Argv {
    program: String,
    arguments: Vec<String>,
}

/// Why a program has not done what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It has ended, and says that it failed.
    #[error("{program} ended with {status}{}", said(output))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        output: String,
    },
    /// It cannot be started.
    #[error("cannot start {program}")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long, and was ended.
    #[error("{program} was not done after {} s, and was ended{}", allowed.as_secs_f64(), said(output))]
    TooLong {
        /// The program.
        program: String,
        /// How long it may take.
        allowed: Duration,
        /// The end of what it wrote.
        output: String,
    },
    /// What becomes of it cannot be told.
    #[error("cannot wait for {program}")]
    Unknown {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Argv {
    /// The first of `words` and the others; `None` where there is no first, or a word that no program can be given.
    pub fn new(words: Vec<String>) -> Option<Self> {
        if words.iter().any(|word| word.contains('\0')) {
            return None;
        }
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty())?;
        Some(Self {
            program,
            arguments: words.collect(),
        })
    }

    /// The program, as it is looked for.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Runs it with `input` on its standard input and with `variables`, for `allowed` at most: then its process group is
    /// asked to end (SIGTERM), and soon after made to (SIGKILL). The end of what it wrote, for the log. Whoever drops
    /// this future ends the program.
    ///
    /// # Errors
    /// [`CommandError`]: anything but an exit status of zero in time.
    pub async fn run(
        &self,
        input: &[u8],
        variables: &[(&'static str, String)],
        allowed: Duration,
    ) -> Result<String, CommandError> {
        let program = || self.program.clone();
        let deadline = Instant::now() + allowed;
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir("/")
            .env_clear()
            .envs(inherited())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group = Group::start(&mut command).map_err(|source| CommandError::NotStarted {
            program: program(),
            source,
        })?;
        let mut output = Output::of(group.child());
        let stdin = group.child().stdin.take();
        // A pipe that the program does not read fills up; so it is written beside the wait, and not before it.
        let (waited, ()) = tokio::join!(
            async {
                let waited = output.beside(timeout_at(deadline, group.wait())).await;
                match waited {
                    Ok(status) => Ok(status),
                    Err(_) => {
                        output.beside(group.end(GRACE)).await;
                        Err(())
                    }
                }
            },
            feed(stdin, input, deadline),
        );
        let output = output.end().await;
        match waited {
            Ok(Ok(status)) if status.success() => Ok(output),
            Ok(Ok(status)) => Err(CommandError::Failed {
                program: program(),
                status,
                output,
            }),
            Ok(Err(source)) => Err(CommandError::Unknown {
                program: program(),
                source,
            }),
            Err(()) => Err(CommandError::TooLong {
                program: program(),
                allowed,
                output,
            }),
        }
    }
}

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {argument}"))
    }
}

/// Hands over what the program is to read. One that does not want to know is not wrong.
async fn feed(stdin: Option<ChildStdin>, input: &[u8], deadline: Instant) {
    if let Some(mut stdin) = stdin {
        // A program that has ended, or never reads, shows in how it ended.
        let _ = timeout_at(deadline, stdin.write_all(input)).await;
    }
}

/// What programs need to find others and to write in the operator's language and time zone.
fn inherited() -> impl Iterator<Item = (&'static str, String)> {
    let known = |name| std::env::var(name).ok().map(|value| (name, value));
    let path = std::env::var("PATH").unwrap_or_else(|_| USUAL_PATH.to_owned());
    ["HOME", "LANG", "LC_ALL", "TZ"]
        .into_iter()
        .filter_map(known)
        .chain([("PATH", path)])
}

fn said(output: &str) -> String {
    match output.trim_end() {
        "" => String::new(),
        output => format!(", and wrote: {}", output.replace('\n', " | ")),
    }
}

const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
