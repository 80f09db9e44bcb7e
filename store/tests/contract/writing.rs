//! Conditions, batches and limits.

use std::sync::Arc;

use certgate_store::{Batch, Expect, MAX_KEY_BYTES, MAX_VALUE_BYTES, Revision, Store, StoreError};

pub(crate) async fn revisions_grow_with_every_commit(store: Arc<dyn Store>) {
    let mut last = Revision::default();
    for n in 0..10 {
        let batch = match n % 3 {
            0 => Batch::new().put("a", "x", Expect::Any),
            1 => Batch::new().delete("a", Expect::Any),
            _ => Batch::new(),
        };
        let revision = store.commit(batch).await.unwrap();
        assert!(revision > last);
        assert_eq!(store.revision().await.unwrap(), revision);
        last = revision;
    }
}

pub(crate) async fn a_put_that_expects_nothing_fails_where_something_is(store: Arc<dyn Store>) {
    let revision = store
        .commit(Batch::new().put("a", "1", Expect::Absent))
        .await
        .unwrap();
    match store.commit(Batch::new().put("a", "2", Expect::Absent)).await {
        Err(StoreError::Conflict { key, expected, found }) => {
            assert_eq!(
                (key.as_str(), expected, found),
                ("a", Expect::Absent, Some(revision))
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get("a").await.unwrap().unwrap().value, b"1");
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub(crate) async fn a_put_that_expects_a_revision_fails_where_another_is(store: Arc<dyn Store>) {
    let first = store
        .commit(Batch::new().put("a", "1", Expect::Absent))
        .await
        .unwrap();
    let second = store
        .commit(Batch::new().put("a", "2", Expect::Revision(first)))
        .await
        .unwrap();
    match store
        .commit(Batch::new().put("a", "3", Expect::Revision(first)))
        .await
    {
        Err(StoreError::Conflict { expected, found, .. }) => {
            assert_eq!((expected, found), (Expect::Revision(first), Some(second)));
        }
        other => panic!("{other:?}"),
    }
    let absent = store
        .commit(Batch::new().put("b", "3", Expect::Revision(first)))
        .await;
    assert!(
        matches!(absent, Err(StoreError::Conflict { found: None, .. })),
        "{absent:?}"
    );
}

pub(crate) async fn a_conditional_delete_removes_only_what_it_expects(store: Arc<dyn Store>) {
    let first = store
        .commit(Batch::new().put("a", "1", Expect::Any))
        .await
        .unwrap();
    let second = store
        .commit(Batch::new().put("a", "2", Expect::Any))
        .await
        .unwrap();
    let stale = store
        .commit(Batch::new().delete("a", Expect::Revision(first)))
        .await;
    assert!(matches!(stale, Err(StoreError::Conflict { found, .. }) if found == Some(second)));
    store
        .commit(Batch::new().delete("a", Expect::Revision(second)))
        .await
        .unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
}

pub(crate) async fn deleting_what_is_absent_is_fine_without_a_condition(store: Arc<dyn Store>) {
    store
        .commit(Batch::new().delete("a", Expect::Any).delete("b", Expect::Absent))
        .await
        .unwrap();
    let missing = store
        .commit(Batch::new().delete("a", Expect::Revision(Revision::new(1))))
        .await;
    assert!(matches!(missing, Err(StoreError::Conflict { found: None, .. })));
}

pub(crate) async fn a_batch_with_one_conflict_changes_nothing(store: Arc<dyn Store>) {
    store
        .commit(
            Batch::new()
                .put("old", "1", Expect::Any)
                .put("taken", "1", Expect::Any),
        )
        .await
        .unwrap();
    let before = store.list("").await.unwrap();
    let batch = Batch::new()
        .put("new", "2", Expect::Absent)
        .delete("old", Expect::Any)
        .put("taken", "2", Expect::Absent)
        .put("later", "2", Expect::Any);
    assert!(matches!(store.commit(batch).await, Err(StoreError::Conflict { key, .. }) if key == "taken"));
    assert_eq!(store.list("").await.unwrap(), before);
}

pub(crate) async fn an_invalid_batch_is_refused_whole(store: Arc<dyn Store>) {
    let good = || Batch::new().put("good", "1", Expect::Any);
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    for key in ["", "with space", "a//b", long.as_str()] {
        let refused = store.commit(good().put(key, "1", Expect::Any)).await;
        assert!(
            matches!(refused, Err(StoreError::InvalidKey { .. })),
            "{refused:?}"
        );
    }
    let twice = store.commit(good().delete("good", Expect::Any)).await;
    assert!(matches!(twice, Err(StoreError::RepeatedKey { .. })));
    let big = store
        .commit(good().put("big", vec![0; MAX_VALUE_BYTES + 1], Expect::Any))
        .await;
    assert!(matches!(big, Err(StoreError::TooLarge { .. })));
    assert_eq!(store.revision().await.unwrap(), Revision::default());
}

pub(crate) async fn values_of_every_size_up_to_the_limit_come_back_unchanged(store: Arc<dyn Store>) {
    let key = |size: usize| format!("size/{size}");
    let sizes = [
        0,
        1,
        100,
        40_959,
        40_960,
        40_961,
        81_920,
        300_000,
        MAX_VALUE_BYTES - 1,
        MAX_VALUE_BYTES,
    ];
    for size in sizes {
        let value: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        store
            .commit(Batch::new().put(key(size), value, Expect::Absent))
            .await
            .unwrap();
    }
    for size in sizes {
        let entry = store.get(&key(size)).await.unwrap().unwrap();
        assert_eq!(entry.value.len(), size);
        assert!(
            entry
                .value
                .iter()
                .enumerate()
                .all(|(n, byte)| *byte == (n % 251) as u8)
        );
    }
    let listing = store.list("size/").await.unwrap();
    assert_eq!(
        listing
            .entries
            .iter()
            .map(|entry| entry.value.len())
            .sum::<usize>(),
        sizes.iter().sum::<usize>()
    );
}

pub(crate) async fn a_long_value_replaced_by_a_short_one_leaves_nothing_behind(store: Arc<dyn Store>) {
    for size in [MAX_VALUE_BYTES, 3, 200_000, 90_000, 0] {
        let revision = store
            .commit(Batch::new().put("a", vec![7; size], Expect::Any))
            .await
            .unwrap();
        let listing = store.list("").await.unwrap();
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(listing.entries[0].value, vec![7; size]);
        assert_eq!(listing.entries[0].revision, revision);
    }
    store
        .commit(Batch::new().put("a", vec![1; 200_000], Expect::Any))
        .await
        .unwrap();
    store.commit(Batch::new().delete("a", Expect::Any)).await.unwrap();
    assert!(store.list("").await.unwrap().entries.is_empty());
}
