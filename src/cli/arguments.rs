//! The commands, their flags and their help.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::ca_arguments::CaCommand;
use super::explain::Asked;
use super::hooks::HookCommand;
use super::plan::PlanQuestion;
use super::policy::PolicyCommand;
use super::resource_arguments::{ApplyFile, CaBundleCommand, DiffFile, ListenerCommand};
use super::test_listener::Tested;
use super::version_arguments::VersionCommand;
use super::{Failure, environment};
use crate::admin::api;
use crate::admin::{Client, Credentials};
use crate::certificate::{CertificateName, KeyType, RevocationReason};
use crate::name::{DnsName, NamePattern};

/// A TLS gateway built around its certificates: obtained, renewed, published and served without a dropped
/// connection.
#[derive(Debug, Parser)]
#[command(
    name = "certgate",
    version,
    max_term_width = 100,
    subcommand_required = true,
    after_help = "See it work on this machine: certgate demo\n\
                  Each command tells more with --help. Exit codes: 0 done, 1 refused or failed, 2 wrong usage."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve in the foreground: applies the file, serves, renews.
    ///
    /// SIGHUP applies the file again (a bad one changes nothing and says so); SIGTERM drains open connections
    /// and stops.
    #[command(after_help = "Example: certgate run --config /etc/certgate/certgate.toml")]
    Run(ConfigFile),
    /// Show it all on this machine: a local CA, a listener, two backends, a self-test.
    ///
    /// It writes into a temporary directory only, and takes it away at the end. Goes on serving until Ctrl-C, so
    /// that you can try it yourself.
    #[command(after_help = "Example: certgate demo\nExample: certgate demo --once")]
    Demo(Demo),
    /// Serve on one listener without a file.
    ///
    /// Runs in the foreground like `run`, and prints the file that says the same: a start for one of your own.
    #[command(
        after_help = "Example: certgate quick --listen 8443 --domain localhost --to 127.0.0.1:8080\n\
                      Example: certgate quick --listen 443 --domain www.example.com --to 127.0.0.1:8080 --acme"
    )]
    Quick(Quick),
    /// Validate a configuration and report every problem in it, and in the files that it names.
    #[command(after_help = "Example: certgate check --config certgate.toml")]
    Check(ConfigFile),
    /// Bring a running gateway to a file.
    ///
    /// What was changed at run time stays, where the file says of it what it said before. A file that would have a
    /// listener ask less of its clients than it does is refused, unless it is allowed.
    #[command(after_help = "Example: certgate apply --config /etc/certgate/certgate.toml")]
    Apply {
        #[command(flatten)]
        apply: ApplyFile,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Show what a file would change in a running gateway.
    #[command(after_help = "Example: certgate diff --config /etc/certgate/certgate.toml")]
    Diff {
        #[command(flatten)]
        diff: DiffFile,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Show one screen: listeners, certificates with the time left, backends, last errors.
    #[command(after_help = "Example: certgate status\nExample: certgate status --output json")]
    Status {
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Show what will be asked of which CA and when, with what is left of its rate limits.
    ///
    /// As far as everything works. Many steps are shown by the day, a few, or those of one certificate, one by one. Warns
    /// where a certificate would have less than a third of its lifetime left, or a quarter where its CA suggests to renew so
    /// late, before there is another.
    #[command(
        after_help = "Example: certgate plan --days 90\nExample: certgate plan --certificate www --output json"
    )]
    Plan {
        #[command(flatten)]
        question: PlanQuestion,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Tell what a handshake with a listener would get, and why.
    ///
    /// Asks the running gateway: it takes a ClientHello the way of a live one, up to its first answer, and sends nothing.
    #[command(after_help = "Example: certgate explain web --sni www.example.com\n\
                      Example: certgate explain web --sni www.example.com --client firefox --alpn h2\n\
                      Example: certgate explain web --sni www.example.com --client-certificate client.pem")]
    Explain {
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Make fresh TLS connections with a listener, and tell what came of each.
    ///
    /// Which certificate is served and whether it can be verified, by the gateway's local CAs or those of this system; what
    /// is agreed on; whether a certificate is asked for; which answer comes back for GET /. Exits with 1 when one fails.
    #[command(after_help = "Example: certgate test web\n\
                      Example: certgate test web --sni www.example.com --count 8 --output json\n\
                      Example: certgate test web --client-certificate client.pem --client-key client.key")]
    Test {
        #[command(flatten)]
        tested: Tested,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Change listeners while they serve: who shows a certificate, and whether they accept.
    Listener {
        #[command(subcommand)]
        command: ListenerCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// List, add, show and delete what client certificates are checked against.
    CaBundle {
        #[command(subcommand)]
        command: CaBundleCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Show who asked for which change at run time, and what came of it.
    ///
    /// The newest records, oldest first; with --after, those that follow a number.
    #[command(after_help = "Example: certgate audit\nExample: certgate audit --after 120 --output json")]
    Audit {
        /// Only records with a greater number.
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// At most so many, 1 to 1000.
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        gateway: Connection,
    },
    /// List, request, import, renew, revoke and export certificates.
    Cert {
        #[command(subcommand)]
        command: CertCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// List issuers with their accounts at CAs, and change or end such an account.
    Issuer {
        #[command(subcommand)]
        command: IssuerCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Give clients certificates of the gateway's own CAs, and revoke them.
    Ca {
        #[command(subcommand)]
        command: CaCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Compare DNS with the gateway, and show the record to change.
    Dns {
        #[command(subcommand)]
        command: DnsCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// List and try those who are told what happens to certificates.
    Hook {
        #[command(subcommand)]
        command: HookCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// List, explain and try out TLS security policies, and import those of cloud load balancers.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
        #[command(flatten)]
        gateway: Connection,
    },
    /// Print the JSON Schema of the configuration file, for editors.
    #[command(after_help = "Example: certgate schema > certgate.schema.json")]
    Schema,
    /// Print completions for a shell.
    #[command(after_help = "Example: certgate completions bash > /etc/bash_completion.d/certgate")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page.
    #[command(after_help = "Example: certgate man > /usr/local/share/man/man1/certgate.1")]
    Man,
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// A TOML file, or a directory of them, merged in the order of their names.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Exit after the self-test: 0 when every connection was answered, 1 otherwise.
    #[arg(long)]
    pub(super) once: bool,
    /// Show the gateway's log as well.
    #[arg(long)]
    pub(super) verbose: bool,
}

#[derive(Debug, Args)]
pub(super) struct Quick {
    /// The port, or address and port, to listen on; a port alone listens on every address.
    #[arg(long, value_name = "PORT", value_parser = listen_address)]
    pub(super) listen: SocketAddr,
    /// A name that the certificate is for; may be given again.
    #[arg(long = "domain", value_name = "DOMAIN", required = true)]
    pub(super) domains: Vec<NamePattern>,
    /// A backend; may be given again.
    #[arg(long = "to", value_name = "HOST:PORT", required = true)]
    pub(super) servers: Vec<String>,
    /// Obtain the certificate from an ACME CA instead of a local one: a URL, or one of letsencrypt,
    /// letsencrypt-staging, zerossl and google. Agrees to the CA's terms of service.
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, default_missing_value = "letsencrypt")]
    pub(super) acme: Option<String>,
    /// An address for the CA's account.
    #[arg(long, value_name = "EMAIL", requires = "acme")]
    pub(super) contact: Option<String>,
    /// Where certificates are kept [default: $STATE_DIRECTORY, or ./certgate-data].
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// List every certificate.
    #[command(after_help = "Example: certgate cert list\nExample: certgate cert list --output json")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show one certificate.
    #[command(after_help = "Example: certgate cert show www")]
    Show {
        /// The certificate.
        name: CertificateName,
        #[command(flatten)]
        form: Form,
    },
    /// Obtain a certificate and keep it renewed.
    ///
    /// Shows each step, and exits with 0 when it is there. What was requested is wanted from then on, over restarts.
    #[command(
        after_help = "Example: certgate cert request shop --domain shop.example.com --issuer letsencrypt"
    )]
    Request {
        /// What it is to be called in the store.
        name: CertificateName,
        /// A name it must be valid for; may be given again.
        #[arg(long = "domain", value_name = "DOMAIN", required = true)]
        domains: Vec<NamePattern>,
        /// Who signs; needed when there is more than one issuer.
        #[arg(long)]
        issuer: Option<String>,
        /// The kind of its key: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096.
        #[arg(long, value_name = "TYPE", default_value_t = KeyType::default())]
        key_type: KeyType,
        /// Order it once whatever the look at DNS brings; the gateway logs it.
        #[arg(long, value_enum, value_name = "OBJECTION")]
        even_if: Option<api::Objection>,
        /// Do not wait until it is there.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Take in a chain and key that come from elsewhere.
    ///
    /// They are checked first; what does not fit is refused, and changes nothing. To replace an import, import again
    /// under the same name.
    #[command(
        after_help = "Example: certgate cert import bought --certificate bought.pem --key bought.key\n\
                      Example: certgate cert import bought --certificate chain-and-key.pem"
    )]
    Import {
        /// What it is to be called in the store.
        name: CertificateName,
        /// The chain, end-entity certificate first; may hold the key as well.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// The private key, when it is in a file of its own.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
    /// Obtain a new one now, whatever time the present one has left.
    #[command(
        after_help = "Example: certgate cert renew www\nExample: certgate cert renew www --even-if dns"
    )]
    Renew {
        /// The certificate.
        name: CertificateName,
        /// Order it once whatever the look at DNS brings; the gateway logs it.
        #[arg(long, value_enum, value_name = "OBJECTION")]
        even_if: Option<api::Objection>,
        /// Do not wait until it is there.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Have the CA revoke a certificate, and obtain another in its place.
    ///
    /// The revoked one goes on being served until the other is there. That one has a new key, whatever the file says.
    #[command(after_help = "Example: certgate cert revoke www --reason key-compromise")]
    Revoke {
        /// The certificate.
        name: CertificateName,
        /// unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn.
        #[arg(long, default_value_t = RevocationReason::default())]
        reason: RevocationReason,
        #[command(flatten)]
        form: Form,
    },
    #[command(flatten)]
    Versions(VersionCommand),
    /// Print the chain, or write it to a file, with the private key or without.
    #[command(
        after_help = "Example: certgate cert export www\nExample: certgate cert export www --with-key --to www.pem"
    )]
    Export {
        /// The certificate.
        name: CertificateName,
        /// The private key as well. The gateway logs that it has left.
        #[arg(long, requires = "to")]
        with_key: bool,
        /// Write to this new file, mode 0600, instead of standard output.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum IssuerCommand {
    /// List who signs, with the account's URL, which CAA records may name.
    #[command(after_help = "Example: certgate issuer list")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Give the account at the CA a new key.
    #[command(after_help = "Example: certgate issuer rollover letsencrypt")]
    Rollover {
        /// The issuer.
        name: String,
    },
    /// End the account at the CA for good.
    ///
    /// What it has issued stays valid. The next order registers another account.
    #[command(after_help = "Example: certgate issuer deactivate letsencrypt")]
    Deactivate {
        /// The issuer.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DnsCommand {
    /// Look at names as a CA would: ownership, addresses and aliases, CAA records, challenges.
    ///
    /// Asks the zone's own servers and the resolvers, and compares with what the file says in `[gateway]`. Exits with 1 when no certificate would be ordered for one of them.
    #[command(
        after_help = "Example: certgate dns check www.example.com\nExample: certgate dns check 203.0.113.10"
    )]
    Check {
        /// The names, wildcards and IP addresses; without any: those of every certificate.
        #[arg(value_name = "NAME")]
        names: Vec<NamePattern>,
        /// The issuer whose CAA records and challenges count, where it is not clear from the name.
        #[arg(long)]
        issuer: Option<String>,
        #[command(flatten)]
        form: Form,
    },
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum OutputFormat {
    Text,
    Json,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Form {
    /// Print for people, or for programs.
    #[arg(long, value_enum, value_name = "FORM", default_value_t = OutputFormat::Text)]
    pub(super) output: OutputFormat,
}

/// How the running gateway is found.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The running gateway's admin socket, or https://HOST:PORT [default: admin.sock in $STATE_DIRECTORY, or in
    /// ./certgate-data]
    #[arg(
        long,
        global = true,
        value_name = "SOCKET",
        env = "CERTGATE_ADMIN",
        hide_env_values = true
    )]
    admin: Option<PathBuf>,
    /// With https: a file with the token.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CERTGATE_TOKEN_FILE",
        hide_env_values = true
    )]
    token_file: Option<PathBuf>,
    /// With https: a PEM file with the CA of the gateway's certificate [default: the system's CAs]
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// With https: a PEM file with your own certificate and key, where the gateway asks for one.
    #[arg(long, global = true, value_name = "FILE")]
    admin_certificate: Option<PathBuf>,
}

impl Connection {
    /// Calls the running gateway.
    pub(super) fn block_on<T>(
        &self,
        call: impl AsyncFnOnce(Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = self.client()?;
        runtime.block_on(call(client))
    }

    fn client(&self) -> Result<Client, Failure> {
        let Some(admin) = &self.admin else {
            let store = environment::with(|environment| environment.default_store());
            return Ok(Client::new(&store.join("admin.sock")));
        };
        let text = admin.to_str().unwrap_or_default();
        if text.starts_with("https://") || text.starts_with("http://") {
            let credentials = Credentials {
                token_file: self.token_file.clone(),
                ca_file: self.ca_file.clone(),
                certificate_file: self.admin_certificate.clone(),
            };
            return Ok(Client::remote(text, &credentials)?);
        }
        let path = text.strip_prefix("unix:").map(Path::new);
        Ok(Client::new(path.unwrap_or(admin)))
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)));
    }
    text.parse()
        .map_err(|_| "expected a port, or an address and a port like 127.0.0.1:8443".to_owned())
}

/// The self-test's and the examples' own name.
pub(super) fn localhost() -> DnsName {
    DnsName::parse("localhost").expect("`localhost` is a name")
}
