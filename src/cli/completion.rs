//! For shells and packages.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Failure;
use super::arguments::Arguments;
use super::output::Printed;

pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "certgate", &mut script);
    Printed::text(String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// One page with every command on it.
pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut program = Arguments::command();
    program.build();
    let mut page = Vec::new();
    let man = Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut page = String::from_utf8(page)?;
    describe(&program, &mut page)?;
    Printed::text(page)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(command: &clap::Command, page: &mut String) -> Result<(), Failure> {
    for command in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        if command.has_subcommands() {
            describe(command, page)?;
            continue;
        }
        let mut sections = Vec::new();
        let man = Man::new(command.clone());
        man.render_description_section(&mut sections)?;
        man.render_synopsis_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        man.render_extra_section(&mut sections)?;
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        page.push_str(&format!(".SH \"{name}\"\n"));
        for line in String::from_utf8(sections)?.lines() {
            match (line.strip_prefix(".SH "), line.strip_prefix("Example: ")) {
                (Some("DESCRIPTION"), _) => {}
                (Some("EXTRA"), _) => page.push_str(".SS EXAMPLES\n"),
                (Some(section), _) => page.push_str(&format!(".SS {section}\n")),
                (None, Some(example)) => page.push_str(&format!(".PP\n{example}\n")),
                (None, None) => page.push_str(&format!("{line}\n")),
            }
        }
    }
    Ok(())
}
