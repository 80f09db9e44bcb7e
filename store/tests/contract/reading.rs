//! Getting and listing.

use std::sync::Arc;

use certgate_store::{Batch, Expect, Revision, Store, StoreError};

pub(crate) async fn an_empty_store_has_revision_zero_and_nothing_in_it(store: Arc<dyn Store>) {
    assert_eq!(store.revision().await.unwrap(), Revision::default());
    assert_eq!(store.get("a").await.unwrap(), None);
    let listing = store.list("").await.unwrap();
    assert!(listing.entries.is_empty());
    assert_eq!(listing.revision, Revision::default());
}

pub(crate) async fn what_was_written_is_read_with_the_revision_of_its_commit(store: Arc<dyn Store>) {
    let first = store
        .commit(Batch::new().put("a", "1", Expect::Any))
        .await
        .unwrap();
    let second = store
        .commit(Batch::new().put("b", "2", Expect::Any))
        .await
        .unwrap();

    let a = store.get("a").await.unwrap().unwrap();
    assert_eq!(
        (a.key.as_str(), a.value.as_slice(), a.revision),
        ("a", &b"1"[..], first)
    );
    assert_eq!(store.get("b").await.unwrap().unwrap().revision, second);
    assert_eq!(store.revision().await.unwrap(), second);
    assert!(matches!(store.get("").await, Err(StoreError::InvalidKey { .. })));
}

pub(crate) async fn a_listing_is_sorted_and_holds_the_prefix_only(store: Arc<dyn Store>) {
    let mut batch = Batch::new();
    for key in ["b/2", "a/9", "b", "b/10", "b0", "c", "b/1", "b/1/x", "~"] {
        batch = batch.put(key, key, Expect::Absent);
    }
    let revision = store.commit(batch).await.unwrap();

    let keys = async |prefix: &str| {
        let listing = store.list(prefix).await.unwrap();
        assert_eq!(listing.revision, revision);
        assert!(
            listing
                .entries
                .iter()
                .all(|entry| entry.value == entry.key.as_bytes())
        );
        listing
            .entries
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys("b/").await, ["b/1", "b/1/x", "b/10", "b/2"]);
    assert_eq!(keys("b").await, ["b", "b/1", "b/1/x", "b/10", "b/2", "b0"]);
    assert_eq!(keys("nothing").await, [""; 0]);
    assert_eq!(keys("").await.len(), 9);
}

pub(crate) async fn pages_hold_what_a_listing_holds_whatever_their_size(store: Arc<dyn Store>) {
    let mut batch = Batch::new();
    for key in ["b/2", "a/9", "b", "b/10", "b0", "c", "b/1", "b/1/x", "~"] {
        batch = batch.put(key, vec![1; 40_000], Expect::Absent);
    }
    store.commit(batch).await.unwrap();
    for prefix in ["", "b", "b/", "b/1", "nothing"] {
        let listed = store.list(prefix).await.unwrap().entries;
        for limit in 1..11 {
            let (mut paged, mut after) = (Vec::new(), String::new());
            loop {
                let page = store.page(prefix, &after, limit).await.unwrap().entries;
                assert!(page.len() <= limit);
                let is_last = page.len() < limit;
                after = page.last().map_or(after, |last| last.key.clone());
                paged.extend(page);
                if is_last {
                    break;
                }
            }
            assert_eq!(paged, listed, "prefix {prefix:?} in pages of {limit}");
        }
    }
}

pub(crate) async fn a_listing_shows_one_moment_while_batches_are_committed(store: Arc<dyn Store>) {
    const KEYS: usize = 40;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..60_u32 {
                let batch = (0..KEYS).fold(Batch::new(), |batch, n| {
                    batch.put(format!("k/{n:02}"), round.to_le_bytes(), Expect::Any)
                });
                store.commit(batch).await.unwrap();
            }
        })
    };
    let mut before = Revision::default();
    while !writer.is_finished() {
        let listing = store.list("k/").await.unwrap();
        assert!(listing.revision >= before);
        before = listing.revision;
        let Some(first) = listing.entries.first() else {
            continue;
        };
        assert_eq!(listing.entries.len(), KEYS);
        assert!(
            listing.entries.iter().all(|entry| entry.value == first.value),
            "a torn batch was listed"
        );
        assert_eq!(first.revision, listing.revision);
    }
    writer.await.unwrap();
}
