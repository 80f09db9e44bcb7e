//! Exclusion, expiry and fencing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use certgate_store::{Batch, Expect, Lease, Store, StoreError};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(30);

pub(crate) async fn one_lease_has_one_holder(store: Arc<dyn Store>) {
    let lease = store.acquire("job", "a", LONG).await.unwrap().unwrap();
    assert_eq!((lease.name(), lease.holder(), lease.ttl()), ("job", "a", LONG));
    assert_eq!(store.acquire("job", "b", LONG).await.unwrap(), None);
    assert!(store.acquire("other", "b", LONG).await.unwrap().is_some());
    assert!(matches!(
        store.acquire("", "b", LONG).await,
        Err(StoreError::InvalidKey { .. })
    ));
}

pub(crate) async fn a_released_lease_is_free_and_releasing_it_again_harms_nobody(store: Arc<dyn Store>) {
    let first = store.acquire("job", "a", LONG).await.unwrap().unwrap();
    store.release(first.clone()).await.unwrap();
    let second = store.acquire("job", "b", LONG).await.unwrap().unwrap();
    assert!(second.token() > first.token());
    store.release(first).await.unwrap();
    store.keep(&second).await.unwrap();
}

pub(crate) async fn an_expired_lease_goes_to_the_next_holder_with_a_larger_token(store: Arc<dyn Store>) {
    let first = store.acquire("job", "a", SHORT).await.unwrap().unwrap();
    let second = taken_over(&*store, "b").await;
    assert!(second.token() > first.token());
    assert!(matches!(store.keep(&first).await, Err(StoreError::LeaseLost { name }) if name == "job"));
}

pub(crate) async fn an_expired_holder_can_neither_write_nor_keep(store: Arc<dyn Store>) {
    let paused = store.acquire("job", "a", SHORT).await.unwrap().unwrap();
    let current = taken_over(&*store, "b").await;

    let late = Batch::new().put("result", "late", Expect::Any).under(&paused);
    assert!(matches!(store.commit(late).await, Err(StoreError::LeaseLost { name }) if name == "job"));
    assert!(matches!(
        store.keep(&paused).await,
        Err(StoreError::LeaseLost { .. })
    ));
    assert_eq!(store.get("result").await.unwrap(), None);

    store
        .commit(Batch::new().put("result", "right", Expect::Any).under(&current))
        .await
        .unwrap();
}

pub(crate) async fn a_kept_lease_outlives_its_first_ttl(store: Arc<dyn Store>) {
    let ttl = Duration::from_secs(2);
    let (start, lease) = (
        Instant::now(),
        store.acquire("job", "a", ttl).await.unwrap().unwrap(),
    );
    while start.elapsed() < ttl + Duration::from_millis(100) {
        store.keep(&lease).await.unwrap();
        tokio::time::sleep(ttl / 20).await;
    }
    assert_eq!(store.acquire("job", "b", LONG).await.unwrap(), None);
    store
        .commit(Batch::new().put("a", "1", Expect::Any).under(&lease))
        .await
        .unwrap();
}

pub(crate) async fn a_batch_under_a_held_lease_commits(store: Arc<dyn Store>) {
    let lease = store.acquire("job", "a", LONG).await.unwrap().unwrap();
    store
        .commit(Batch::new().put("a", "1", Expect::Absent).under(&lease))
        .await
        .unwrap();
    store.release(lease.clone()).await.unwrap();
    let after = store
        .commit(Batch::new().put("a", "2", Expect::Any).under(&lease))
        .await;
    assert!(matches!(after, Err(StoreError::LeaseLost { .. })));
}

pub(crate) async fn a_holder_that_asks_again_loses_its_earlier_lease(store: Arc<dyn Store>) {
    let first = store.acquire("job", "a", LONG).await.unwrap().unwrap();
    let second = store.acquire("job", "a", LONG).await.unwrap().unwrap();
    assert!(second.token() > first.token());
    assert!(store.commit(Batch::new().under(&first)).await.is_err());
    store.commit(Batch::new().under(&second)).await.unwrap();
}

/// Tries until the lease is free.
async fn taken_over(store: &dyn Store, holder: &str) -> Lease {
    loop {
        if let Some(lease) = store.acquire("job", holder, LONG).await.unwrap() {
            return lease;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
