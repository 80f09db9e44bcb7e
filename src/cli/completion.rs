//! For shells and packages.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;
use super::arguments::Arguments;
use super::output::Printed;

pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "certgate", &mut script);
    Printed::text(String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
    Printed::text(String::from_utf8(page)?)?;
    Ok(ExitCode::SUCCESS)
}
