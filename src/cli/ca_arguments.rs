//! The commands about the gateway's own CAs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::arguments::Form;
use crate::certificate::KeyType;
use crate::certificate::RevocationReason;
use crate::name::NamePattern;

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// List the local CAs, and how much each has signed for clients.
    #[command(after_help = "Example: certgate ca list")]
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Make a local CA that is only configured so far, so that its root can be given to clients.
    ///
    /// CAs are declared in the configuration, as [issuers.NAME] with kind = "local-ca". One that is not made by this command
    /// is made when it is first needed.
    #[command(after_help = "Example: certgate ca create internal")]
    Create {
        /// The issuer.
        name: String,
    },
    /// Show a local CA and what it has signed for clients.
    #[command(
        after_help = "Example: certgate ca show internal\nExample: certgate ca show internal --output json"
    )]
    Show {
        /// The issuer.
        name: String,
        #[command(flatten)]
        form: Form,
    },
    /// Print the root certificate of a local CA, for clients to trust.
    #[command(after_help = "Example: certgate ca export internal > internal-root.pem")]
    Export {
        /// The issuer.
        name: String,
    },
    /// Give a client a certificate.
    ///
    /// The private key is made here and leaves this machine only in the files that are written, mode 0600; the gateway never
    /// sees it. With --csr it is made elsewhere: only the signing request is needed.
    ///
    /// A PKCS#12 file is encrypted with AES-256, which OpenSSL, browsers, Windows 10 and macOS 15 import; older ones need it
    /// converted: openssl pkcs12 -in FILE -out all.pem && openssl pkcs12 -export -legacy -in all.pem -out OLD.
    #[command(
        after_help = "Example: certgate ca issue internal --common-name alice --pkcs12 alice.p12\n\
                      Example: certgate ca issue internal --common-name api --uri spiffe://example/api --pem api.pem --days 90\n\
                      Example: certgate ca issue internal --common-name bob --csr bob.csr > bob.pem"
    )]
    Issue(Issue),
    /// Revoke a client certificate: the next handshake with it is refused.
    ///
    /// It stays so. To do it again changes nothing.
    #[command(
        after_help = "Example: certgate ca revoke internal 5b1fd09c… --reason key-compromise\n\
                      Example: certgate ca revoke internal --common-name alice"
    )]
    Revoke(Revoke),
    /// Print the newest CRL of a local CA, or write it to a file.
    #[command(
        after_help = "Example: certgate ca crl internal\nExample: certgate ca crl internal --out internal.crl"
    )]
    Crl {
        /// The issuer.
        name: String,
        /// Write to this file, which is replaced, instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    /// The issuer, a local CA.
    pub(super) name: String,
    /// The subject: who the client is.
    #[arg(long, value_name = "TEXT")]
    pub(super) common_name: String,
    /// A DNS name of the client; may be given again.
    #[arg(long, value_name = "NAME")]
    pub(super) dns: Vec<NamePattern>,
    /// A URI of the client, as a SPIFFE ID; may be given again.
    #[arg(long, value_name = "URI")]
    pub(super) uri: Vec<String>,
    /// A mail address of the client; may be given again.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) email: Vec<String>,
    /// Days of its validity.
    #[arg(long, default_value_t = 365)]
    pub(super) days: u32,
    /// The kind of its key: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096.
    #[arg(long, value_name = "TYPE", default_value_t = KeyType::default(), conflicts_with = "csr")]
    pub(super) key_type: KeyType,
    /// A signing request in PEM, whose key is certified. Its subject and extensions are not looked at.
    #[arg(long, value_name = "FILE", conflicts_with = "pkcs12")]
    pub(super) csr: Option<PathBuf>,
    /// Write the chain and the key to this new file; with --csr the chain alone.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["csr", "pkcs12"])]
    pub(super) pem: Option<PathBuf>,
    /// Write the chain and the key to this new file as PKCS#12, for browsers.
    #[arg(long, value_name = "FILE")]
    pub(super) pkcs12: Option<PathBuf>,
    /// The password of the PKCS#12 file is the first line of this file, or of standard input with `-`; without it one is
    /// made and printed.
    #[arg(long, value_name = "FILE", requires = "pkcs12")]
    pub(super) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) form: Form,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The issuer, a local CA.
    pub(super) name: String,
    /// The certificate's serial number; `ca show` has it.
    #[arg(required_unless_present = "common_name", conflicts_with = "common_name")]
    pub(super) serial: Option<String>,
    /// Every certificate with this common name that is still good.
    #[arg(long, value_name = "TEXT")]
    pub(super) common_name: Option<String>,
    /// Why: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn.
    #[arg(long, value_name = "REASON", default_value_t = RevocationReason::default())]
    pub(super) reason: RevocationReason,
    #[command(flatten)]
    pub(super) form: Form,
}
