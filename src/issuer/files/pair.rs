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
    Unreadable(String),
}

/// Whether a content is to be imported.
pub(super) enum Checked {
    /// Not before it is changed.
    Broken(String),
    /// Now.
    Fits {
        pem: CredentialPem,
        credential: Credential,
    },
    /// When its time has come.
    NotYet(String),
}

/// Reads the files of an entry, and checks them unless they were `known` by the last look.
pub(super) fn find(candidate: &Candidate, known: Option<&[u8; 32]>, now: Timestamp) -> Found {
    let content = match read(candidate) {
        Ok(content) => content,
        Err(reason) => return Found::Unreadable(reason),
    };
    let digest = content.digest();
    match known == Some(&digest) {
        true => Found::Unchanged,
        false => Found::New {
            checked: content.check(now),
            digest,
        },
    }
}

fn read(candidate: &Candidate) -> Result<Content, String> {
    let read_key = |path: &PathBuf| {
        // The problem is shown with the certificate's file.
        read_file(path).map_err(|reason| format!("its key {}: {reason}", path.display()))
    };
    Ok(Content {
        certificate: read_file(&candidate.certificate_file)?,
        key: candidate.key_file.as_ref().map(read_key).transpose()?,
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
    fn check(&self, now: Timestamp) -> Checked {
        let parsed = match &self.key {
            Some(key) => CredentialPem::parse_pair(&self.certificate, key),
            None => CredentialPem::parse(&self.certificate),
        };
        let pem = match parsed {
            Ok(pem) => pem,
            Err(error) => return Checked::Broken(with_causes(&error)),
        };
        let checked = Credential::from_pem(&pem).and_then(|credential| {
            credential.check(&[], now)?;
            Ok(credential)
        });
        match checked {
            Ok(credential) => Checked::Fits { pem, credential },
            Err(error @ CredentialError::NotYetValid { .. }) => Checked::NotYet(error.to_string()),
            Err(error) => Checked::Broken(with_causes(&error)),
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
