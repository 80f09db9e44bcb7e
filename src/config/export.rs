//! `[[certificates.NAME.export]]`: a certificate as files, for other programs of the machine.

use std::path::PathBuf;
use std::time::Duration;

use crate::certificate::KeyType;
use crate::command::Argv;

/// Where and how a certificate is written, and what is run then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExportConfig {
    /// The directory of the files; made if it is not there.
    pub directory: PathBuf,
    /// The user whose files they are; absent: the gateway's.
    pub owner: Option<u32>,
    /// Their group; absent: the gateway's.
    pub group: Option<u32>,
    /// The mode of files without the key.
    pub mode: u32,
    /// The mode of files with the key.
    pub key_mode: u32,
    /// What is run when they are others than before.
    pub command: Option<Argv>,
    /// How long that may take.
    pub timeout: Duration,
}

impl ExportConfig {
    /// That of the certificate with the second kind of key: a directory in the directory, called after the kind.
    pub(super) fn for_second(&self, key_type: KeyType) -> Self {
        Self {
            directory: self.directory.join(key_type.family()),
            ..self.clone()
        }
    }
}
