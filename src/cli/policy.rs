//! `certgate policy`: the TLS security policies there are, and what they mean for clients.

mod explain;
mod import;
mod preview;
mod shown;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::shown::{Shown, section_text};
use super::Failure;
use super::arguments::{Connection, Form, OutputFormat};
use super::output::{Printed, Surplus};
use super::run::load;
use crate::config::Config;
use crate::policy::{Policy, built_in, cloud_policy, names, text};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// List the built-in policies, and those of a configuration.
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
    #[command(after_help = "Example: certgate policy show intermediate")]
    Show {
        /// The policy.
        name: String,
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        form: Form,
    },
    /// Tell in words what a policy means, and which well-known clients it refuses.
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
        #[command(flatten)]
        gateway: Connection,
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

/// Where policies of one's own come from.
#[derive(Debug, Args)]
pub(super) struct Own {
    /// The configuration whose own policies count as well.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(command: PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::List { own, form } => list(own.load()?.as_ref(), form)?,
        PolicyCommand::Show { name, own, form } => show(&name, own.load()?.as_ref(), form)?,
        PolicyCommand::Explain { name, own, form } => {
            explain::explain(&name, find(&name, own.load()?.as_ref())?, form)?;
        }
        PolicyCommand::Import(import) => return import::import(&import),
        PolicyCommand::Preview {
            listener,
            policy,
            form,
            gateway,
        } => {
            return gateway
                .block_on(async |client| preview::preview(&client, &listener, &policy, form).await);
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Own {
    fn load(&self) -> Result<Option<Config>, Failure> {
        self.config.as_deref().map(load).transpose()
    }
}

fn list(config: Option<&Config>, form: Form) -> Result<(), Failure> {
    let own = config.iter().flat_map(|config| config.policies.values());
    let own = own.map(|policy| Shown::new(policy.name(), policy, "configuration"));
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

fn show(name: &str, config: Option<&Config>, form: Form) -> Result<(), Failure> {
    let policy = find(name, config)?;
    let file = text(policy.name());
    if form.output == OutputFormat::Json {
        let source = if file.is_some() {
            "built-in"
        } else {
            "configuration"
        };
        return Printed::json(&Shown::new(name, policy, source));
    }
    match file {
        Some(text) => Printed::text(format!("# {}\n{}\n", policy.name(), text.trim_end())),
        None => Printed::text(section_text(policy)),
    }
}

/// The policy that a listener with `policy = name` would have.
fn find<'a>(name: &str, config: Option<&'a Config>) -> Result<&'a Policy, Failure> {
    let own = config.and_then(|config| config.policy(name));
    own.or_else(|| built_in(name)).ok_or_else(|| {
        if let Some(cloud) = cloud_policy(name) {
            return format!(
                "`{name}` is a policy of {}, and certgate has not all of it; `certgate policy import {name}` shows \
                 what is missing",
                cloud.service
            );
        }
        let own = config.map_or("; for one of your own name the file with --config", |_| "");
        let own_names = config.iter().flat_map(|config| config.policies.keys().map(String::as_str));
        let names: Vec<_> = own_names.chain(names()).collect();
        format!("there is no TLS security policy `{name}`{own}; there are: {}", names.join(", "))
    })
    .map_err(Failure::from)
}
