//! Years of renewals, lived through in milliseconds: the plan, the schedule and the transitions together.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::certificate::{CertificateName, DesiredCertificate, KeyType, Leaf};
use crate::clock::Timestamp;
use crate::inventory::CertificateRecord;
use crate::name::NamePattern;
use crate::renewal::agenda::Agenda;
use crate::renewal::outcome;
use crate::renewal::schedule::Jitter;
use crate::renewal::slots::Slots;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// One issuance: of which certificate, when, and how long its predecessor still had; `None` for the first.
struct Issuance {
    at: Timestamp,
    left: Option<Duration>,
}

/// All issuances of `count` certificates until `end`, from a CA that always works.
fn live(count: usize, lifetime: Duration, backdated: Duration, seed: u64, span: Duration) -> Vec<Issuance> {
    let desired: Vec<_> = (0..count)
        .map(|n| DesiredCertificate {
            name: CertificateName::parse(&format!("c{n}")).unwrap(),
            domains: vec![NamePattern::parse("a.example").unwrap()],
            issuers: vec!["one".into()],
            key_type: KeyType::EcdsaP256,
            reuse_key: false,
            tags: BTreeMap::new(),
            spare_of: None,
        })
        .collect();
    let start = Timestamp::from_unix_seconds(1_795_219_200);
    let (mut agenda, mut slots) = (Agenda::new(), Slots::new(start));
    let mut records = BTreeMap::<CertificateName, CertificateRecord>::new();
    agenda.desire(&desired);
    for certificate in &desired {
        agenda.update(&certificate.name, None, start);
    }
    let (mut now, mut issuances) = (start, Vec::new());
    while now < start + span {
        let plan = agenda.take_due(now);
        for action in plan.actions {
            let name = action.certificate;
            let known = records.remove(&name);
            let left = known
                .as_ref()
                .and_then(|record| record.current.as_ref())
                .map(|current| current.leaf.not_after.since(now));
            issuances.push(Issuance { at: now, left });
            let leaf = Leaf {
                names: vec![],
                not_before: now - backdated,
                not_after: now + lifetime,
                serial: issuances.len().to_string(),
                issuer: String::new(),
                key: String::new(),
                fingerprint: issuances.len().to_string(),
            };
            let renew_at = slots.choose(&name, &leaf, now, Jitter::new(seed));
            let digest = &agenda.desired(&name).unwrap().digest;
            let mut record = known.unwrap_or_else(|| CertificateRecord::wanted(name.clone()));
            outcome::obtained(&mut record, digest, leaf, "one", now, renew_at);
            agenda.update(&name, Some(&record), now);
            records.insert(name, record);
        }
        // What was just renewed has come back to the agenda, and may be the next.
        now = agenda.take_due(now).wake.unwrap_or(start + span);
    }
    issuances
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn with_a_working_ca_a_quarter_of_the_lifetime_is_always_left(
        minutes in prop_oneof![5_u64..60, 60_u64..14_400, 14_400_u64..600_000],
        backdated in 0_u64..120,
        seed in any::<u64>(),
    ) {
        let lifetime = MINUTE * u32::try_from(minutes).unwrap();
        let span = YEAR.min(lifetime * 500);
        let issuances = live(1, lifetime, MINUTE * u32::try_from(backdated).unwrap(), seed, span);
        for issuance in &issuances {
            prop_assert!(issuance.left.is_none_or(|left| left >= lifetime / 4), "{:?}", issuance.left);
        }
        let margin = (1.0_f64 / 15.0).min(3.0 * DAY.as_secs_f64() / lifetime.as_secs_f64());
        let elapsed = if lifetime < 10 * DAY { 0.475 } else { 2.0 / 3.0 - margin - 0.025 };
        let expected = 1.0 + span.as_secs_f64() / (lifetime.as_secs_f64() * elapsed);
        let found = issuances.len() as f64;
        prop_assert!((found - expected).abs() <= 1.5 + expected * 0.05, "{found} orders, {expected} expected");
    }
}

#[test]
fn a_thousand_certificates_obtained_together_never_renew_in_the_same_second() {
    for lifetime in [90 * DAY, 45 * DAY, 160 * HOUR] {
        let issuances = live(1_000, lifetime, HOUR, 7, lifetime * 3);
        let mut seconds: Vec<_> = issuances[1_000..]
            .iter()
            .map(|issuance| issuance.at.unix_seconds())
            .collect();
        let renewals = seconds.len();
        assert!(renewals >= 4_000, "{renewals}");
        seconds.dedup();
        assert_eq!(seconds.len(), renewals, "lifetime {lifetime:?}");
    }
}
