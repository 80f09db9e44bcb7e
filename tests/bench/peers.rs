//! The peers: how each is configured, all of them alike.

mod certgate;
mod haproxy;
mod hitch;
mod nginx;
mod sozu;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::kind::Kind;
use crate::proxy::Site;
use crate::results::Subject;

/// A program that ends TLS.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What its column is called.
    pub(crate) name: String,
    /// Which of the programs it is.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) program: PathBuf,
    /// As it says itself.
    pub(crate) version: String,
}

impl Peer {
    /// The peer of this kind where it is usually found.
    ///
    /// # Errors
    /// A sentence when it is not there.
    pub(crate) fn usual(kind: Kind) -> Result<Self, String> {
        Self::at(kind, kind.name().to_owned(), &kind.usual_program())
    }

    /// The program at `path`, under a name of its own.
    ///
    /// # Errors
    /// A sentence when it does not run.
    pub(crate) fn at(kind: Kind, name: String, path: &Path) -> Result<Self, String> {
        let program = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let said = Command::new(&program)
            .arg(kind.version_argument())
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said
            .split(|c: char| c.is_whitespace() || c == '/')
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
        Ok(Self {
            name,
            kind,
            program,
            version: version.unwrap_or("?").trim_end_matches([';', ',']).to_owned(),
        })
    }

    /// What its results are results of.
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            kind: Some(self.kind),
            version: self.version.clone(),
            configuration: self.about().to_owned(),
        }
    }

    /// Writes its configuration for `site`; the command that runs it in the foreground.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn configure(&self, site: &Site) -> io::Result<Command> {
        match self.kind {
            Kind::Certgate => certgate::configure(&self.program, site),
            Kind::Nginx => nginx::configure(&self.program, site),
            Kind::Haproxy => haproxy::configure(&self.program, site),
            Kind::Hitch => hitch::configure(&self.program, site),
            Kind::Sozu => sozu::configure(&self.program, site),
        }
    }

    /// What makes it read its configuration again.
    pub(crate) fn reload_signal(&self) -> Signal {
        match self.kind {
            Kind::Haproxy => Signal::USR2,
            Kind::Certgate | Kind::Nginx | Kind::Hitch | Kind::Sozu => Signal::HUP,
        }
    }

    /// What its configuration is beyond what all have in common.
    pub(crate) fn about(&self) -> &'static str {
        match self.kind {
            Kind::Certgate => certgate::ABOUT,
            Kind::Nginx => nginx::ABOUT,
            Kind::Haproxy => haproxy::ABOUT,
            Kind::Hitch => hitch::ABOUT,
            Kind::Sozu => sozu::ABOUT,
        }
    }
}

/// What all have in common.
pub(crate) const ALIKE: &str = "TLS 1.3, TLS_AES_128_GCM_SHA256, one group as the client offers it, one ticket for each \
     handshake, no session cache, leaf and intermediate sent, a log line for each connection into a file";

/// Makes OpenSSL give one ticket for each handshake instead of two, whatever program it is in.
fn one_ticket(site: &Site) -> io::Result<PathBuf> {
    let path = site.directory.join("openssl.cnf");
    let text = "openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\nNumTickets = 1\n\
                Groups = X25519\n";
    fs::write(&path, text)?;
    Ok(path)
}
