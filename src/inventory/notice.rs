//! What has happened and is to be told: written in the commit that makes it so, and kept until somebody has been told.

use aws_lc_rs::digest::{SHA256, digest};
use certgate_store::{Batch, Expect, Lease, MAX_BATCH_CHANGES, Revision};
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateName, Leaf};
use crate::clock::Timestamp;
use crate::config::HookEvent;
use crate::inventory::{CertificateRecord, Delivery, Inventory, InventoryError, PAGE, format, key};
use crate::name::NamePattern;

/// Something that has happened to a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Notice {
    /// Tells it from every other one, and sorts by time.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// To which.
    pub certificate: CertificateName,
    /// What.
    pub event: HookEvent,
    /// In words.
    pub detail: String,
    /// The certificate that is there; none before the first.
    pub leaf: Option<Leaf>,
    /// The names that are wanted, where there is no certificate to say them; from when it is known whom to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<NamePattern>,
    /// The issuer, by its name in the configuration; absent where none plays a part.
    pub issuer: Option<String>,
    /// When something will be tried next.
    pub next_attempt: Option<Timestamp>,
}

impl Notice {
    /// What has happened to `certificate`, in few words; the rest is filled in by who knows it.
    pub fn new(event: HookEvent, certificate: CertificateName, at: Timestamp, detail: String) -> Self {
        let hash = digest(&SHA256, format!("{event}\n{certificate}\n{detail}").as_bytes());
        let hash: String = hash
            .as_ref()
            .iter()
            .take(8)
            .map(|octet| format!("{octet:02x}"))
            .collect();
        Self {
            id: format!("{:013}-{hash}", at.unix_milliseconds().max(0)),
            at,
            certificate,
            event,
            detail,
            leaf: None,
            domains: Vec::new(),
            issuer: None,
            next_attempt: None,
        }
    }

    pub(super) fn put(&self, batch: Batch) -> Result<Batch, InventoryError> {
        Ok(batch.put(key(NOTICES, &self.id), format::encode(self)?, Expect::Any))
    }
}

impl Inventory {
    /// Writes what has happened, where nothing else is to be written with it. Durable on return.
    ///
    /// # Errors
    /// The store's.
    pub async fn tell(&self, notice: &Notice) -> Result<(), InventoryError> {
        self.commit(notice.put(Batch::new())?).await.map(drop)
    }

    /// As [`save_certificate`](Self::save_certificate), with what that change means for others: both or nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn save_certificate_and_tell(
        &self,
        record: &CertificateRecord,
        notice: Option<&Notice>,
        expect: Expect,
        lease: &Lease,
    ) -> Result<Revision, InventoryError> {
        let batch = self.saved(record, expect)?.under(lease);
        self.commit(with(batch, notice)?).await
    }

    /// At most `limit` of what is to be told and has not been addressed yet, oldest first. What cannot be read is left
    /// out and reported in the log.
    ///
    /// # Errors
    /// The store's.
    pub async fn notices(&self, limit: usize) -> Result<Vec<Notice>, InventoryError> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let entries = self.store.page(NOTICES, &after, PAGE).await?.entries;
            let is_last = entries.len() < PAGE;
            for entry in entries {
                match format::decode(&entry.key, &entry.value) {
                    Ok(notice) => found.push(notice),
                    Err(error) => {
                        tracing::error!(key = entry.key, %error, "what it says is told to nobody");
                    }
                }
                after = entry.key;
            }
            if is_last || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    /// Gives each of `addressed` to the hooks beside it: from then on each hook has a delivery of its own. Durable on
    /// return.
    ///
    /// # Errors
    /// The store's; some may have been given, and the others can be given again.
    pub async fn address(&self, addressed: &[(Notice, Vec<String>)]) -> Result<(), InventoryError> {
        let mut batch = Batch::new();
        for (notice, hooks) in addressed {
            if batch.len() + hooks.len() >= MAX_BATCH_CHANGES {
                self.commit(std::mem::take(&mut batch)).await?;
            }
            batch = batch.delete(key(NOTICES, &notice.id), Expect::Any);
            for hook in hooks {
                batch = Delivery::first(notice.clone()).put(batch, hook, Expect::Any)?;
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.commit(batch).await.map(drop),
        }
    }
}

pub(super) fn with(batch: Batch, notice: Option<&Notice>) -> Result<Batch, InventoryError> {
    match notice {
        Some(notice) => notice.put(batch),
        None => Ok(batch),
    }
}

/// Where notices are: a hint about such a key says that there may be one.
pub(super) const NOTICES: &str = "notices/";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use certgate_store::{Hint, MemoryStore};

    use super::*;

    fn notice(seconds: i64) -> Notice {
        let www = CertificateName::parse("www").unwrap();
        let at = Timestamp::from_unix_seconds(seconds);
        Notice::new(HookEvent::Failed, www, at, "no answer".to_owned())
    }

    #[tokio::test]
    async fn a_notice_is_written_in_the_commit_of_what_it_tells_of_or_neither_is() {
        let inventory = Inventory::new(Arc::new(MemoryStore::new()));
        let record = CertificateRecord::wanted(CertificateName::parse("www").unwrap());
        let lease = inventory
            .lease("one", Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        let (first, mut hints) = (notice(1), inventory.hints());
        let told = inventory.save_certificate_and_tell(&record, Some(&first), Expect::Absent, &lease);
        told.await.unwrap();
        let Hint::Keys(keys) = hints.changed().await else {
            panic!("too much happened to tell");
        };
        assert_eq!(*keys, ["certificates/www".to_owned(), key(NOTICES, &first.id)]);

        // It is there already: nothing of this is written.
        let second = notice(2);
        let told = inventory.save_certificate_and_tell(&record, Some(&second), Expect::Absent, &lease);
        told.await.unwrap_err();
        assert_eq!(inventory.notices(10).await.unwrap(), [first]);
    }

    #[tokio::test]
    async fn an_addressed_notice_is_a_delivery_for_each_hook_and_a_notice_no_more() {
        let inventory = Inventory::new(Arc::new(MemoryStore::new()));
        let (one, other) = (notice(1), notice(2));
        for notice in [&other, &one] {
            inventory.tell(notice).await.unwrap();
        }
        assert_eq!(
            inventory.notices(1).await.unwrap(),
            std::slice::from_ref(&one),
            "oldest first"
        );
        let hooks = ["deploy", "pager"].map(str::to_owned).to_vec();
        let addressed = [(one.clone(), hooks), (other, Vec::new())];
        inventory.address(&addressed).await.unwrap();
        // A crash in between addresses them once more, to the same effect.
        inventory.address(&addressed).await.unwrap();
        assert_eq!(inventory.notices(10).await.unwrap(), []);
        for hook in ["deploy", "pager"] {
            let waiting = inventory.deliveries(hook).await.unwrap();
            assert_eq!(waiting.len(), 1);
            assert_eq!(waiting[0].value.notice, one);
        }
        assert_eq!(
            inventory
                .forget_other_hooks(|hook| hook == "pager")
                .await
                .unwrap(),
            1
        );
        assert_eq!(inventory.deliveries("deploy").await.unwrap(), []);
        assert_eq!(inventory.deliveries("pager").await.unwrap().len(), 1);
    }
}
