//! The audit trail: who asked for which change, and what came of it. The newest [`AUDIT_RECORDS`] are kept.

use certgate_store::{Batch, Expect};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, TRIES, format, key};

/// How many records are kept; each new one takes the place of the oldest.
pub const AUDIT_RECORDS: u64 = 10_000;

/// One request for a change, or what the gateway has done by itself.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AuditRecord {
    /// Its place in the trail: 1 for the first, and one more for each.
    pub number: u64,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked.
    pub caller: Caller,
    /// The HTTP method; empty where nobody asked.
    pub method: String,
    /// The path of what was to be changed.
    pub resource: String,
    /// `put`, `patch`, `delete`, or the action's name; with the query where there was one, as in `renew?even_if=dns`. Of the
    /// gateway itself: `activate`, the spare is served or no longer, and `fail-over`, another issuer is asked.
    pub action: String,
    /// What it was before, without secrets, and of long values only length and SHA-256; null where there was nothing.
    pub before: Option<Value>,
    /// What it was after, without secrets; null where there was nothing, or nothing was done.
    pub after: Option<Value>,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// The HTTP status of the answer; null as long as the outcome is `begun`, and where nobody asked.
    pub status: Option<u16>,
    /// Why it was refused or has failed; of the gateway itself, what it has done and why.
    pub detail: Option<String>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// It is being carried out, or the gateway ended before the end of it was written: it may have been done.
    Begun,
    /// It was done.
    Done,
    /// The gateway could not do it.
    Failed,
    /// It was not allowed, or not possible; nothing was changed.
    Refused,
}

/// Who made a request.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Caller {
    /// `user:NAME` on the Unix socket, `token:NAME` on TCP, `certgate` for the gateway itself.
    pub name: String,
    /// On the Unix socket: the user id of the process.
    pub uid: Option<u32>,
    /// On the Unix socket: its group id.
    pub gid: Option<u32>,
    /// On the Unix socket: its process id.
    pub pid: Option<i32>,
    /// On TCP: where the connection comes from.
    pub address: Option<String>,
    /// On TLS with client certificates: the subject of the caller's.
    pub certificate: Option<String>,
}

/// The trail of one store.
pub struct AuditLog {
    inventory: Inventory,
    /// The newest number; absent before the first look.
    last: Mutex<Option<u64>>,
}

impl AuditLog {
    /// The trail in `inventory`.
    pub fn new(inventory: Inventory) -> Self {
        Self {
            inventory,
            last: Mutex::new(None),
        }
    }

