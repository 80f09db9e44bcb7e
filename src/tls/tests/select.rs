//! The choice of a certificate, against a plain model of its rules.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select as one_of, subsequence};
use rustls::{CipherSuite, NamedGroup};

use super::*;
use crate::name::{DnsName, NamePattern};

const PATTERNS: [&str; 6] = [
    "example.com",
    "a.example.com",
    "b.example.com",
    "x.a.example.com",
    "*.example.com",
    "*.a.example.com",
];
const ASKED: [Option<&str>; 8] = [
    None,
    Some("example.com"),
    Some("a.example.com"),
    Some("b.example.com"),
    Some("c.example.com"),
    Some("x.a.example.com"),
    Some("y.a.example.com"),
    Some("y.x.a.example.com"),
];
const KEYS: [KeyType; 3] = [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048];

/// A client, and the keys of [`KEYS`] that it can verify.
struct Offer {
    schemes: &'static [SignatureScheme],
    suites: &'static [CipherSuite],
    groups: &'static [NamedGroup],
    verifies: &'static [KeyType],
}

const OFFERS: [Offer; 6] = [
    Offer {
        schemes: &[
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
        ],
        suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
        groups: &[NamedGroup::X25519],
        verifies: &KEYS,
    },
    // ECDSA only.
    Offer {
        schemes: &[SignatureScheme::ECDSA_NISTP384_SHA384],
        suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
        groups: &[NamedGroup::X25519],
        verifies: &[KeyType::EcdsaP384],
    },
    // RSA only.
    Offer {
        schemes: &[SignatureScheme::RSA_PKCS1_SHA256],
        suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
        groups: &[NamedGroup::X25519],
        verifies: &[KeyType::Rsa2048],
    },
    // TLS 1.2 with suites for RSA only.
    Offer {
        schemes: &[
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
        ],
        suites: &[CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        groups: &[NamedGroup::secp256r1],
        verifies: &[KeyType::Rsa2048],
    },
    // TLS 1.2 with one of two curves.
    Offer {
        schemes: &[
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
        ],
        suites: &[CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
        groups: &[NamedGroup::secp256r1],
        verifies: &[KeyType::EcdsaP256],
    },
    // Suites that nobody here has.
    Offer {
        schemes: &[SignatureScheme::RSA_PKCS1_SHA256],
        suites: &[CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA],
        groups: &[NamedGroup::secp256r1],
        verifies: &[],
    },
];

/// The entries of a table by name; each credential with its key type.
type Entries = BTreeMap<String, Vec<(KeyType, Credential)>>;

fn entries() -> impl Strategy<Value = Entries> {
    let credential = (
        subsequence(PATTERNS.to_vec(), 1..4),
        one_of(KEYS.to_vec()),
        0..3_i64,
    )
        .prop_map(|(names, key_type, days)| {
            static CA: LazyLock<Ca> = LazyLock::new(|| Ca::new("ca"));
            (key_type, CA.credential(&names, key_type, days))
        });
    let name = one_of(vec!["a", "b", "sites/a", "sites/b", "sites/c", "z"]).prop_map(str::to_owned);
    prop::collection::btree_map(name, prop::collection::vec(credential, 1..3), 0..6)
}

fn selections() -> impl Strategy<Value = (Vec<CertificateSelector>, UnknownSni)> {
    let selector = one_of(vec![
        CertificateSelector::All,
        CertificateSelector::Directory("sites/".into()),
        CertificateSelector::Named(entry("a")),
        CertificateSelector::Named(entry("z")),
    ]);
    let unknown_sni = one_of(vec![UnknownSni::Default, UnknownSni::Refuse]);
    (prop::collection::vec(selector, 1..3), unknown_sni)
}

/// What is chosen, in a form that compares: the entry, the leaf, and why.
fn choice(table: &CertificateTable, selection: &Selection, asked: Option<&str>, offer: &Offer) -> String {
    let offer = ClientOffer {
        server_name: asked,
        signature_schemes: offer.schemes,
        cipher_suites: offer.suites,
        named_groups: Some(offer.groups),
    };
    match select(table, selection, &offer) {
        Choice::Certificate { candidate, by, .. } => {
            let fingerprint = &candidate.credential().leaf().fingerprint;
            format!("{} {fingerprint} {by:?}", candidate.certificate())
        }
        Choice::Missing(lookup) => panic!("{lookup:?} is not in a whole table"),
        Choice::NothingYet => "nothing yet".to_owned(),
        Choice::OnDemand => "on demand".to_owned(),
        Choice::UnknownName => "unknown name".to_owned(),
    }
}

/// The rules, one after the other, over a flat list.
fn model(
    entries: &Entries,
    (selectors, unknown_sni): &(Vec<CertificateSelector>, UnknownSni),
    asked: Option<&str>,
    offer: &Offer,
) -> String {
    let within = |selector: &CertificateSelector, name: &str| match selector {
        CertificateSelector::All => true,
        CertificateSelector::Directory(prefix) => name.starts_with(prefix),
        CertificateSelector::Named(named) => named.as_str() == name,
    };
    let mut all: Vec<_> = entries
        .iter()
        .flat_map(|(name, credentials)| {
            credentials
                .iter()
                .map(move |(key, credential)| (name, key, credential))
        })
        .collect();
    all.sort_by_key(|(name, key, credential)| {
        let leaf = credential.leaf();
        (
            **key == KeyType::Rsa2048,
            Reverse(leaf.not_after),
            *name,
            leaf.fingerprint.clone(),
        )
    });

    let asked = asked.map(|asked| DnsName::parse(asked).unwrap());
    let holds = |credential: &Credential, wildcard: bool| {
        let matches = |name: &NamePattern| {
            name.is_wildcard() == wildcard && asked.as_ref().is_some_and(|asked| name.matches(asked))
        };
        credential.leaf().names.iter().any(matches)
    };
    let served = |name: &str| selectors.iter().any(|selector| within(selector, name));
    let holding = |wildcard, by| {
        let held = all
            .iter()
            .filter(move |(name, _, credential)| served(name) && holds(credential, wildcard));
        held.map(move |found| (found, by))
    };
    let mut candidates: Vec<_> = holding(false, MatchedBy::Exact)
        .chain(holding(true, MatchedBy::Wildcard))
        .collect();
    if candidates.is_empty() {
        if *unknown_sni == UnknownSni::Refuse {
            return "unknown name".to_owned();
        }
        let default = entries.keys().find(|name| within(&selectors[0], name));
        let of_default = all.iter().filter(|(name, ..)| Some(*name) == default);
        candidates = of_default.map(|found| (found, MatchedBy::Default)).collect();
    }
    let verifiable = candidates
        .iter()
        .find(|((_, key, _), _)| offer.verifies.contains(key));
    verifiable
        .or(candidates.first())
        .map_or("nothing yet".to_owned(), |((name, _, credential), by)| {
            format!("{name} {} {by:?}", credential.leaf().fingerprint)
        })
}

fn insert<'a>(
    table: CertificateTable,
    entries: impl IntoIterator<Item = (&'a String, &'a Vec<(KeyType, Credential)>)>,
) -> CertificateTable {
    entries.into_iter().fold(table, |table, (name, credentials)| {
        let credentials = credentials.iter().map(|(_, credential)| credential.clone());
        table.with(entry(name), credentials.collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_choice_follows_its_rules(entries in entries(), selection in selections()) {
        let table = insert(CertificateTable::new(), &entries);
        let filter = Selection::new(&selection.0, selection.1);
        for offer in &OFFERS {
            for asked in ASKED {
                prop_assert_eq!(
                    choice(&table, &filter, asked, offer),
                    model(&entries, &selection, asked, offer),
                    "{:?}", asked
                );
            }
        }
    }

    #[test]
    fn the_choice_depends_on_the_set_and_not_on_how_it_came_about(
        (entries, shuffled) in entries().prop_flat_map(|entries| {
            let list: Vec<_> = entries.clone().into_iter().collect();
            (Just(entries), Just(list).prop_shuffle())
        }),
        former in entries(),
        selection in selections(),
    ) {
        let direct = insert(CertificateTable::new(), &entries);
        let mut detour = insert(CertificateTable::new(), &former);
        detour = insert(detour, shuffled.iter().map(|(name, credentials)| (name, credentials)));
        for name in former.keys().filter(|name| !entries.contains_key(*name)) {
            detour = detour.without(&entry(name));
        }
        prop_assert_eq!(direct.len(), detour.len());
        let filter = Selection::new(&selection.0, selection.1);
        for offer in &OFFERS {
            for asked in ASKED {
                prop_assert_eq!(
                    choice(&direct, &filter, asked, offer),
                    choice(&detour, &filter, asked, offer)
                );
            }
        }
    }
}

#[test]
fn a_table_is_not_changed_by_what_is_made_of_it() {
    let ca = Ca::new("ca");
    let www = |days| ca.credential(&["www.example.com"], KeyType::EcdsaP256, days);
    let before = table(&[("www", www(0))]);
    let selection = Selection::new(&[CertificateSelector::All], UnknownSni::Refuse);
    let chosen = || choice(&before, &selection, Some("www.example.com"), &OFFERS[0]);
    let first = chosen();
    let after = before
        .with(entry("www"), vec![www(1)])
        .with(entry("b"), vec![www(2)]);
    assert_eq!(chosen(), first);
    assert_ne!(
        choice(&after, &selection, Some("www.example.com"), &OFFERS[0]),
        first
    );
    assert_eq!((before.len(), after.len()), (1, 2));
    let emptied = after.without(&entry("b")).without(&entry("www"));
    assert_eq!(
        choice(&emptied, &selection, Some("www.example.com"), &OFFERS[0]),
        "unknown name"
    );
    assert!(emptied.is_empty());
}
