//! The command line: one declaration, one function for each command, exit codes with a meaning.

mod arguments;
mod certificates;
mod completion;
mod demo;
mod environment;
mod log;
mod output;
mod progress;
mod quick;
mod run;
mod status;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::arguments::{Arguments, CaCommand, Command, DnsCommand};
use self::output::Printed;
use crate::cause::with_causes;

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
            let _ = writeln!(io::stderr(), "certgate: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Any error on its way to the operator.
type Failure = Box<dyn Error + Send + Sync>;

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { command, connection } = arguments;
    match command {
        Command::Check(check) => run::check(&check.config),
        Command::Completions { shell } => completion::completions(shell),
        Command::Demo(demo) => demo::demo(demo.once),
        Command::Man => completion::man(),
        Command::Quick(quick) => quick::quick(&quick),
        Command::Run(run) => run::run(&run.config),
        Command::Schema => run::schema(),
        Command::Ca(CaCommand::Export { name }) => connection.block_on(async |client| {
            Printed::text(client.local_ca_root(&name).await?)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Cert(command) => {
            let format = connection.output;
            connection.block_on(async |client| certificates::run(&client, command, format).await)
        }
        Command::Dns(DnsCommand::Check { names }) => {
            let format = connection.output;
            connection.block_on(async |client| status::dns_check(&client, names, format).await)
        }
        Command::Status => {
            let format = connection.output;
            connection.block_on(async |client| status::status(&client, format).await)
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
