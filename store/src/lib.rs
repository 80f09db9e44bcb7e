//! Bytes under keys, kept safely: revisions, conditional writes, change hints and fenced leases.
//!
//! A [`Store`] holds entries: a key, a value and the [`Revision`] of the entry's last change. The revision
//! belongs to the whole store and grows with every commit, so it orders all changes. A [`Batch`] is applied
//! whole or not at all, and each of its changes may say what it [`Expect`]s to find, so two writers never
//! overwrite each other unseen. A [`Lease`] makes one holder responsible for something for a while; its token
//! fences writes, so a holder that was paused past its lease cannot write. [`Hints`] tell which keys changed,
//! or that too much happened to tell.
//!
//! Backends: [`MemoryStore`] for tests and throw-away gateways, [`EmbeddedStore`] on a local disk. They pass
//! one contract suite. This crate knows nothing of what the bytes mean.
//!
//! ```
//! use certgate_store::{Batch, Expect, MemoryStore, Store, StoreError};
//!
//! # async fn example() -> Result<(), StoreError> {
//! let store = MemoryStore::new();
//! store.commit(Batch::new().put("a/1", b"one".to_vec(), Expect::Absent)).await?;
//!
//! let found = store.get("a/1").await?.expect("just written");
//! store.commit(Batch::new().put("a/1", b"two".to_vec(), Expect::Revision(found.revision))).await?;
//!
//! // The same condition no longer holds: nothing is written.
//! let late = Batch::new().put("a/1", b"three".to_vec(), Expect::Revision(found.revision));
//! assert!(matches!(store.commit(late).await, Err(StoreError::Conflict { .. })));
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
//! ```

use std::time::Duration;

use async_trait::async_trait;

mod batch;
pub mod embedded;
mod entry;
mod error;
mod hint;
mod key;
mod lease;
pub mod memory;

pub use batch::{Batch, Expect, MAX_BATCH_CHANGES, MAX_VALUE_BYTES};
pub use embedded::EmbeddedStore;
pub use entry::{Entry, Listing, Revision};
pub use error::StoreError;
pub use hint::{Hint, Hints};
pub use key::MAX_KEY_BYTES;
pub use lease::Lease;
pub use memory::MemoryStore;

/// Where certgate keeps what must outlive a connection, a reload or the process.
///
/// Every method may be called from many tasks at once; commits are applied one after the other. Dropping the
/// future of a call that writes does not undo it: the write may or may not happen.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry under `key`, or `None`. Sees every commit acknowledged before the call, never one that could
    /// still be lost.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All entries whose key starts with `prefix` (all there are, for an empty prefix), sorted by key, as
    /// they were at one moment. Reads no other entries.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// At most `limit` of the entries whose key starts with `prefix` and comes after `after`, sorted by key, as they
    /// were at one moment. For going through many without holding them all: the last key of a page is the next
    /// page's `after`, beginning with an empty one; a page with fewer than `limit` is the last.
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, StoreError>;

    /// Applies the whole batch, or nothing of it. Durable when it returns `Ok`; the revision is that of this
    /// commit.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a condition does not hold, [`StoreError::LeaseLost`] when the lease the
    /// batch runs under is gone; nothing is written then. After [`StoreError::Io`] and
    /// [`StoreError::Damaged`] it is unknown whether the batch survives a restart: read again.
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError>;

    /// Returns once what was committed before is kept a second time, outside the database, so that damage to the
    /// database cannot take it back: for changes that must not be undone unnoticed. Slower than a commit.
    ///
    /// # Errors
    /// [`StoreError`] when that copy could not be written. What was committed is as durable as before.
    async fn checkpoint(&self) -> Result<(), StoreError>;

    /// Hints about the keys changed by commits from now on. To miss nothing: ask for hints first, then read.
    fn hints(&self) -> Hints;

    /// Takes the lease called `name` for `holder`, for `ttl`. `None`: somebody else holds it.
    ///
    /// A holder asking for what it holds already gets the lease anew, with a new token; the earlier one is
    /// lost. So `holder` names whoever must be kept apart: a node, or a node and a task.
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Extends the lease: its time to live starts again now.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when it expired, was released, or went to another holder.
    async fn keep(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Gives the lease back. No error when it is lost already: the outcome is the same.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;

    /// The revision of the latest commit; zero for a store never written to. Taking a lease counts as a
    /// commit.
    async fn revision(&self) -> Result<Revision, StoreError>;
}
