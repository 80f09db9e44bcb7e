//! Accounts at servers of acme-dns that were registered here, one for each name.

use certgate_store::{Batch, Expect};
use serde::{Deserialize, Serialize};

use crate::inventory::{Inventory, InventoryError, Secret, format, key};
use crate::name::DnsName;

/// An account as acme-dns gives it out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AcmeDnsAccount {
    /// Who may change its record.
    pub username: Secret,
    /// And by what.
    pub password: Secret,
    /// Where its record is; the alias of the name has to lead there.
    pub fulldomain: String,
    /// The account's own part of that.
    pub subdomain: String,
}

impl Inventory {
    /// The account for `domain` at the server with this URL, if one was registered.
    ///
    /// # Errors
    /// [`InventoryError`] when it cannot be read.
    pub async fn acme_dns_account(
        &self,
        server: &str,
        domain: &DnsName,
    ) -> Result<Option<AcmeDnsAccount>, InventoryError> {
        let known = self.read(&account_key(server, domain)).await?;
        Ok(known.map(|known| known.value))
    }

    /// Keeps an account that was just registered, the first for `domain` at this server. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] where there is one, and the store's.
    pub async fn save_acme_dns_account(
        &self,
        server: &str,
        domain: &DnsName,
        account: &AcmeDnsAccount,
    ) -> Result<(), InventoryError> {
        let batch = Batch::new().put(
            account_key(server, domain),
            format::encode(account)?,
            Expect::Absent,
        );
        self.commit(batch).await.map(drop)
    }
}

fn account_key(server: &str, domain: &DnsName) -> String {
    // A key has no empty parts, as `https://` would be one.
    let server = server.replace('/', "_");
    key(ACCOUNTS, format_args!("{domain}/{server}"))
}

const ACCOUNTS: &str = "acme-dns/";
