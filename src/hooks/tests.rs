use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use certgate_store::MemoryStore;
use tokio::sync::watch;

use super::*;
use crate::certificate::CertificateName;
use crate::clock::{ManualClock, Timestamp};
use crate::config::{Environment, HookEvent, load};
use crate::inventory::Notice;

/// Hooks of a configuration with `tables`, on a clock that stands still.
fn hooks(tables: &str) -> (Hooks, ManualClock) {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let listener = "[listeners.plain]\nport = 80\nprotocol = \"http\"\n";
    std::fs::write(file.path(), format!("{listener}{tables}")).unwrap();
    let environment = Environment {
        state_directory: None,
        cores: 1,
    };
    let config = load(file.path(), &environment).unwrap().config;
    let clock = ManualClock::new(Timestamp::from_unix_seconds(1_795_000_000));
    let hooks = Hooks {
        inventory: Inventory::new(Arc::new(MemoryStore::new())),
        clock: Arc::new(clock.clone()),
        metrics: Arc::new(Metrics::new()),
        config: Arc::new(ArcSwap::from_pointee(config)),
        desired: watch::Sender::new(Arc::from([])).subscribe(),
        problems: Problems::default(),
        told: Arc::new(|_| {}),
    };
    (hooks, clock)
}

fn notice(at: Timestamp) -> Notice {
    let www = CertificateName::parse("www").unwrap();
    Notice::new(HookEvent::Failed, www, at, "no answer".to_owned())
}

/// Lets hooks work until `done` says so.
async fn until(hooks: &Hooks, done: impl AsyncFn() -> bool) {
    let working = hooks.clone().run(std::future::pending());
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = working => {}
        () = waiting => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("{:?}", hooks.problems.lines()),
    }
}

#[tokio::test]
async fn of_more_than_a_hook_may_have_waiting_the_oldest_are_given_up() {
    let (hooks, clock) = hooks("[hooks.pager]\ncommand = [\"true\"]\n");
    // Not due yet, so that nothing of it is attempted.
    let later = clock.now() + Duration::from_secs(3600);
    for number in 0..1003 {
        let at = later + Duration::from_secs(number);
        hooks.inventory.tell(&notice(at)).await.unwrap();
    }
    until(&hooks, async || !hooks.problems.lines().is_empty()).await;
    let waiting = hooks.inventory.deliveries("pager").await.unwrap();
    assert_eq!(waiting.len(), 1000);
    assert_eq!(waiting[0].value.notice.at, later + Duration::from_secs(3));
    let given_up = hooks.inventory.given_up("pager").await.unwrap().unwrap();
    assert_eq!(given_up.count, 3);
    let metrics = hooks.metrics.encode();
    for line in [
        "certgate_hook_waiting{hook=\"pager\"} 1000",
        "certgate_hook_deliveries_total{hook=\"pager\",result=\"given-up\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_hook_that_fails_is_tried_for_two_days_and_then_no_more() {
    let (hooks, clock) = hooks("[hooks.pager]\ncommand = [\"false\"]\n");
    let told = notice(clock.now());
    hooks.inventory.tell(&told).await.unwrap();
    let begun = clock.now();
    for attempt in 1..=9 {
        until(&hooks, async || {
            let waiting = hooks.inventory.deliveries("pager").await.unwrap();
            let delivery = waiting.first().map(|delivery| &delivery.value);
            delivery.is_some_and(|delivery| delivery.attempts == attempt && delivery.error.is_some())
        })
        .await;
        let waiting = hooks.inventory.deliveries("pager").await.unwrap();
        let delivery = &waiting[0].value;
        let pause = back_off::after_failure(attempt, 10).unwrap();
        assert_eq!(
            delivery.next_attempt,
            clock.now() + pause,
            "after attempt {attempt}"
        );
        assert!(delivery.error.as_ref().unwrap().contains("exit status: 1"));
        clock.set(delivery.next_attempt);
    }
    until(&hooks, async || {
        hooks.inventory.deliveries("pager").await.unwrap().is_empty()
    })
    .await;
    let two_days = clock.now().since(begun);
    assert!(two_days > Duration::from_secs(46 * 3600), "{two_days:?}");
    let given_up = hooks.inventory.given_up("pager").await.unwrap().unwrap();
    assert_eq!((given_up.count, given_up.at), (1, clock.now()));
    assert_eq!(given_up.certificate, told.certificate);
}
