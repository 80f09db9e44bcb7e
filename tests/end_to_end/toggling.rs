//! A listener toggled a thousand times while clients come: whoever comes after an acknowledgement meets what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::gateway::PATIENCE;
use crate::peer::TlsClient;
use crate::runtime::{Stage, mutual, verdict};

const TOGGLES: usize = 1000;
/// Handshakes that end in a second, on average over all toggles.
const RATE: f64 = 50.0;
/// One client begins after another: a few more than have to end, so that who is late can be waited for.
const PERIOD: Duration = Duration::from_millis(15);
const AT_A_TIME: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_handshake_after_an_acknowledged_toggle_obeys_it_under_load() {
    let stage = Stage::new("").await;
    stage
        .patch(json!({ "client_ca": "partners" }))
        .await
        .expect("changed");
    let load = Arc::new(Load::of(&stage));
    let coming = tokio::spawn(load.clone().come_and_go());

    let begun = Instant::now();
    for toggle in 1..=TOGGLES {
        load.phase.fetch_add(1, Ordering::SeqCst);
        let keys = match expected(toggle) {
            "mutual" => mutual(),
            _ => json!({ "authentication": "one-way" }),
        };
        stage.patch(keys).await.expect("toggled");
        load.phase.fetch_add(1, Ordering::SeqCst);
        // Each version alone and by itself, so that no toggle comes between.
        for version in 0..VERSIONS.len() {
            let stranger = &load.clients[2 * version + 1];
            let asked = stranger.ask(stage.listen, "localhost").await.map(drop);
            assert_eq!(verdict(asked), expected(toggle), "toggle {toggle}, {version}");
        }
        // On a machine that is slow it is the toggles that wait.
        load.keeps_up(begun).await;
    }
    let (elapsed, ended) = (begun.elapsed(), load.ended());
    load.over.store(true, Ordering::SeqCst);
    let certain = coming.await.expect("no client met anything else");
    let sum: usize = ended.iter().sum();
    eprintln!(
        "{TOGGLES} toggles in {elapsed:?}, handshakes meanwhile {ended:?}, {certain} between two toggles"
    );
    assert!(
        sum as f64 >= RATE * elapsed.as_secs_f64(),
        "{ended:?} in {elapsed:?}"
    );
    for (kind, ended) in ended.into_iter().enumerate() {
        assert!(5 * ended >= sum, "only {ended} of {sum} were of kind {kind}");
    }
    assert!(certain > 0, "no client came and went between two toggles");
}

fn expected(toggle: usize) -> &'static str {
    if toggle % 2 == 1 { "mutual" } else { "one-way" }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
const KINDS: usize = 4;

/// Clients of four kinds in turn: by each version with a certificate, and without one.
struct Load {
    listen: std::net::SocketAddr,
    /// First the partner of a version, then its stranger.
    clients: [TlsClient; KINDS],
    /// Odd while a toggle is under way; so what was seen at the beginning and at the end tells what held in between.
    phase: AtomicUsize,
    /// Handshakes that have ended as they should.
    ended: [AtomicUsize; KINDS],
    one_more: Notify,
    over: AtomicBool,
}

impl Load {
    fn of(stage: &Stage) -> Self {
        let [(old_partner, old_stranger), (partner, stranger)] =
            VERSIONS.map(|version| stage.clients_of(version));
        Self {
            listen: stage.listen,
            clients: [old_partner, old_stranger, partner, stranger],
            phase: AtomicUsize::new(0),
            ended: Default::default(),
            one_more: Notify::new(),
            over: AtomicBool::new(false),
        }
    }

    fn ended(&self) -> [usize; KINDS] {
        self.ended.each_ref().map(|ended| ended.load(Ordering::SeqCst))
    }

    /// Waits until as many handshakes have ended as must have in the time since `begun`.
    async fn keeps_up(&self, begun: Instant) {
        let kept_up = async {
            loop {
                let one_more = self.one_more.notified();
                let ended: usize = self.ended().iter().sum();
                if ended as f64 >= RATE * begun.elapsed().as_secs_f64() {
                    return;
                }
                one_more.await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, kept_up).await;
        in_time.expect("this machine does as many handshakes as that");
    }

    /// Clients come whatever becomes of those before them, until it is over, but never so many at a time that they wait for
    /// each other until the listener's patience ends: how many without a certificate met no toggle on their way.
    async fn come_and_go(self: Arc<Self>) -> usize {
        let (mut clients, mut certain) = (JoinSet::new(), 0);
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for kind in (0..KINDS).cycle() {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            ticks.tick().await;
            while clients.len() >= AT_A_TIME
                && let Some(done) = clients.join_next().await
            {
                certain += usize::from(done.expect("as it should be"));
            }
            clients.spawn(self.clone().one(kind));
            while let Some(done) = clients.try_join_next() {
                certain += usize::from(done.expect("as it should be"));
            }
        }
        while let Some(done) = clients.join_next().await {
            certain += usize::from(done.expect("as it should be"));
        }
        certain
    }

    async fn one(self: Arc<Self>, kind: usize) -> bool {
        let before = self.phase.load(Ordering::SeqCst);
        let asked = self.clients[kind].ask(self.listen, "localhost").await.map(drop);
        let is_partner = kind.is_multiple_of(2);
        let mut is_certain = false;
        if is_partner {
            asked.expect("who shows a certificate is served by either");
        } else {
            let verdict = verdict(asked);
            is_certain = before.is_multiple_of(2) && before == self.phase.load(Ordering::SeqCst);
            if is_certain {
                assert_eq!(verdict, expected(before / 2), "after toggle {}", before / 2);
            }
        }
        self.ended[kind].fetch_add(1, Ordering::SeqCst);
        self.one_more.notify_waiters();
        is_certain
    }
}
