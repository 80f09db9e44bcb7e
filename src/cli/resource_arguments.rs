//! The commands about what may be changed at run time.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::arguments::Form;

#[derive(Debug, Subcommand)]
pub(super) enum ListenerCommand {
    /// List every listener.
    #[command(after_help = "Example: certgate listener list\nExample: certgate listener list --output json")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show one listener as it is in force.
    #[command(after_help = "Example: certgate listener show web")]
    Show {
        /// The listener.
        name: String,
        #[command(flatten)]
        form: Form,
    },
    /// Choose who shows a certificate.
    ///
    /// The next handshake obeys; open connections go on. It stays so over restarts and reloads, until the file says
    /// something new of this listener. The CA bundle is remembered, so that it need be named only once.
    #[command(
        after_help = "Example: certgate listener auth web mutual --client-ca partners\n\
                      Example: certgate listener auth web one-way"
    )]
    Auth {
        /// The listener.
        name: String,
        /// one-way: the server only. observe: clients are asked, and let in all the same. mutual: clients, too.
        #[arg(value_name = "MODE", value_parser = ["one-way", "observe", "mutual"])]
        mode: String,
        /// The CA bundle that client certificates are checked against.
        #[arg(long, value_name = "BUNDLE")]
        client_ca: Option<String>,
    },
    /// Judge open connections once more, and close those that would not be let in now.
    ///
    /// For after a CA, a CRL or `allow_clients` has changed, or a client certificate has expired: open connections are
    /// not touched by that. They are closed at a pace, so that not all come back at once.
    #[command(
        after_help = "Example: certgate listener recheck web --dry-run\nExample: certgate listener recheck web --per-second 20"
    )]
    Recheck {
        /// The listener.
        name: String,
        /// Only say which, and why.
        #[arg(long)]
        dry_run: bool,
        /// How many to close each second, 1 to 10000.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10000))]
        per_second: u16,
        #[command(flatten)]
        form: Form,
    },
    /// Accept connections again.
    #[command(
        after_help = "Example: certgate listener enable web\nExample: certgate listener enable web --allow-downgrade"
    )]
    Enable {
        /// The listener.
        name: String,
        /// Let clients come by it without a certificate to the place or the servers of a listener that asks for one.
        #[arg(long)]
        allow_downgrade: bool,
    },
    /// Accept no more connections; open ones go on.
    #[command(
        after_help = "Example: certgate listener disable web\nExample: certgate listener disable web --allow-downgrade"
    )]
    Disable {
        /// The listener.
        name: String,
        /// Leave its clients to a listener on all addresses that asks for less.
        #[arg(long)]
        allow_downgrade: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum CaBundleCommand {
    /// List every CA bundle, and who uses it.
    #[command(after_help = "Example: certgate ca-bundle list")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Add CA certificates and CRLs to a bundle, which is made where there is none.
    ///
    /// The gateway keeps them itself; the files are not read again. Of each CA's CRLs the newest counts.
    #[command(after_help = "Example: certgate ca-bundle add partners partner-root.pem\n\
                            Example: certgate ca-bundle add partners --crl partner.crl\n\
                            Example: certgate ca-bundle add partners --crl-url http://pki.example.com/partner.crl")]
    Add {
        /// The bundle.
        name: String,
        /// PEM files with CA certificates.
        #[arg(required_unless_present_any = ["crl", "crl_url"], value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A PEM file with CRLs; may be given several times.
        #[arg(long, value_name = "FILE")]
        crl: Vec<PathBuf>,
        /// Where a CRL is got from, again and again; may be given several times.
        #[arg(long, value_name = "URL")]
        crl_url: Vec<String>,
    },
    /// Show one CA bundle as it is in force: its certificates and CRLs, too.
    #[command(after_help = "Example: certgate ca-bundle show partners")]
    Show {
        /// The bundle.
        name: String,
        #[command(flatten)]
        form: Form,
    },
    /// Delete a CA bundle that no listener names.
    #[command(after_help = "Example: certgate ca-bundle delete partners")]
    Delete {
        /// The bundle.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ApplyFile {
    /// A TOML file, or a directory of them, merged in the order of their names.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Let listeners ask less of their clients than they do, where the file says so.
    #[arg(long)]
    pub(super) allow_downgrade: bool,
    #[command(flatten)]
    pub(super) form: Form,
}

#[derive(Debug, Args)]
pub(super) struct DiffFile {
    /// A TOML file, or a directory of them, merged in the order of their names.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    #[command(flatten)]
    pub(super) form: Form,
}
