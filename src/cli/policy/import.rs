//! `certgate policy import`: what certgate has of a cloud policy, never taken for the whole.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::Import as Arguments;
use super::shown::section_text;
use crate::certificate::CertificateName;
use crate::cli::Failure;
use crate::cli::output::Printed;
use crate::policy::{
    CloudPolicy, Element, Import, Policy, Why, built_in, cloud_policies, cloud_policy, openssl_name,
};

pub(super) fn import(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let name = &arguments.name;
    let cloud = cloud_policy(name).ok_or_else(|| unknown(name))?;
    let import = cloud.import();
    if cloud.is_exact() {
        Printed::text(format!(
            "certgate has all of `{name}` of {}: it is built in, so write policy = {name:?}\n",
            cloud.service
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut errors = io::stderr().lock();
    errors.write_all(report(cloud, &import).as_bytes())?;
    drop(errors);
    let Some(rules) = import.rules.clone() else {
        return Err(format!("nothing that could be used is left of `{name}`").into());
    };
    if !arguments.yes && !agreed(name)? {
        return Err("nothing was written".into());
    }
    let new_name = arguments
        .new_name
        .clone()
        .unwrap_or_else(|| format!("{name}-subset"));
    let why = Why {
        policy: format!(
            "What certgate has of {name} ({}): {}. It is not that policy.",
            cloud.service,
            import.portion()
        ),
        ..Why::default()
    };
    let text = section_text(&Policy::new(&new_name, why, rules)?);
    match &arguments.to {
        Some(path) => write_new(path, &text)?,
        None => Printed::text(text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A name for a policy of one's own, as the configuration takes it.
pub(super) fn own_name(name: &str) -> Result<String, String> {
    if name.len() > 64 || name.contains('/') || CertificateName::parse(name).is_err() {
        return Err(
            "allowed: letters, digits, `.`, `_` and `-`, not beginning with `.`, at most 64 of them".into(),
        );
    }
    if built_in(name).is_some() || cloud_policy(name).is_some() {
        return Err("the name of another policy, which this one would not be".into());
    }
    Ok(name.to_owned())
}

/// What is missing, counted and named.
fn report(cloud: &CloudPolicy, import: &Import) -> String {
    let CloudPolicy {
        name,
        service,
        source,
        ..
    } = cloud;
    let mut text = format!(
        "{name} of {service} ({source})\ncertgate has {}, and it is never the same policy.\n",
        import.portion()
    );
    let kept = import.rules.iter().flat_map(|rules| &rules.cipher_suites);
    let kept: Vec<_> = kept.map(|suite| openssl_name(*suite)).collect();
    let groups = import.rules.iter().flat_map(|rules| &rules.groups);
    let groups: Vec<_> = groups.map(|group| Element::name(*group).to_owned()).collect();
    for (label, list) in [
        ("suites it has", &kept),
        ("suites it cannot have", &import.cipher_suites),
        ("versions it cannot have", &import.versions),
        ("groups it has", &groups),
        ("groups it cannot have", &import.groups),
    ] {
        if !list.is_empty() {
            text.push_str(&format!("  {label}: {}\n", list.join(", ")));
        }
    }
    if cloud.groups.is_empty() {
        text.push_str("  no groups are documented for it; these are the classical ones\n");
    }
    if let Some(unknown) = &cloud.unknown {
        text.push_str(&format!("  not known exactly: {unknown}\n"));
    }
    if let Some(demands) = &cloud.demands {
        text.push_str(&format!("  it promises what certgate does not: {demands}\n"));
    }
    text
}

fn agreed(name: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(format!(
            "nothing was written: this is not all of `{name}`, and there is no terminal to ask on; \
             with --yes a policy is made of the rest"
        )
        .into());
    }
    let mut errors = io::stderr().lock();
    write!(errors, "Make a policy of what there is? [y/N] ")?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |error: io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    Ok(())
}

fn unknown(name: &str) -> String {
    if built_in(name).is_some() {
        return format!("`{name}` is built in and needs no import: write policy = {name:?}");
    }
    let known = cloud_policies().iter();
    if let Some(meant) = known.clone().find(|cloud| {
        cloud.name.eq_ignore_ascii_case(name)
            || cloud
                .name
                .strip_prefix("ELBSecurityPolicy-")
                .is_some_and(|rest| rest == name)
    }) {
        return format!(
            "there is no cloud policy `{name}`; did you mean `{}`?",
            meant.name
        );
    }
    let lines: String = known
        .map(|cloud| format!("\n  {} ({})", cloud.name, cloud.service))
        .collect();
    format!("there is no cloud policy `{name}`; there are:{lines}")
}
