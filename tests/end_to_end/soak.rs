//! Everything at once for a long time: nothing breaks, and in the end nothing is left behind. `tests/soak` runs it for
//! as long as you like.

mod traffic;

use std::fs;
use std::time::{Duration, Instant};

use certgate::admin::api::{CertificateImport, Status};
use certgate::certificate::CertificateName;

use crate::gateway::{Gateway, Home, PATIENCE, free_address};
use crate::pair::Authority;
use crate::reload::{client_of, config, reloaded};
use traffic::{NAMES, Traffic, backend};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_for_long_under_load_leaves_nothing_behind() {
    let duration = match std::env::var("CERTGATE_SOAK_MINUTES") {
        Ok(minutes) => Duration::from_secs(60 * minutes.parse::<u64>().expect("a number of minutes")),
        Err(_) => Duration::from_secs(30),
    };
    let (listen, authority, home) = (free_address(), Authority::new(), Home::new());
    let text = config(
        listen,
        backend().await,
        "handshake_timeout = \"2s\"\nidle_timeout = \"3s\"\n",
    )
    .replace("[\"localhost\"]\nserver_group", "[\"*\"]\nserver_group");
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    import(&gateway, &authority).await;
    let local_root = gateway.client().local_ca_root("internal").await.expect("a root");
    let traffic = Traffic::new(listen, &(local_root + &authority.root()));
    let descriptors_before = settled_descriptors(&gateway).await;

    let begun = Instant::now();
    let end = begun + duration;
    let (_, samples, changes) = tokio::join!(
        traffic.until(end),
        sample(&gateway, begun, duration),
        change(&home, &gateway, &text, &authority, end),
    );

    let no_connection = |status: &Status| status.listeners.iter().all(|l| l.connections == 0);
    gateway
        .status_until("has no connection left", no_connection)
        .await;
    settled_descriptors(&gateway).await;
    let after = Sample::of(&gateway);
    println!(
        "{} rounds, {} resumed, {changes} changes; at the end {} KiB, {} descriptors (at the start {descriptors_before})",
        traffic.rounds.get(),
        traffic.resumed.get(),
        after.memory_kib,
        after.descriptors
    );
    assert!(traffic.resumed.get() > 0, "no session was resumed");
    assert!(changes > 4, "every kind of change was made");
    assert_eq!(after.descriptors, descriptors_before, "descriptors");
    let warm = samples[samples.len() / 10].memory_kib;
    assert!(
        after.memory_kib <= warm + GROWTH_KIB,
        "{warm} KiB after a tenth of the time became {} KiB",
        after.memory_kib
    );
    let log = home.log();
    let unprovoked: Vec<_> = log
        .lines()
        .filter(|line| line.contains("panicked") || line.contains(" ERROR ") && !line.contains(PROVOKED))
        .collect();
    assert!(unprovoked.is_empty(), "{unprovoked:#?}");
    assert!(log.contains(PROVOKED), "errors are in this log");
    assert!(gateway.terminate().await.success());
}

/// What the allocator and the store's cache may take between the first tenth and the end.
const GROWTH_KIB: u64 = 16 * 1024;
/// By the broken files.
const PROVOKED: &str = "the reload was refused";
const SAMPLES: u32 = 30;

/// Changes of all kinds, one each second; how many there were.
async fn change(home: &Home, gateway: &Gateway, text: &str, authority: &Authority, end: Instant) -> usize {
    let more = free_address();
    let changed = format!(
        "{text}[listeners.more]\naddress = \"{}\"\nport = {}\ncertificates = [\"*\"]\nserver_group = \"app\"\n",
        more.ip(),
        more.port()
    );
    let local: CertificateName = NAMES[0].parse().expect("a name");
    let mut turn = 0;
    while Instant::now() < end {
        match turn % 4 {
            0 => {
                home.configure([changed.as_str(), text][turn / 4 % 2]);
                assert_eq!(reloaded(gateway).await, None);
            }
            1 => {
                let before = gateway.published(NAMES[0]).await.serial;
                gateway.client().renew(&local).await.expect("accepted");
                let renewed = |status: &Status| {
                    let mut all = status.certificates.iter();
                    all.any(|c| c.name == local && c.published && c.serial != before)
                };
                gateway.status_until("has renewed its certificate", renewed).await;
            }
            2 => {
                home.configure("this is not TOML");
                assert!(reloaded(gateway).await.is_some(), "a broken file is refused");
            }
            _ => import(gateway, authority).await,
        }
        turn += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    home.configure(text);
    assert_eq!(reloaded(gateway).await, None);
    turn
}

async fn import(gateway: &Gateway, authority: &Authority) {
    let pair = authority.sign(NAMES[1]);
    let import = CertificateImport {
        certificate_pem: pair.chain.into(),
        key_pem: pair.key.into(),
    };
    let name = "bought".parse().expect("a name");
    gateway.client().import(&name, &import).await.expect("imported");
    gateway.published("bought").await;
}

/// How many descriptors there are when none comes or goes any more: those of the last requests are closed a moment after
/// these were answered.
async fn settled_descriptors(gateway: &Gateway) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut same) = (0, 0);
    while same < 20 {
        assert!(Instant::now() < deadline, "descriptors come and go");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = Sample::of(gateway).descriptors;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Looks at the process as often in a long run as in a short one.
async fn sample(gateway: &Gateway, begun: Instant, duration: Duration) -> Vec<Sample> {
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        let at = begun + duration * number / SAMPLES;
        tokio::time::sleep_until(at.into()).await;
        let sample = Sample::of(gateway);
        println!(
            "{:>6.0?}: {:>7} KiB, {:>4} descriptors",
            begun.elapsed(),
            sample.memory_kib,
            sample.descriptors
        );
        samples.push(sample);
    }
    samples
}

/// What the gateway has at a moment.
struct Sample {
    /// Its proportional share (PSS).
    memory_kib: u64,
    descriptors: usize,
}

impl Sample {
    fn of(gateway: &Gateway) -> Self {
        let process = format!("/proc/{}", gateway.pid());
        let memory = fs::read_to_string(format!("{process}/smaps_rollup")).expect("the gateway runs");
        let pss = memory.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = pss.and_then(|pss| pss.trim().strip_suffix(" kB"));
        Self {
            memory_kib: kib.and_then(|kib| kib.parse().ok()).expect("Linux has PSS"),
            descriptors: fs::read_dir(format!("{process}/fd"))
                .expect("the gateway runs")
                .count(),
        }
    }
}
