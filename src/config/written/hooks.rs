//! Who is told what happens to certificates, and who gets them as files.

use std::path::PathBuf;

use crate::config::collection::List;
use crate::config::hook::{Fraction, HookEvent};
use crate::config::period::Period;
use crate::config::reader::table;
use crate::config::settings::CertificateSelector;
use crate::config::text::{Mode, WebUrl};
use crate::config::value::Integer;

table! {
    /// A program or a URL that is told what happens to certificates: either `command` or `url`.
    Hook {
        /// The program, by its path or as it is found in $PATH, and its arguments; no shell is between. It gets the event
        /// as JSON on its standard input.
        command: List<String>,
        /// An http or https URL. The event is posted to it as JSON; it was heard when the answer is 2xx.
        url: WebUrl,
        /// url: a file, mode 0600, with a secret that the document is signed with (HMAC-SHA256). Default: it is not signed.
        secret_file: PathBuf,
        /// url: PEM file with the root of a private receiver. Default: the system's roots.
        root_ca_file: PathBuf,
        /// "obtained", "renewed", "failed", "blocked", "expiring", "drifted", "restored", "activated". Default: all of
        /// them.
        events: List<HookEvent>,
        /// Certificates by name, "DIRECTORY/*" for those of a directory, "*" for all. Default: all of them.
        certificates: List<CertificateSelector>,
        /// How long one attempt may take. Default: "60s" for a command, "10s" for a URL.
        timeout: Period<1, 3600>,
        /// How often it is tried: again after 1 s, 10 s, 1 min and ever longer pauses, the tenth time some two days after
        /// the first. Default: 10.
        attempts: Integer<1, 10>,
    }
}

table! {
    /// When something is told.
    Events {
        /// What is left of a certificate's life, as parts of the whole, when it is told that it is expiring.
        /// Default: ["1/5", "1/10", "1/20"].
        expiring: List<Fraction>,
    }
}

table! {
    /// A certificate as files, for other programs of this machine: cert.pem, chain.pem, fullchain.pem, privkey.pem, and
    /// combined.pem with the last two. Of a certificate with two kinds of key it is the one with the first.
    Export {
        /// The directory that they are in, for nothing else; made if it is not there. Where `key_type` has two kinds, the
        /// certificate of the second one is in the directory rsa, or ecdsa, in it.
        directory: PathBuf = required("\"/etc/ssl/www\""),
        /// The user whose files they are. Default: the gateway's.
        owner: String,
        /// Their group. Default: the gateway's.
        group: String,
        /// The mode of files without the key. Default: "0644".
        mode: Mode,
        /// The mode of files with the key. Default: "0600".
        key_mode: Mode,
        /// A program and its arguments, run when the files are others than before; no shell is between.
        command: List<String>,
        /// How long that may take. Default: "60s".
        timeout: Period<1, 3600>,
    }
}
