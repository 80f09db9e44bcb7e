//! What is read of a ClientHello, how it is counted, and what policies are said to make of it.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::policy::{Client as WellKnown, clients, names};

/// The ClientHello of a well-known client, without its record.
fn hello_of(client: &WellKnown) -> Vec<u8> {
    let record = client_hello(client, None, &[b"h2".to_vec(), b"spoken-here".to_vec()]).unwrap();
    record[5..].to_vec()
}

fn offer_of(client: &WellKnown) -> Offer {
    Offer::read(&hello_of(client)).unwrap()
}

#[test]
fn an_offer_is_what_rustls_reads_too() {
    let client = Client {
        alpn: vec![b"http/1.1", b"h2", b"secret"],
        ..Client::default()
    };
    let bytes = hello(&client.build(), "www.example.com");
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &*bytes).unwrap();
    let accepted = acceptor.accept().ok().flatten().unwrap();
    let read = accepted.client_hello();
    let offer = Offer::read(&bytes[5..]).unwrap();
    fn same(ours: impl Iterator<Item = &'static str>, theirs: impl Iterator<Item = Option<&'static str>>) {
        let mut ours: Vec<_> = ours.collect();
        let mut theirs: Vec<_> = theirs.flatten().filter(|name| !name.ends_with("_SCSV")).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
        assert!(!ours.is_empty());
    }
    same(
        offer.cipher_suites(),
        read.cipher_suites().iter().map(|suite| suite.as_str()),
    );
    same(
        offer.groups(),
        read.named_groups().unwrap().iter().map(|group| group.as_str()),
    );
    same(
        offer.signature_schemes(),
        read.signature_schemes().iter().map(|scheme| scheme.as_str()),
    );
    assert_eq!(offer.versions().collect::<Vec<_>>(), ["TLSv1.3", "TLSv1.2"]);
    assert_eq!(offer.protocols().collect::<Vec<_>>(), ["h2", "http/1.1"]);
}

#[test]
fn what_a_policy_makes_of_an_offer_is_what_it_makes_of_the_client() {
    let keys = [
        (KeyKind::Rsa, crate::policy::CertificateKey::Rsa),
        (
            KeyKind::Scheme(SignatureScheme::ECDSA_NISTP256_SHA256),
            crate::policy::CertificateKey::Ecdsa,
        ),
    ];
    for client in clients() {
        let offer = offer_of(client);
        for policy in names().into_iter().filter_map(built_in) {
            for (kind, key) in keys {
                let (ours, theirs) = (offer.meet(policy, kind), client.meet(policy, key));
                let told = (&client.name, policy.name(), kind);
                match (&ours, &theirs) {
                    (Ok(ours), Ok(theirs)) => assert_eq!(ours.version, theirs.version, "{told:?}"),
                    (Err(_), Err(_)) => {}
                    _ => panic!("{told:?}: {ours:?}, {theirs:?}"),
                }
            }
        }
    }
}

#[test]
fn an_offer_holds_nothing_that_tells_clients_of_one_kind_apart() {
    let mut client = clients()[0].clone();
    let before = offer_of(&client);
    client.cipher_suites.reverse();
    client.groups.reverse();
    client.versions.reverse();
    let named = client_hello(
        &client,
        Some(&crate::name::DnsName::parse("www.example.com").unwrap()),
        &[],
    );
    let mut named = Offer::read(&named.unwrap()[5..]).unwrap();
    assert_ne!(named, before, "other protocols");
    let mut message = hello_of(&client);
    message[6..38].fill(7);
    named = Offer::read(&message).unwrap();
    assert_eq!(named, before, "other order, other randomness");
}

#[test]
fn a_client_that_verifies_no_signature_of_the_key_is_refused_by_every_policy() {
    let client = Client {
        schemes: vec![SignatureScheme::ECDSA_NISTP256_SHA256],
        ..Client::default()
    };
    let bytes = hello(&client.build(), "www.example.com");
    let offer = Offer::read(&bytes[5..]).unwrap();
    let policy = built_in("intermediate").unwrap();
    let refused = offer.meet(policy, KeyKind::Rsa).unwrap_err();
    assert_eq!(refused.label(), "signature");
    let p256 = KeyKind::Scheme(SignatureScheme::ECDSA_NISTP256_SHA256);
    offer.meet(policy, p256).unwrap();
}

/// As many kinds as are asked for; all of them are different.
fn kind(number: usize) -> Kind {
    let groups = [
        "X25519",
        "secp256r1",
        "secp384r1",
        "secp521r1",
        "MLKEM1024",
        "FFDHE2048",
    ];
    let schemes = [KeyKind::Rsa, KeyKind::Scheme(SignatureScheme::ED25519)];
    let mut client = clients()[0].clone();
    let has = |position: usize| number >> (position + 1) & 1 == 1;
    let of = |names: &[&str], from: usize| {
        let chosen = names
            .iter()
            .enumerate()
            .filter(|(position, _)| has(position + from));
        chosen.map(|(_, name)| (*name).to_owned()).collect::<Vec<_>>()
    };
    client.groups = of(&groups, 0);
    client.cipher_suites = of(
        &[
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        ],
        groups.len(),
    );
    Kind {
        offer: offer_of(&client),
        fate: Fate::Certificate(schemes[number % 2]),
    }
}

