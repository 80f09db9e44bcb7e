//! What must not grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use certgate::metrics::Outcome;
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Stand, certificate_name, credential, echo, is_alone_with_descriptors, until};

const SWAPS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_swaps_under_handshakes_fail_none_and_leave_nothing_behind() {
    let name = "endurance::ten_thousand_swaps_under_handshakes_fail_none_and_leave_nothing_behind";
    if !is_alone_with_descriptors(name, "1000") {
        return;
    }
    let mut stand = Stand::new(&[echo().await]);
    let (one, other) = (credential(), credential());
    let mut roots = RootCertStore::empty();
    roots
        .roots
        .extend(one.1.roots.iter().chain(&other.1.roots).cloned());
    stand.roots = Arc::new(roots);
    let credentials = [one.0, other.0];
    let swap = |turn: usize| {
        let next = credentials[turn % 2].clone();
        let table = stand.published.load().with(certificate_name(), vec![next]);
        stand.published.publish(table);
    };
    let stand = &stand;
    let done = AtomicBool::new(false);
    let handshakes = AtomicUsize::new(0);
    let client = async || {
        while !done.load(Ordering::Relaxed) {
            let mut client = stand.try_connect().await.expect("no handshake fails");
            client.write_all(b"x").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            handshakes.fetch_add(1, Ordering::Relaxed);
        }
    };
    swap(0);
    let swaps = async {
        let mut warm = None;
        for turn in 1..=SWAPS {
            swap(turn);
            if turn % 10 == 0 {
                // The swaps wait for handshakes, so that they are all among them.
                let reached = handshakes.load(Ordering::Relaxed) + 1;
                until("another handshake", || {
                    handshakes.load(Ordering::Relaxed) >= reached
                })
                .await;
            }
            if turn == SWAPS / 4 {
                warm = Some((resident_kib(), descriptors()));
            }
        }
        done.store(true, Ordering::Relaxed);
        warm.unwrap()
    };
    let (_, _, (memory_before, descriptors_before)) = tokio::join!(client(), client(), swaps);
    let closed = stand.counted().outcomes(Outcome::Closed) as usize;
    assert!(closed + 2 >= handshakes.load(Ordering::Relaxed));
    until("every connection has ended", || stand.running.connections() == 0).await;
    assert!(handshakes.load(Ordering::Relaxed) >= SWAPS / 10);
    let (memory, descriptors) = (resident_kib(), descriptors());
    assert!(
        memory < memory_before + 4096,
        "{memory_before} KiB became {memory} KiB"
    );
    assert!(
        descriptors <= descriptors_before,
        "{descriptors_before} descriptors became {descriptors}"
    );
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