    /// Gives `record` the next number and writes it. Durable on return.
    ///
    /// # Errors
    /// The store's; nothing is written then, or it is not known.
    pub async fn append(&self, record: &mut AuditRecord) -> Result<(), InventoryError> {
        let mut last = self.last.lock().await;
        for tries_left in (0..TRIES).rev() {
            let number = match *last {
                Some(last) => last,
                None => self.newest().await?,
            } + 1;
            record.number = number;
            let mut batch = Batch::new().put(place(number), format::encode(record)?, Expect::Absent);
            if let Some(oldest) = number.checked_sub(AUDIT_RECORDS).filter(|oldest| *oldest > 0) {
                batch = batch.delete(place(oldest), Expect::Any);
            }
            // Where it fails, what is there has to be looked at again.
            *last = None;
            match self.inventory.commit(batch).await {
                Err(error) => match error {
                    InventoryError::Conflict { .. } if tries_left > 0 => {}
                    error => return Err(error),
                },
                Ok(_) => {
                    *last = Some(number);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Writes what came of a record that was appended. Durable on return.
    ///
    /// # Errors
    /// The store's.
    pub async fn amend(&self, record: &AuditRecord) -> Result<(), InventoryError> {
        let batch = Batch::new().put(place(record.number), format::encode(record)?, Expect::Any);
        self.inventory.commit(batch).await.map(drop)
    }

    /// At most `limit` records, oldest first: those with a number above `after`, or the newest ones without it. A
    /// record that cannot be read is left out and reported in the log.
    ///
    /// # Errors
    /// The store's.
    pub async fn after(&self, after: Option<u64>, limit: u16) -> Result<Vec<AuditRecord>, InventoryError> {
        let after = match after {
            Some(after) => after,
            None => self.newest().await?.saturating_sub(u64::from(limit)),
        };
        let store = &self.inventory.store;
        let page = store.page(AUDIT, &place(after), usize::from(limit)).await?;
        let readable = page.entries.into_iter().filter_map(|entry| {
            format::decode(&entry.key, &entry.value)
                .inspect_err(|error| tracing::error!(key = entry.key, %error, "a record of the audit trail cannot be read"))
                .ok()
        });
        Ok(readable.collect())
    }

    async fn newest(&self) -> Result<u64, InventoryError> {
        let (mut newest, mut after) = (0, String::new());
        loop {
            let page = self.inventory.store.page(AUDIT, &after, PAGE).await?;
            if let Some(last) = page.entries.last() {
                after.clone_from(&last.key);
                let number = last.key.strip_prefix(AUDIT).and_then(|text| text.parse().ok());
                newest = number.unwrap_or(newest);
            }
            if page.entries.len() < PAGE {
                return Ok(newest);
            }
        }
    }
}

fn place(number: u64) -> String {
    key(AUDIT, format!("{number:020}"))
}

const AUDIT: &str = "audit/";
const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certgate_store::MemoryStore;

    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            number: 0,
            at: Timestamp::from_unix_seconds(1),
            caller: Caller::default(),
            method: "PUT".to_owned(),
            resource: "/v1/certificates/www".to_owned(),
            action: "put".to_owned(),
            before: None,
            after: None,
            outcome: AuditOutcome::Begun,
            status: None,
            detail: None,
        }
    }

    async fn appended(log: &AuditLog) -> u64 {
        let mut record = record();
        log.append(&mut record).await.unwrap();
        record.number
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart() {
        let inventory = Inventory::new(Arc::new(MemoryStore::new()));
        let log = AuditLog::new(inventory.clone());
        assert_eq!((appended(&log).await, appended(&log).await), (1, 2));
        assert_eq!(appended(&AuditLog::new(inventory)).await, 3);
    }

    #[tokio::test]
    async fn two_gateways_that_share_a_store_never_overwrite_each_others_records() {
        let inventory = Inventory::new(Arc::new(MemoryStore::new()));
        let (one, other) = (AuditLog::new(inventory.clone()), AuditLog::new(inventory));
        let numbers = [appended(&one).await, appended(&other).await, appended(&one).await];
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[tokio::test]
    async fn only_the_newest_are_kept_and_the_newest_are_shown_unasked() {
        let inventory = Inventory::new(Arc::new(MemoryStore::new()));
        let log = AuditLog::new(inventory);
        for _ in 0..AUDIT_RECORDS + 3 {
            appended(&log).await;
        }
        let numbers = async |after, limit| -> Vec<u64> {
            let records = log.after(after, limit).await.unwrap();
            records.iter().map(|record| record.number).collect()
        };
        assert_eq!(numbers(Some(0), 2).await, [4, 5], "the oldest three have gone");
        assert_eq!(numbers(None, 2).await, [AUDIT_RECORDS + 2, AUDIT_RECORDS + 3]);
        assert_eq!(numbers(Some(AUDIT_RECORDS + 3), 2).await, [0; 0]);
    }

    #[tokio::test]
    async fn what_came_of_a_request_takes_the_place_of_its_beginning() {
        let log = AuditLog::new(Inventory::new(Arc::new(MemoryStore::new())));
        let mut asked = record();
        log.append(&mut asked).await.unwrap();
        asked.outcome = AuditOutcome::Done;
        log.amend(&asked).await.unwrap();
        assert_eq!(log.after(None, 10).await.unwrap(), [asked]);
    }
}
