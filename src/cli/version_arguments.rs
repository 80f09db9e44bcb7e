//! The commands about versions of certificates.

use clap::Subcommand;

use super::arguments::Form;
use crate::certificate::CertificateName;

#[derive(Debug, Subcommand)]
pub(super) enum VersionCommand {
    /// Serve the spare in a certificate's place, or the certificate itself again.
    ///
    /// In force for the next handshake when it returns, over restarts too, until it is told otherwise. Where there are keys
    /// of two kinds, for both.
    #[command(
        group(clap::ArgGroup::new("serve").required(true).args(["spare", "primary"])),
        after_help = "Example: certgate cert activate www --spare\nExample: certgate cert activate www --primary"
    )]
    Activate {
        /// The certificate.
        name: CertificateName,
        /// The one from its `spare_issuer`.
        #[arg(long)]
        spare: bool,
        /// The certificate itself.
        #[arg(long)]
        primary: bool,
        #[command(flatten)]
        form: Form,
    },
    /// List the versions of a certificate, the present one first.
    #[command(after_help = "Example: certgate cert history www")]
    History {
        /// The certificate.
        name: CertificateName,
        #[command(flatten)]
        form: Form,
    },
    /// Put the version before the present one in its place, while it is valid.
    ///
    /// It is renewed late then, so that there is time; `certgate cert renew` does it at once, and another rollback goes back.
    #[command(after_help = "Example: certgate cert rollback www")]
    Rollback {
        /// The certificate.
        name: CertificateName,
        #[command(flatten)]
        form: Form,
    },
    /// Forget a certificate that was requested or imported, with its key.
    #[command(after_help = "Example: certgate cert delete bought")]
    Delete {
        /// The certificate.
        name: CertificateName,
    },
}
