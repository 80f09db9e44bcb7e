//! What issuers keep: accounts at ACME servers, and the keys of local CAs.

use certgate_store::{Batch, Expect, Revision};
use serde::{Deserialize, Serialize};

use crate::certificate::PrivateKey;
use crate::inventory::{Inventory, InventoryError, Secret, Versioned, format, key, secret};

/// An account at an ACME server (RFC 8555 §7.1.2).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct AccountRecord {
    /// The account's URL and key, as the ACME client writes them.
    pub credentials: Secret,
    /// The directory it belongs to.
    pub directory: String,
    /// Its contact URLs.
    pub contact: Vec<String>,
    /// The same with the key that is about to take the place of its own (RFC 8555 §7.3.5). After a crash only the CA
    /// knows which of the two holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_credentials: Option<Secret>,
}

/// A CA of the gateway's own: a root that signs nothing but the CA that issues.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LocalCaRecord {
    /// The root.
    pub root: CaPair,
    /// The CA that signs certificates for servers.
    pub issuing: CaPair,
    /// The CA that signs certificates for clients, once one was needed. It keeps its key, so that its CRL is about
    /// everything it has ever signed.
    #[serde(default)]
    pub clients: Option<CaPair>,
}

/// A CA's certificate and its key.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CaPair {
    /// The certificate in PEM.
    pub certificate: String,
    /// Its key.
    #[serde(with = "secret::pkcs8")]
    pub key: PrivateKey,
}

impl Inventory {
    /// The account of an issuer.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn account(&self, issuer: &str) -> Result<Option<Versioned<AccountRecord>>, InventoryError> {
        self.read(&key(ACCOUNTS, issuer)).await
    }

    /// Writes the account of an issuer. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when `expect` does not hold.
    pub async fn save_account(
        &self,
        issuer: &str,
        account: &AccountRecord,
        expect: Expect,
    ) -> Result<Revision, InventoryError> {
        self.commit(Batch::new().put(key(ACCOUNTS, issuer), format::encode(account)?, expect))
            .await
    }

    /// Forgets the account of an issuer.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when `expect` does not hold.
    pub async fn remove_account(&self, issuer: &str, expect: Expect) -> Result<(), InventoryError> {
        let batch = Batch::new().delete(key(ACCOUNTS, issuer), expect);
        self.commit(batch).await.map(drop)
    }

    /// The local CA of an issuer.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn local_ca(&self, issuer: &str) -> Result<Option<Versioned<LocalCaRecord>>, InventoryError> {
        self.read(&key(LOCAL_CAS, issuer)).await
    }

    /// Writes the local CA of an issuer. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when `expect` does not hold.
    pub async fn save_local_ca(
        &self,
        issuer: &str,
        local_ca: &LocalCaRecord,
        expect: Expect,
    ) -> Result<Revision, InventoryError> {
        self.commit(Batch::new().put(key(LOCAL_CAS, issuer), format::encode(local_ca)?, expect))
            .await
    }
}

const ACCOUNTS: &str = "accounts/";
const LOCAL_CAS: &str = "local-cas/";
