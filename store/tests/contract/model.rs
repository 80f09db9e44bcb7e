//! Random operations, compared with a map after each step.

use std::collections::BTreeMap;
use std::sync::Arc;

use certgate_store::{Batch, Expect, Revision, Store, StoreError};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// What one change expects: nothing, anything, what is there now, or something long gone.
#[derive(Clone, Copy, Debug)]
enum Hope {
    Absent,
    Any,
    Current,
    Stale,
}

/// A change of key number `.0`: the size of its new value (`None` deletes) and its condition.
type Step = (u8, Option<usize>, Hope);

pub(crate) async fn random_operations_do_what_a_map_does(store: Arc<dyn Store>) {
    let mut runner = TestRunner::default();
    let mut model: BTreeMap<String, (Vec<u8>, Revision)> = BTreeMap::new();
    for round in 0..150_u32 {
        let steps = batches().new_tree(&mut runner).unwrap().current();
        let before = store.revision().await.unwrap();
        let (batch, holds) = build(&steps, &model, round);
        match store.commit(batch).await {
            Ok(revision) => {
                assert!(holds, "{steps:?} should have met a conflict");
                assert!(revision > before);
                for (n, size, _) in &steps {
                    match size {
                        Some(size) => model.insert(key(*n), (value(*size, round), revision)),
                        None => model.remove(&key(*n)),
                    };
                }
            }
            Err(StoreError::Conflict { .. }) => {
                assert!(!holds, "{steps:?} should not have met a conflict");
                assert_eq!(store.revision().await.unwrap(), before);
            }
            Err(other) => panic!("{other}"),
        }
        for prefix in ["", "k", "k1", "k1/"] {
            compare(&*store, &model, prefix).await;
        }
    }
}

async fn compare(store: &dyn Store, model: &BTreeMap<String, (Vec<u8>, Revision)>, prefix: &str) {
    let listed = store.list(prefix).await.unwrap().entries;
    let wanted: Vec<_> = model.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
    assert_eq!(listed.len(), wanted.len(), "prefix {prefix:?}");
    for (entry, (key, (value, revision))) in listed.iter().zip(wanted) {
        assert_eq!((&entry.key, entry.revision), (key, *revision));
        assert!(entry.value == *value, "value of {key}");
        assert_eq!(store.get(key).await.unwrap().as_ref(), Some(entry));
    }
}

fn batches() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![8 => 0..200_usize, 1 => 30_000..130_000_usize];
    let hope = prop_oneof![
        1 => Just(Hope::Absent),
        6 => Just(Hope::Any),
        4 => Just(Hope::Current),
        1 => Just(Hope::Stale),
    ];
    prop::collection::btree_map(0..24_u8, (prop::option::weighted(0.7, size), hope), 0..5).prop_map(|steps| {
        steps
            .into_iter()
            .map(|(n, (size, hope))| (n, size, hope))
            .collect()
    })
}

fn build(steps: &[Step], model: &BTreeMap<String, (Vec<u8>, Revision)>, round: u32) -> (Batch, bool) {
    let (mut batch, mut holds) = (Batch::new(), true);
    for (n, size, hope) in steps {
        let current = model.get(&key(*n)).map(|(_, revision)| *revision);
        let expect = match (hope, current) {
            (Hope::Any, _) => Expect::Any,
            (Hope::Absent, _) | (Hope::Current, None) => Expect::Absent,
            (Hope::Current, Some(revision)) => Expect::Revision(revision),
            (Hope::Stale, _) => Expect::Revision(Revision::new(u64::MAX)),
        };
        holds &= match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current == Some(revision),
        };
        batch = match size {
            Some(size) => batch.put(key(*n), value(*size, round), expect),
            None => batch.delete(key(*n), expect),
        };
    }
    (batch, holds)
}

fn key(n: u8) -> String {
    format!("k{}/{}", n % 4, n)
}

fn value(size: usize, round: u32) -> Vec<u8> {
    round.to_le_bytes().into_iter().cycle().take(size).collect()
}
