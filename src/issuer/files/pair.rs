//! The content of a certificate's files: read within bounds, and checked to fit.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::cause::with_causes;
use crate::certificate::{Credential, CredentialError, CredentialPem};
use crate::clock::Timestamp;
use crate::issuer::files::listing::Candidate;

/// What is found for an entry.
pub(super) enum Found {
    /// A content that was not there at the last look.
    New { digest: [u8; 32], checked: Checked },
    /// The content of the last look.
    Unchanged,
    /// No content, and why.
    Unreadable(Flaw),
}

/// What is wrong with a file.
#[derive(Clone, Debug)]
pub(super) struct Flaw {
    /// The certificate's, or that of its key.
    pub(super) file: PathBuf,
    /// What it is, and what to do.
    pub(super) reason: String,
}

/// Whether a content is to be imported.
pub(super) enum Checked {
    /// Not before it is changed.
    Broken(Flaw),
    /// Now.
    Fits {
        pem: CredentialPem,
        credential: Credential,
    },
    /// When its time has come.
    NotYet(Flaw),
}

/// Reads the files of an entry, and checks them unless they were `known` by the last look.
pub(super) fn find(candidate: &Candidate, known: Option<&[u8; 32]>, now: Timestamp) -> Found {
    let content = match read(candidate) {
        Ok(content) => content,
        Err(flaw) => return Found::Unreadable(flaw),
    };
    let digest = content.digest();
    match known == Some(&digest) {
        true => Found::Unchanged,
        false => Found::New {
            checked: content.check(candidate, now),
            digest,
        },
    }
}

fn read(candidate: &Candidate) -> Result<Content, Flaw> {
    let read = |path: &PathBuf| {
        read_file(path).map_err(|reason| Flaw {
            file: path.clone(),
            reason,
        })
    };
    Ok(Content {
        certificate: read(&candidate.certificate_file)?,
        key: candidate.key_file.as_ref().map(read).transpose()?,
    })
}

/// What stands in the files. Secret.
struct Content {
    certificate: Zeroizing<Vec<u8>>,
    key: Option<Zeroizing<Vec<u8>>>,
}

impl Content {
    /// Tells this content from any other.
    fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(self.certificate.len() as u64).to_be_bytes());
        context.update(&self.certificate);
        context.update(self.key.as_deref().map_or(&[][..], Vec::as_slice));
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        bytes
    }

    /// Whether it is a chain and its key, valid now.
    fn check(&self, candidate: &Candidate, now: Timestamp) -> Checked {
        let of_certificate = |reason| Flaw {
            file: candidate.certificate_file.clone(),
            reason,
        };
        let of_key = |reason| Flaw {
            file: candidate
                .key_file
                .as_ref()
                .unwrap_or(&candidate.certificate_file)
                .clone(),
            reason,
        };
        let parsed = match &self.key {
            Some(key) => CredentialPem::parse_pair(&self.certificate, key).map_err(|error| {
                let reason = with_causes(&error);
                if error.is_of_key {
                    of_key(reason)
                } else {
                    of_certificate(reason)
                }
            }),
            None => {
                CredentialPem::parse(&self.certificate).map_err(|error| of_certificate(with_causes(&error)))
            }
        };
        let pem = match parsed {
            Ok(pem) => pem,
            Err(flaw) => return Checked::Broken(flaw),
        };
        let checked = Credential::from_pem(&pem).and_then(|credential| {
            credential.check(&[], now)?;
            Ok(credential)
        });
        match checked {
            Ok(credential) => Checked::Fits { pem, credential },
            Err(error @ CredentialError::NotYetValid { .. }) => {
                Checked::NotYet(of_certificate(error.to_string()))
            }
            Err(error @ CredentialError::UnusableKey { .. }) => Checked::Broken(of_key(with_causes(&error))),
            Err(error @ CredentialError::WrongKey { .. }) if self.key.is_some() => {
                let certificate = candidate.certificate_file.display();
                Checked::Broken(of_key(format!("{error}; the certificate is in {certificate}")))
            }
            Err(error) => Checked::Broken(of_certificate(with_causes(&error))),
        }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("it cannot be read: {error}");
    // To open a pipe is to wait for whoever writes into it.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = Zeroizing::new(Vec::with_capacity(16 << 10));
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content))
        .map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(format!(
            "it is larger than {MAX_FILE} bytes; a chain and a key are to be in it, and nothing else"
        ));
    }
    Ok(content)
}

const MAX_FILE: u64 = 512 << 10;
