//! What one hook is yet to be told, and what it was not told in the end.

use certgate_store::{Batch, Entry, Expect, Hint, MAX_BATCH_CHANGES, Revision};
use serde::{Deserialize, Serialize};

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::config::HookEvent;
use crate::inventory::notice::NOTICES;
use crate::inventory::{Inventory, InventoryError, Notice, PAGE, Versioned, format, key};

/// One notice on its way to one hook.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Delivery {
    /// What it is about.
    pub notice: Notice,
    /// Attempts that were begun; written before each, so that one that ends the gateway is counted as well.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt: Timestamp,
    /// Why the last one failed; absent where it was interrupted.
    pub error: Option<String>,
}

/// What a hook was not told, since it last was told something.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct GivenUp {
    /// How many notices.
    pub count: u64,
    /// When the last of them was given up.
    pub at: Timestamp,
    /// What that was about.
    pub event: HookEvent,
    /// Whom it was about.
    pub certificate: CertificateName,
    /// Why its last attempt failed.
    pub error: String,
}

impl Delivery {
    /// One that is due at once.
    pub(super) fn first(notice: Notice) -> Self {
        Self {
            attempts: 0,
            next_attempt: notice.at,
            error: None,
            notice,
        }
    }

    pub(super) fn put(&self, batch: Batch, hook: &str, expect: Expect) -> Result<Batch, InventoryError> {
        Ok(batch.put(place(hook, &self.notice.id), format::encode(self)?, expect))
    }
}

impl Inventory {
    /// Everything on its way to `hook`, oldest first. What cannot be read is left out and reported in the log.
    ///
    /// # Errors
    /// The store's.
    pub async fn deliveries(&self, hook: &str) -> Result<Vec<Versioned<Delivery>>, InventoryError> {
        let (prefix, mut found, mut after) = (place(hook, ""), Vec::new(), String::new());
        loop {
            let entries = self.store.page(&prefix, &after, PAGE).await?.entries;
            let is_last = entries.len() < PAGE;
            for entry in entries {
                found.extend(read(&entry));
                after = entry.key;
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Writes how far a delivery has come. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when somebody else has it in hand.
    pub async fn save_delivery(
        &self,
        hook: &str,
        delivery: &Delivery,
        expect: Revision,
    ) -> Result<Revision, InventoryError> {
        let batch = delivery.put(Batch::new(), hook, Expect::Revision(expect))?;
        self.commit(batch).await
    }

    /// Ends deliveries to `hook`: they have arrived, or `given_up` says what has not. Durable on return.
    ///
    /// # Errors
    /// The store's; some may have been ended, and the others can be ended again.
    pub async fn end_deliveries(
        &self,
        hook: &str,
        deliveries: &[Delivery],
        given_up: Option<&GivenUp>,
    ) -> Result<(), InventoryError> {
        for deliveries in deliveries.chunks(MAX_BATCH_CHANGES - 1) {
            let batch = deliveries.iter().fold(Batch::new(), |batch, delivery| {
                batch.delete(place(hook, &delivery.notice.id), Expect::Any)
            });
            self.commit(match given_up {
                Some(given_up) => batch.put(key(GIVEN_UP, hook), format::encode(given_up)?, Expect::Any),
                None => batch.delete(key(GIVEN_UP, hook), Expect::Any),
            })
            .await?;
        }
        Ok(())
    }

    /// What `hook` was not told since it last was told something.
    ///
    /// # Errors
    /// [`InventoryError::Unreadable`] when the record is damaged.
    pub async fn given_up(&self, hook: &str) -> Result<Option<GivenUp>, InventoryError> {
        Ok(self.read(&key(GIVEN_UP, hook)).await?.map(|known| known.value))
    }

    /// Forgets what is on its way to hooks that are none of `known`, and what they were not told; how much that was.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_other_hooks(&self, known: impl Fn(&str) -> bool) -> Result<usize, InventoryError> {
        let mut forgotten = 0;
        for prefix in [DELIVERIES, GIVEN_UP] {
            let mut after = String::new();
            loop {
                let entries = self.store.page(prefix, &after, PAGE).await?.entries;
                let is_last = entries.len() < PAGE;
                let of_others = entries.iter().filter(|entry| {
                    let rest = entry.key.strip_prefix(prefix).unwrap_or_default();
                    !known(rest.split('/').next().unwrap_or_default())
                });
                let batch =
                    of_others.fold(Batch::new(), |batch, entry| batch.delete(&entry.key, Expect::Any));
                forgotten += batch.len();
                if !batch.is_empty() {
                    self.commit(batch).await?;
                }
                match entries.into_iter().next_back() {
                    Some(last) if !is_last => after = last.key,
                    _ => break,
                }
            }
        }
        Ok(forgotten)
    }
}

/// Whether what a hint is about may be something to tell.
pub fn may_be_told(hint: &Hint) -> bool {
    match hint {
        Hint::Keys(keys) => keys.iter().any(|key| key.starts_with(NOTICES)),
        Hint::Unknown => true,
    }
}

fn read(entry: &Entry) -> Option<Versioned<Delivery>> {
    match format::decode(&entry.key, &entry.value) {
        Ok(value) => Some(Versioned {
            value,
            revision: entry.revision,
        }),
        Err(error) => {
            tracing::error!(key = entry.key, %error, "what it says is not delivered");
            None
        }
    }
}

/// No hook's name has a slash.
fn place(hook: &str, id: &str) -> String {
    format!("{DELIVERIES}{hook}/{id}")
}

const DELIVERIES: &str = "deliveries/";
const GIVEN_UP: &str = "given-up/";
