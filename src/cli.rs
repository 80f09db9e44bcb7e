//! The command line: one declaration, one function for each command, exit codes with a meaning.

mod apply;
mod arguments;
mod audit;
mod ca;
mod ca_arguments;
mod certificates;
mod completion;
mod demo;
mod environment;
mod explain;
mod hooks;
mod issuers;
mod log;
mod open_files;
mod output;
mod plan;
mod policy;
mod probe;
mod progress;
mod quick;
mod resource_arguments;
mod resources;
mod run;
mod status;
mod test_listener;
mod version_arguments;
mod versions;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use self::arguments::{Arguments, Command, DnsCommand};
use crate::cause::with_causes;
use crate::config::{Diagnostics, Severity};

/// Reads the arguments of this process, does what they say, and gives the exit code: 0 done, 1 refused or failed
/// with a message on standard error, 2 wrong usage.
pub fn main() -> ExitCode {
    // Third parties build TLS configurations without naming a provider; there is one answer.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(code) => code,
        // Whoever reads the output has seen enough, as in `certgate cert list | head`.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let told = match error.downcast_ref::<Diagnostics>() {
                Some(problems) => tell_problems(problems),
                None => writeln!(io::stderr(), "certgate: {}", with_causes(&*error)),
            };
            // Nobody reads it, then; the exit code remains.
            drop(told);
            ExitCode::FAILURE
        }
    }
}

fn tell_problems(problems: &Diagnostics) -> io::Result<()> {
    let counted = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let errors = counted(problems.count(Severity::Error), "error");
    let warnings = match problems.count(Severity::Warning) {
        0 => String::new(),
        count => format!(" and {}", counted(count, "warning")),
    };
    let text = problems.render(io::stderr().is_terminal());
    writeln!(
        io::stderr(),
        "{text}\n\ncertgate: the configuration has {errors}{warnings}"
    )
}

/// Any error on its way to the operator.
type Failure = Box<dyn Error + Send + Sync>;

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Check(check) => run::check(&check.config),
        Command::Completions { shell } => completion::completions(shell),
        Command::Demo(demo) => demo::demo(&demo),
        Command::Man => completion::man(),
        Command::Quick(quick) => quick::quick(&quick),
        Command::Run(run) => run::run(&run.config),
        Command::Schema => run::schema(),
        Command::Audit {
            after,
            limit,
            form,
            gateway,
        } => gateway.block_on(async |client| audit::audit(&client, after, limit, form.output).await),
        Command::Ca { command, gateway } => gateway.block_on(async |client| ca::run(&client, command).await),
        Command::Apply { apply, gateway } => {
            gateway.block_on(async |client| apply::apply(&client, &apply).await)
        }
        Command::CaBundle { command, gateway } => {
            gateway.block_on(async |client| resources::ca_bundle(&client, command).await)
        }
        Command::Diff { diff, gateway } => gateway.block_on(async |client| apply::diff(&client, &diff).await),
        Command::Explain { asked, gateway } => {
            gateway.block_on(async |client| explain::explain(&client, &asked).await)
        }
        Command::Listener { command, gateway } => {
            gateway.block_on(async |client| resources::listener(&client, command).await)
        }
        Command::Cert { command, gateway } => {
            gateway.block_on(async |client| certificates::run(&client, command).await)
        }
        Command::Issuer { command, gateway } => {
            gateway.block_on(async |client| issuers::run(&client, command).await)
        }
        Command::Dns { command, gateway } => {
            let DnsCommand::Check { names, issuer, form } = command;
            gateway.block_on(async |client| status::dns_check(&client, names, issuer, form.output).await)
        }
        Command::Hook { command, gateway } => {
            gateway.block_on(async |client| hooks::run(&client, command).await)
        }
        Command::Plan { question, gateway } => {
            gateway.block_on(async |client| plan::plan(&client, &question).await)
        }
        Command::Policy { command, gateway } => policy::run(command, &gateway),
        Command::Status { form, gateway } => {
            gateway.block_on(async |client| status::status(&client, form.output).await)
        }
        Command::Test { tested, gateway } => {
            gateway.block_on(async |client| test_listener::test(&client, &tested).await)
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