fn kinds() -> &'static [Kind] {
    static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| (0..1024).map(kind).collect());
    &KINDS
}

fn counted(workers: usize, notes: &[(usize, usize)]) -> Counts {
    let mut tallies: Vec<_> = (0..workers).map(|_| Tally::default()).collect();
    for (worker, number) in notes {
        let Kind { offer, fate } = kinds()[*number];
        tallies[worker % workers].note(offer, fate, Instant::now);
    }
    let mut counts = Counts::default();
    tallies.iter().for_each(|tally| counts.add(&tally.counts()));
    counts
}

proptest! {
    // Each case is of thousands of handshakes.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_depend_neither_on_the_order_nor_on_the_workers(
        notes in prop::collection::vec((0usize..4, 0..Tally::MOST_KINDS), 0..2000),
        seed in any::<prop::sample::Index>(),
    ) {
        let one = counted(1, &notes);
        let mut shuffled = notes.clone();
        shuffled.rotate_left(seed.index(notes.len().max(1)));
        shuffled.reverse();
        let several = counted(4, &shuffled);
        prop_assert_eq!(&one.kinds, &several.kinds);
        prop_assert_eq!((one.handshakes, one.other), (notes.len() as u64, 0));
        prop_assert_eq!((several.handshakes, several.other), (notes.len() as u64, 0));
    }

    #[test]
    fn however_many_kinds_come_a_tally_is_bounded_and_forgets_no_handshake(
        notes in prop::collection::vec(0usize..1024, 0..3000),
    ) {
        let notes: Vec<_> = notes.into_iter().map(|number| (0, number)).collect();
        let counts = counted(1, &notes);
        prop_assert!(counts.kinds.len() <= Tally::MOST_KINDS);
        let known: u64 = counts.kinds.values().sum();
        prop_assert_eq!((known + counts.other, counts.handshakes), (notes.len() as u64, notes.len() as u64));
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
        let _ = Offer::read(&bytes);
        let mut message = hello_of(&clients()[0]);
        message.truncate(cut);
        let _ = Offer::read(&message);
        message.extend(bytes);
        let _ = Offer::read(&message);
    }
}

#[test]
fn whoever_makes_up_offers_does_not_drive_out_the_usual_ones() {
    let mut notes = vec![(0, 0); 100];
    for number in 1..1024 {
        notes.extend([(0, number), (0, 0)]);
    }
    let counts = counted(1, &notes);
    assert_eq!(counts.kinds[&kinds()[0]], 100 + 1023);
    assert_eq!(counts.other, 1023 - (Tally::MOST_KINDS as u64 - 1));
}

#[test]
fn old_handshakes_are_forgotten_a_generation_at_a_time() {
    let (old, new) = (kinds()[0], kinds()[1]);
    let mut tally = Tally::default();
    let mut note = |kind: Kind, times: u64| {
        (0..times).for_each(|_| tally.note(kind.offer, kind.fate, Instant::now));
        tally.counts()
    };
    assert_eq!(note(old, Tally::GENERATION).handshakes, Tally::GENERATION);
    let both = note(new, Tally::GENERATION);
    assert_eq!(both.kinds[&old], Tally::GENERATION);
    assert_eq!(both.handshakes, 2 * Tally::GENERATION);
    let last = note(new, 1);
    assert_eq!(last.kinds.get(&old), None);
    assert_eq!(last.handshakes, Tally::GENERATION + 1);
}

#[test]
fn a_preview_tells_who_fails_anew_who_fails_anyway_and_of_whom_nothing_is_known() {
    let client = |name: &str| {
        let found = clients().iter().find(|client| client.name.starts_with(name));
        offer_of(found.unwrap())
    };
    let p256 = Fate::Certificate(KeyKind::Scheme(SignatureScheme::ECDSA_NISTP256_SHA256));
    let mut tally = Tally::default();
    for (name, fate, times) in [
        ("Chrome and Edge", p256, 5),
        ("Android 4.4", p256, 3),
        ("Java 7", p256, 2),
        ("Java 17", Fate::Refused(Refusal::UnknownName), 4),
        ("Java 17", Fate::Unacceptable, 1),
    ] {
        (0..times).for_each(|_| tally.note(client(name), fate, Instant::now));
    }
    let mut counts = tally.counts();
    counts.other += 7;
    counts.handshakes += 7;
    let [modern, intermediate] = ["modern", "intermediate"].map(|name| built_in(name).unwrap());
    let preview = Preview::of(&counts, modern, intermediate);
    assert_eq!((preview.handshakes, preview.unknown), (22, 7));
    assert_eq!((preview.would_fail, preview.fail_now), (5, 2));
    let reasons: Vec<_> = preview
        .reasons
        .iter()
        .map(|reason| (reason.why.as_str(), reason.handshakes, reason.fail_now))
        .collect();
    let expected = [
        ("it speaks TLSv1.2 at most, the policy TLSv1.3 at least", 3, 0),
        ("it speaks TLSv1 at most, the policy TLSv1.3 at least", 2, 2),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(preview.reasons[0].offers, [(client("Android 4.4"), 3)]);
    let regardless: Vec<_> = preview.regardless.iter().map(|(_, count)| *count).collect();
    assert_eq!(regardless, [4, 1]);
}
