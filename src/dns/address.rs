//! IP addresses among the names of a certificate (RFC 8738). Nothing of them is in DNS, CAA records included: `[gateway]`
//! says which addresses are the gateway's own, and its listeners which challenges can be answered.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::challenge::{Choice, Remark, choose};
use super::checker::Conditions;
use super::obstacle::Obstacle;
use super::report::DomainVerdict;
use super::state::Steps;
use super::verdict::{SkipReason, Verdict};
use crate::config::GatewayConfig;
use crate::name::NamePattern;

/// The verdict on `pattern`, which is `address`.
pub(super) fn examine(
    pattern: &NamePattern,
    address: IpAddr,
    gateway: Option<&GatewayConfig>,
    conditions: &Conditions,
) -> DomainVerdict {
    if conditions.off {
        let reason = SkipReason::Off;
        return DomainVerdict::unchecked(pattern, Verdict::Skipped { reason }, conditions);
    }
    let stop = |obstacle| Verdict::Stop {
        obstacles: vec![obstacle],
        remedy: Vec::new(),
        alternative: Vec::new(),
    };
    let mut notes = BTreeSet::new();
    let ours: BTreeSet<IpAddr> = gateway
        .iter()
        .flat_map(|gateway| &gateway.addresses)
        .copied()
        .collect();
    let pointed = match ours.contains(&address) {
        true => Some(Verdict::Go),
        false if ours.is_empty() => {
            notes.insert(
                "whether it is this gateway's is not known: `addresses` of `[gateway]` names none".to_owned(),
            );
            None
        }
        false => Some(stop(Obstacle::NotOurs {
            address,
            expected: ours,
        })),
    };
    let (choice, issuable) = match &conditions.challenges {
        None => (Choice::default(), Verdict::Go),
        Some(listed) => {
            let choice = choose(pattern, listed, conditions.doors, None);
            match choice.usable.is_empty() {
                true => {
                    let issuable = stop(choice.obstacle(pattern));
                    (choice, issuable)
                }
                false => {
                    notes.extend(choice.remarks.iter().map(Remark::to_string));
                    (choice, Verdict::Go)
                }
            }
        }
    };
    let steps = Steps {
        owned: None,
        pointed,
        issuable: Some(issuable),
    };
    DomainVerdict::new(pattern, steps, choice, notes, Vec::new(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ChallengeType::{self, Dns01, Http01, TlsAlpn01};
    use crate::dns::{Door, Doors};

    #[test]
    fn an_address_is_judged_by_the_gateways_own_and_by_the_challenges_that_listeners_answer() {
        let (open, closed) = (Door::Standard, Door::Closed);
        let ours = &["203.0.113.10", "2001:db8::10"][..];
        for (address, addresses, listed, http, expected, said) in [
            ("203.0.113.10", ours, &[Http01][..], open, "go, issuable", ""),
            ("2001:db8::10", ours, &[Http01], open, "go, issuable", ""),
            (
                "203.0.113.10",
                &[],
                &[Http01],
                open,
                "go, issuable",
                "note: whether it is this gateway's",
            ),
            (
                "203.0.113.11",
                ours,
                &[Http01],
                open,
                "stop, declared",
                "203.0.113.11 is not an address of this gateway (203.0.113.10, 2001:db8::10); add it to `addresses` of \
                 `[gateway]`",
            ),
            (
                "203.0.113.10",
                ours,
                &[Http01],
                closed,
                "stop, pointed",
                "no challenge can be answered for 203.0.113.10: http-01: there is no http listener",
            ),
            (
                "203.0.113.10",
                ours,
                &[Dns01],
                open,
                "stop, pointed",
                "dns-01: an IP address cannot be proven by a DNS record",
            ),
            (
                "203.0.113.10",
                ours,
                &[Dns01, TlsAlpn01, Http01],
                open,
                "go, issuable",
                "note: dns-01: an IP address cannot be proven",
            ),
        ] {
            let verdict = verdict(address, addresses, Some(listed), http);
            let text = verdict.to_string();
            assert!(
                text.starts_with(&format!("{address}: {expected}")) && text.contains(said),
                "{text}"
            );
            assert!(!verdict.challenges.contains(&Dns01), "{text}");
        }
    }

    #[test]
    fn where_checks_are_off_an_address_may_be_anybodys_but_has_to_be_provable() {
        let with = |listed| {
            let gateway = gateway(&["203.0.113.10"]);
            let conditions = Conditions {
                off: true,
                ..conditions(Some(listed), Door::Standard)
            };
            let pattern = NamePattern::parse("192.0.2.1").unwrap();
            let address = pattern.address().unwrap();
            examine(&pattern, address, Some(&gateway), &conditions).verdict
        };
        assert!(with(&[Http01]).allows_order());
        assert!(!with(&[Dns01]).allows_order());
    }

    fn verdict(address: &str, ours: &[&str], listed: Option<&[ChallengeType]>, http: Door) -> DomainVerdict {
        let pattern = NamePattern::parse(address).unwrap();
        let address = pattern.address().unwrap();
        examine(&pattern, address, Some(&gateway(ours)), &conditions(listed, http))
    }

    fn gateway(addresses: &[&str]) -> GatewayConfig {
        GatewayConfig {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ..GatewayConfig::default()
        }
    }

    fn conditions(listed: Option<&[ChallengeType]>, http: Door) -> Conditions {
        Conditions {
            challenges: listed.map(<[_]>::to_vec),
            doors: Doors { http, tls: http },
            ..Conditions::default()
        }
    }
}
