//! Files that the configuration names are there, and hold what they are there for.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::Checker;
use crate::certificate::{CaBundleProblem, CrlProblem, ca_certificates_problem, crls_problem};
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::reader::Key;
use crate::config::source::{Located, reason};
use crate::config::written::CaBundle;

impl Checker<'_> {
    /// A file that can be opened.
    pub(super) fn file(&mut self, written: &Located<PathBuf>) -> Option<PathBuf> {
        let path = self.sources.resolve(written);
        match open(&path) {
            Ok(()) => Some(path),
            Err(error) => {
                self.unreadable(written, &path, "file", &reason(&error));
                None
            }
        }
    }

    /// A file with a secret, which only its owner may read; `kind` is what it is called.
    pub(super) fn private_file(
        &mut self,
        written: &Located<PathBuf>,
        kind: &str,
    ) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
        let path = self.file(written)?;
        let shown = path.display();
        let (message, help) = match (fs::metadata(&path), fs::read(&path).map(Zeroizing::new)) {
            (Ok(metadata), Ok(octets)) => match metadata.permissions().mode() & 0o777 {
                mode if mode & 0o077 != 0 => (
                    format!("the {kind} `{shown}` has mode {mode:04o}: others can read or write it"),
                    format!("chmod 600 {shown}"),
                ),
                _ => return Some((path, octets)),
            },
            _ => (format!("the {kind} `{shown}` cannot be read"), String::new()),
        };
        self.report.push(
            Diagnostic::new(Code::InvalidValue, message)
                .at(&written.place, "this file")
                .help(help),
        );
        None
    }

    /// A PEM file with one certificate at least.
    pub(super) fn file_with_certificate(&mut self, written: &Located<PathBuf>) -> Option<PathBuf> {
        let path = self.file(written)?;
        let problem = match CertificateDer::pem_file_iter(&path) {
            Ok(mut certificates) => match certificates.next() {
                Some(Ok(_)) => return Some(path),
                Some(Err(_)) => "its PEM text is damaged",
                None => "there is no `-----BEGIN CERTIFICATE-----` block in it",
            },
            Err(_) => "its PEM text cannot be read",
        };
        self.report.push(
            Diagnostic::new(
                Code::NoCertificateInFile,
                format!("the file `{}` holds no certificate: {problem}", path.display()),
            )
            .at(&written.place, "no certificate in this file")
            .help("name a PEM file with the CA certificate"),
        );
        None
    }

    /// The certificates that a CA bundle holds itself; there must be some, or files of them.
    pub(super) fn inline_certificates(
        &mut self,
        name: &Located<String>,
        bundle: &CaBundle,
    ) -> Option<Option<String>> {
        let written = match &bundle.certificates_pem {
            Key::Absent if bundle.files.is_absent() && bundle.issuer.is_absent() => {
                let help = "add files = [\"roots.pem\"], the certificates themselves as `certificates_pem`, or a local CA as `issuer`";
                self.missing("files", &format!("ca_bundles.{}", name.value), &name.place, help);
                return None;
            }
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(written, _) => written,
        };
        if let Some(Ok(_)) = CertificateDer::pem_slice_iter(written.value.as_bytes()).next() {
            return Some(Some(written.value.clone()));
        }
        let message = match ca_certificates_problem(written.value.as_bytes()) {
            None | Some(CaBundleProblem::Empty) => "`certificates_pem` holds no certificate".to_owned(),
            Some(problem) => format!("`certificates_pem`, {problem}"),
        };
        self.report.push(
            Diagnostic::new(Code::NoCertificateInFile, message)
                // Not at the text: whatever it is, a private key perhaps, it stays out of the log.
                .at(&name.place, "has no certificate in `certificates_pem`")
                .help("put the text of a PEM file with the CA certificate here"),
        );
        None
    }

    /// The CRLs that a CA bundle holds itself. Who has signed them is looked at when the bundle is made.
    pub(super) fn inline_crls(
        &mut self,
        name: &Located<String>,
        bundle: &CaBundle,
    ) -> Option<Option<String>> {
        let written = match &bundle.crls_pem {
            Key::Absent => return Some(None),
            Key::Invalid => return None,
            Key::Present(written, _) => written,
        };
        if written.value.contains("-----BEGIN X509 CRL-----") {
            return Some(Some(written.value.clone()));
        }
        let message = match crls_problem(written.value.as_bytes()) {
            None | Some(CrlProblem::Empty) => "`crls_pem` holds no CRL".to_owned(),
            Some(problem) => format!("`crls_pem`, {problem}"),
        };
        self.report.push(
            Diagnostic::new(Code::InvalidValue, message)
                .at(&name.place, "has no CRL in `crls_pem`")
                .help("put the text of a PEM file with `-----BEGIN X509 CRL-----` here"),
        );
        None
    }

    /// A directory that can be listed.
    pub(super) fn directory(&mut self, written: &Located<PathBuf>) -> Option<PathBuf> {
        let path = self.sources.resolve(written);
        match fs::read_dir(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::NotFound => "there is no such directory".to_owned(),
                    io::ErrorKind::NotADirectory => "it is not a directory".to_owned(),
                    _ => reason(&error),
                };
                self.unreadable(written, &path, "directory", &reason);
                None
            }
        }
    }

    fn unreadable(&mut self, written: &Located<PathBuf>, path: &Path, kind: &str, reason: &str) {
        let mut diagnostic = Diagnostic::new(
            Code::UnreadableFile,
            format!("cannot read the {kind} `{}`: {reason}", path.display()),
        )
        .at(&written.place, format!("this {kind}"));
        if written.value.is_relative() {
            diagnostic = diagnostic.help("relative paths start at the directory of the configuration file");
        }
        self.report.push(diagnostic);
    }
}

fn open(path: &Path) -> io::Result<()> {
    // A named pipe would block `open` until somebody writes; only regular files are opened.
    if fs::metadata(path)?.is_file() {
        fs::File::open(path).map(drop)
    } else if path.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}
