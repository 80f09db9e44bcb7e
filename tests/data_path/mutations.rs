//! A handshake whose second flight is not what the client meant.

use std::io::{Read, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certgate::metrics::Outcome;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Stand, echo, server_name, until, within};

const MUTATIONS: u64 = 300;
const DATA: &[u8] = b"in one flight";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutated_second_flight_never_panics_a_connection() {
    let panics = panics_of_workers();
    let stand = Stand::new(&[echo().await]);
    let seed = seed();
    println!("seed {seed}: CERTGATE_TEST_SEED={seed} does the same again");
    for number in 0..MUTATIONS {
        let mut random = Random::new(seed, number);
        let mut mutated = Mutated::connect(&stand, random.below(2) == 0).await;
        let mut flight = mutated.second_flight();
        let mutation = mutate(&mut flight, &mut random);
        let answer = mutated.answer(&flight).await;
        assert!(
            answer.is_empty() || answer == DATA,
            "seed {seed}, mutation {number} ({mutation}) is answered {answer:?}"
        );
        drop(mutated);
        if number % 30 == 0 {
            stand.echo_works().await;
        }
    }
    until("no open connection", || stand.running.connections() == 0).await;
    // One that panics is not counted as ended.
    let counted = stand.counted();
    let ended: u64 = Outcome::ALL
        .iter()
        .map(|outcome| counted.outcomes(*outcome))
        .sum();
    assert_eq!(ended, MUTATIONS + MUTATIONS / 30, "seed {seed}");
    assert_eq!(panics.load(Ordering::Relaxed), 0, "seed {seed}");
    stand.echo_works().await;
}

/// A client up to its second flight, which it has ready together with some data.
struct Mutated {
    session: ClientConnection,
    tcp: TcpStream,
}

impl Mutated {
    async fn connect(stand: &Stand, is_tls13: bool) -> Self {
        let version = if is_tls13 {
            &rustls::version::TLS13
        } else {
            &rustls::version::TLS12
        };
        let config = ClientConfig::builder_with_provider(stand.client_config().crypto_provider().clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(stand.roots.clone())
            .with_no_client_auth();
        let mut session = ClientConnection::new(Arc::new(config), server_name()).unwrap();
        let mut tcp = stand.tcp().await;
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        tcp.write_all(&hello).await.unwrap();
        while !session.wants_write() {
            let mut buffer = [0; 4096];
            let length = within(tcp.read(&mut buffer)).await.unwrap();
            session.read_tls(&mut &buffer[..length]).unwrap();
            session.process_new_packets().unwrap();
        }
        Self { session, tcp }
    }

    fn second_flight(&mut self) -> Vec<u8> {
        self.session.writer().write_all(DATA).unwrap();
        let mut flight = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut flight).unwrap();
        }
        flight
    }

    /// Sends it and no more, and reads to an alert or to the end; the data that came until then.
    async fn answer(&mut self, flight: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        // The gateway may have closed already.
        let _ = self.tcp.write_all(flight).await;
        let _ = self.tcp.shutdown().await;
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = within(self.tcp.read(&mut buffer)).await {
            self.session.read_tls(&mut &buffer[..length]).unwrap();
            if self.session.process_new_packets().is_err() {
                break;
            }
            // An error says that there is no more for now.
            let _ = self.session.reader().read_to_end(&mut answer);
        }
        answer
    }
}

/// Changes `flight`; what was done, for who has to look for the reason.
fn mutate(flight: &mut Vec<u8>, random: &mut Random) -> String {
    let position = random.below(flight.len());
    let length = 1 + random.below((flight.len() - position).min(40));
    let piece = position..position + length;
    match random.below(5) {
        0 => {
            let bit = random.below(8);
            flight[position] ^= 1 << bit;
            format!("bit {bit} of byte {position} flipped")
        }
        1 => {
            flight.truncate(position);
            format!("cut after {position} bytes")
        }
        2 => {
            let again = flight[piece.clone()].to_vec();
            flight.splice(piece.end..piece.end, again);
            format!("bytes {piece:?} twice")
        }
        3 => {
            flight.drain(piece.clone());
            format!("bytes {piece:?} left out")
        }
        _ => {
            for byte in &mut flight[piece.clone()] {
                *byte = random.below(256) as u8;
            }
            format!("bytes {piece:?} made up")
        }
    }
}

/// Counts the panics on the threads of the data plane; those of other tests are none of them.
fn panics_of_workers() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("worker-"))
        {
            counting.fetch_add(1, Ordering::Relaxed);
        }
        usual(info);
    }));
    count
}

fn seed() -> u64 {
    match std::env::var("CERTGATE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            let mut seed = [0; 8];
            aws_lc_rs::rand::fill(&mut seed).unwrap();
            u64::from_le_bytes(seed)
        }
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
