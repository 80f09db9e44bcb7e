//! The names by which CAA records mean the CA, as its directory says them (RFC 8555 §7.1.1).

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::issuer::IssueError;
use crate::issuer::acme::account::Accounts;
use crate::issuer::acme::directory;
use crate::name::DnsName;

/// What the directory said last.
#[derive(Default)]
pub(super) struct Identities {
    /// Held while it is read, so that it is read once.
    said: Mutex<Option<Said>>,
}

struct Said {
    names: Vec<DnsName>,
    good_until: Instant,
}

impl Identities {
    /// The names; what was said before where the CA cannot be asked now. No account is needed.
    pub(super) async fn of(&self, accounts: &Accounts) -> Vec<DnsName> {
        let mut said = self.said.lock().await;
        if let Some(said) = said.as_ref().filter(|said| Instant::now() < said.good_until) {
            return said.names.clone();
        }
        let (names, lasts) = match timeout(PATIENCE, read(accounts)).await {
            Ok(Ok(names)) => (names, LASTS),
            Ok(Err(_)) | Err(_) => (
                said.take().map(|said| said.names).unwrap_or_default(),
                ASKED_AGAIN,
            ),
        };
        let good_until = Instant::now() + lasts;
        said.insert(Said { names, good_until }).names.clone()
    }
}

async fn read(accounts: &Accounts) -> Result<Vec<DnsName>, IssueError> {
    let directory = directory::fetch(&accounts.http().await?, &accounts.config.directory).await;
    let directory = directory.map_err(|failure| failure.during("read the CA's directory"))?;
    let listed = directory.meta.caa_identities.as_array();
    let names = listed.into_iter().flatten().filter_map(|name| name.as_str());
    let names = names.filter_map(|name| DnsName::parse(name).ok());
    Ok(names.take(MOST).collect())
}

/// No order waits longer for this.
const PATIENCE: Duration = Duration::from_secs(3);
/// A CA seldom takes another name.
const LASTS: Duration = Duration::from_secs(86_400);
const ASKED_AGAIN: Duration = Duration::from_secs(60);
const MOST: usize = 20;
