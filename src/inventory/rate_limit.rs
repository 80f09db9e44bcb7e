//! What is left of CAs' rate limits: for each limit that was used, the moment at which all of it will be there again.

use certgate_store::{Batch, Expect};

use crate::clock::Timestamp;
use crate::inventory::{Inventory, InventoryError, TRIES, Versioned, format, key};

impl Inventory {
    /// Every limit of a CA that was used, sorted by name. What cannot be read is left out.
    ///
    /// # Errors
    /// The store's.
    pub async fn rate_limits(&self, ca: &str) -> Result<Vec<(String, Timestamp)>, InventoryError> {
        let prefix = prefix(ca);
        let listing = self.store.list(&prefix).await?;
        let entries = listing.entries.iter().filter_map(|entry| {
            let name = entry.key.strip_prefix(&prefix)?.to_owned();
            Some((name, format::decode(&entry.key, &entry.value).ok()?))
        });
        Ok(entries.collect())
    }

    /// Changes some limits of a CA at once: `change` is given each with its moment, and says the next one, or `None`
    /// where nothing is to be kept. It may be called again when somebody else changes the same. Durable on return.
    ///
    /// # Errors
    /// [`InventoryError::Conflict`] when somebody else keeps changing them, what `change` says, and the store's.
    pub async fn change_rate_limits<E: From<InventoryError>>(
        &self,
        ca: &str,
        limits: &[String],
        change: impl Fn(&str, Option<Timestamp>) -> Result<Option<Timestamp>, E>,
    ) -> Result<(), E> {
        for tries_left in (0..TRIES).rev() {
            let mut batch = Batch::new();
            for limit in limits {
                let key = key(&prefix(ca), limit);
                // A damaged one counts as unused: the CA will say.
                let known: Option<Versioned<Timestamp>> = match self.read(&key).await {
                    Err(InventoryError::Unreadable { .. }) => None,
                    read => read?,
                };
                let before = known.as_ref().map(|known| known.value);
                let expect = known.map_or(Expect::Any, |known| Expect::Revision(known.revision));
                batch = match change(limit, before)? {
                    Some(next) => batch.put(key, format::encode(&next)?, expect),
                    None if before.is_some() => batch.delete(key, expect),
                    None => batch,
                };
            }
            if batch.is_empty() {
                return Ok(());
            }
            match self.commit(batch).await {
                Err(InventoryError::Conflict { .. }) if tries_left > 0 => {}
                done => return Ok(done.map(drop)?),
            }
        }
        Ok(())
    }
}

fn prefix(ca: &str) -> String {
    format!("rate-limits/{ca}/")
}
