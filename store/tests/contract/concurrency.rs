//! Many tasks at once.

use std::sync::Arc;
use std::time::Duration;

use certgate_store::{Batch, Expect, Store, StoreError};
use tokio::task::JoinSet;

pub(crate) async fn eight_tasks_counting_by_compare_and_swap_lose_nothing(store: Arc<dyn Store>) {
    const EACH: u64 = 50;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let found = store.get("counter").await.unwrap();
                let (count, expect) = match &found {
                    Some(entry) => (number(&entry.value), Expect::Revision(entry.revision)),
                    None => (0, Expect::Absent),
                };
                let batch = Batch::new().put("counter", (count + 1).to_le_bytes(), expect);
                match store.commit(batch).await {
                    Ok(_) => done += 1,
                    Err(StoreError::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(
        number(&store.get("counter").await.unwrap().unwrap().value),
        8 * EACH
    );
}

pub(crate) async fn only_one_of_many_racers_creates_a_key(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            store
                .commit(Batch::new().put("a", [n], Expect::Absent))
                .await
                .is_ok()
        });
    }
    let winners = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
}

pub(crate) async fn only_one_of_many_racers_gets_a_lease(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            store
                .acquire("job", &format!("holder-{n}"), Duration::from_secs(3600))
                .await
                .unwrap()
                .is_some()
        });
    }
    let winners = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes were written"))
}
