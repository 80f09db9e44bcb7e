//! `certgate policy`: the TLS security policies there are, and what they mean for clients.

mod explain;
mod import;
mod own;
mod preview;
mod shown;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::own::{Own, OwnPolicies};
use self::shown::{Shown, section_text};
use super::Failure;
use super::arguments::{Connection, Form, OutputFormat};
use super::output::{Printed, Surplus};
use crate::policy::{Policy, built_in, cloud_policy, names, text};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// List the built-in policies, and your own: those of the running gateway, or of a configuration.
    #[command(
        after_help = "Example: certgate policy list\nExample: certgate policy list --config certgate.toml"
    )]
    List {
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        form: Form,
    },
    /// Show what a policy says, as it would be written.
    ///
    /// One of your own is that of the running gateway, or of the file that --config names.
    #[command(after_help = "Example: certgate policy show intermediate\nExample: certgate policy show house")]
    Show {
        /// The policy.
        name: String,
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        form: Form,
    },
    /// Tell in words what a policy means, and which well-known clients it refuses.
    ///
    /// One of your own is that of the running gateway, or of the file that --config names.
    #[command(after_help = "Example: certgate policy explain modern\n\
                      Example: certgate policy explain house --config certgate.toml --output json")]
    Explain {
        /// The policy.
        name: String,
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        form: Form,
    },
    /// Make a policy of what certgate has of a cloud load balancer's.
    ///
    /// Knows those of Alibaba Cloud NLB, AWS NLB and Huawei Cloud ELB. Tells what is missing, asks, and prints a table
    /// for the configuration file.
    #[command(after_help = "Example: certgate policy import tls_cipher_policy_1_2\n\
                      Example: certgate policy import ELBSecurityPolicy-2016-08 --yes --as old-clients")]
    Import(Import),
    /// Tell how many of a listener's latest handshakes a policy would have refused, and why.
    ///
    /// Each listener counts what its clients offer, 50,000 to 100,000 handshakes back on each worker, and without anything
    /// that tells one client from another. A policy of your own must be in the configuration that runs. Counts begin anew
    /// with a restart.
    #[command(
        after_help = "Example: certgate policy preview web modern\nExample: certgate policy preview web house --output json"
    )]
    Preview {
        /// The listener.
        listener: String,
        /// The policy: a built-in one, or one of the configuration in force.
        policy: String,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The cloud's name for it.
    name: String,
    /// What the new policy is to be called [default: the cloud's name and `-subset`].
    #[arg(long = "as", value_name = "NAME", value_parser = import::own_name)]
    new_name: Option<String>,
    /// Do not ask: what is missing may be missing.
    #[arg(long)]
    yes: bool,
    /// Write to this new file instead of standard output.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) fn run(command: PolicyCommand, gateway: &Connection) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::List { own, form } => list(&own.load(gateway)?, form)?,
        PolicyCommand::Show { name, own, form } => with_policy(&name, &own, gateway, |policy, source| {
            show(&name, policy, source, form)
        })?,
        PolicyCommand::Explain { name, own, form } => with_policy(&name, &own, gateway, |policy, source| {
            explain::explain(&name, policy, source, form)
        })?,
        PolicyCommand::Import(import) => return import::import(&import),
        PolicyCommand::Preview {
            listener,
            policy,
            form,
        } => {
            return gateway
                .block_on(async |client| preview::preview(&client, &listener, &policy, form).await);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(own: &OwnPolicies, form: Form) -> Result<(), Failure> {
    if let Some(error) = &own.unasked {
        writeln!(
            io::stderr(),
            "certgate: only built-in policies are known; {error}; those of a file are listed with --config"
        )?;
    }
    let own = own
        .policies
        .values()
        .map(|policy| Shown::new(policy.name(), policy, own.source));
    let built_in: Vec<_> = names()
        .into_iter()
        .filter_map(|name| Some((name, built_in(name)?)))
        .collect();
    let under_a_level: BTreeSet<_> = built_in
        .iter()
        .filter(|(name, policy)| *name != policy.name())
        .map(|(_, policy)| policy.name())
        .collect();
    let built_in = built_in
        .iter()
        .filter(|(name, _)| !under_a_level.contains(name))
        .map(|(name, policy)| Shown::new(name, policy, "built-in"));
    let policies: Vec<_> = own.chain(built_in).collect();
    if form.output == OutputFormat::Json {
        return Printed::json(&policies);
    }
    let rows = policies.iter().map(|policy| {
        vec![
            policy.name.to_owned(),
            policy.is.unwrap_or("-").to_owned(),
            policy.versions.join(", "),
            policy.cipher_suites.len().to_string(),
            policy.groups.len().to_string(),
            policy.post_quantum.to_owned(),
            policy.source.to_owned(),
        ]
    });
    let header = [
        "NAME",
        "TODAY",
        "VERSIONS",
        "SUITES",
        "GROUPS",
        "POST-QUANTUM",
        "FROM",
    ];
    Printed::table(&header, rows, Surplus::Wrap)
}

fn show(name: &str, policy: &Policy, source: &'static str, form: Form) -> Result<(), Failure> {
    if form.output == OutputFormat::Json {
        return Printed::json(&Shown::new(name, policy, source));
    }
    match text(policy.name()) {
        Some(text) => Printed::text(format!("# {}\n{}\n", policy.name(), text.trim_end())),
        None => Printed::text(section_text(policy)),
    }
}

/// Hands on the policy that a listener with `policy = name` would have, and where it comes from. Nobody is asked for one
/// that is built in: none of one's own can have its name.
fn with_policy(
    name: &str,
    own: &Own,
    gateway: &Connection,
    hand_on: impl FnOnce(&Policy, &'static str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Some(policy) = built_in(name) {
        return hand_on(policy, "built-in");
    }
    if let Some(cloud) = cloud_policy(name) {
        let service = &cloud.service;
        return Err(format!(
            "`{name}` is a policy of {service}, and certgate has not all of it; `certgate policy import {name}` shows \
             what is missing"
        )
        .into());
    }
    let own = own.load(gateway)?;
    if let Some(policy) = own.policies.get(name) {
        return hand_on(policy, own.source);
    }
    let known: Vec<_> = own.policies.keys().map(String::as_str).chain(names()).collect();
    let known = known.join(", ");
    Err(match own.unasked {
        Some(error) => format!(
            "there is no built-in TLS security policy `{name}`, and {error}; for one of a file, name that with \
             --config; built in are: {known}"
        ),
        None => format!("there is no TLS security policy `{name}`; there are: {known}"),
    }
    .into())
}
