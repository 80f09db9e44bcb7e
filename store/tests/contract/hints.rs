//! Who is told about changes.

use std::sync::Arc;

use certgate_store::{Batch, Expect, Hint, Store};

pub(crate) async fn a_commit_is_hinted_to_every_reader(store: Arc<dyn Store>) {
    let (mut one, mut two) = (store.hints(), store.hints());
    store
        .commit(Batch::new().put("b", "1", Expect::Any).delete("a", Expect::Any))
        .await
        .unwrap();
    let expected = Hint::Keys(vec!["a".into(), "b".into()]);
    assert_eq!(one.changed().await, expected);
    assert_eq!(two.changed().await, expected);

    store
        .commit(Batch::new().put("c", "1", Expect::Any))
        .await
        .unwrap();
    assert_eq!(one.changed().await, Hint::Keys(vec!["c".into()]));
}

pub(crate) async fn a_failed_commit_is_not_hinted(store: Arc<dyn Store>) {
    store
        .commit(Batch::new().put("a", "1", Expect::Any))
        .await
        .unwrap();
    let mut hints = store.hints();
    store
        .commit(Batch::new().put("a", "2", Expect::Absent))
        .await
        .unwrap_err();
    store
        .commit(Batch::new().put("b", "1", Expect::Any))
        .await
        .unwrap();
    assert_eq!(hints.changed().await, Hint::Keys(vec!["b".into()]));
}

pub(crate) async fn a_reader_that_sleeps_through_many_commits_is_told_to_look_at_everything(
    store: Arc<dyn Store>,
) {
    let mut hints = store.hints();
    for n in 0..600 {
        store
            .commit(Batch::new().put(format!("k/{n}"), "1", Expect::Any))
            .await
            .unwrap();
    }
    assert_eq!(hints.changed().await, Hint::Unknown);
    store
        .commit(Batch::new().put("after", "1", Expect::Any))
        .await
        .unwrap();
    assert_eq!(hints.changed().await, Hint::Keys(vec!["after".into()]));
}
