//! A listener toggled a thousand times while clients come: whoever comes after an acknowledgement meets what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::runtime::{Stage, mutual, verdict};

const TOGGLES: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_handshake_after_an_acknowledged_toggle_obeys_it_under_load() {
    let stage = Arc::new(Stage::new("").await);
    stage
        .patch(json!({ "client_ca": "partners" }))
        .await
        .expect("changed");
    let over = Arc::new(AtomicBool::new(false));
    // Odd while a toggle is under way; so what was seen at the beginning and at the end tells what held in between.
    let phase = Arc::new(AtomicUsize::new(0));
    let load = tokio::spawn(come_and_go(stage.clone(), over.clone(), phase.clone()));

    for toggle in 1..=TOGGLES {
        phase.fetch_add(1, Ordering::SeqCst);
        let keys = match expected(toggle) {
            "mutual" => mutual(),
            _ => json!({ "authentication": "one-way" }),
        };
        stage.patch(keys).await.expect("toggled");
        phase.fetch_add(1, Ordering::SeqCst);
        let asked = stage.stranger.ask(stage.listen, "localhost").await.map(drop);
        assert_eq!(verdict(asked), expected(toggle), "toggle {toggle}");
    }
    over.store(true, Ordering::SeqCst);
    let (handshakes, certain) = load.await.expect("no client met anything else");
    assert!(
        handshakes >= 100,
        "only {handshakes} handshakes beside the toggles"
    );
    assert!(certain > 0, "no client came and went between two toggles");
}

fn expected(toggle: usize) -> &'static str {
    if toggle % 2 == 1 { "mutual" } else { "one-way" }
}

/// Fifty clients a second, every other one with a certificate: how many came, and how many without a certificate met
/// no toggle on their way.
async fn come_and_go(stage: Arc<Stage>, over: Arc<AtomicBool>, phase: Arc<AtomicUsize>) -> (usize, usize) {
    let (mut clients, mut certain, mut count) = (JoinSet::new(), 0, 0);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !over.load(Ordering::SeqCst) {
        ticks.tick().await;
        let (stage, phase) = (stage.clone(), phase.clone());
        let partner = count % 2 == 0;
        count += 1;
        clients.spawn(async move {
            if partner {
                let asked = stage.partner.ask(stage.listen, "localhost").await;
                asked.expect("who shows a certificate is served by either");
                return false;
            }
            let before = phase.load(Ordering::SeqCst);
            let asked = stage.stranger.ask(stage.listen, "localhost").await.map(drop);
            let verdict = verdict(asked);
            let is_certain = before % 2 == 0 && before == phase.load(Ordering::SeqCst);
            if is_certain {
                assert_eq!(verdict, expected(before / 2), "after toggle {}", before / 2);
            }
            is_certain
        });
        while let Some(done) = clients.try_join_next() {
            certain += usize::from(done.expect("as it should be"));
        }
    }
    while let Some(done) = clients.join_next().await {
        certain += usize::from(done.expect("as it should be"));
    }
    (count, certain)
}
