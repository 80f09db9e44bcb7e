//! Which challenges can prove the right to an identifier: a pure function.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::obstacle::Obstacle;
use crate::config::{ChallengeType, Config, Protocol};
use crate::name::NamePattern;

/// Where a CA finds the gateway's listeners.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Doors {
    /// Plain HTTP, which CAs look for on port 80 (RFC 8555 §8.3).
    pub http: Door,
    /// TLS, which CAs look for on port 443 (RFC 8737 §3).
    pub tls: Door,
}

/// A listener of one kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Door {
    /// There is none.
    #[default]
    Closed,
    /// On another port: a CA gets there only where the standard one is forwarded to it.
    Elsewhere(u16),
    /// On the port where CAs look.
    Standard,
}

/// The challenges to try for one identifier.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Choice {
    /// Those that can work, in the order in which to try them.
    pub usable: Vec<ChallengeType>,
    /// Those of the list that cannot, or only if the operator has seen to something, and why.
    pub remarks: Vec<Remark>,
    /// Those that a CA connects for, where the name leads elsewhere.
    pub passed_over: Vec<ChallengeType>,
}

/// What there is to say about a challenge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remark {
    /// The challenge.
    pub challenge: ChallengeType,
    /// Why it is passed over or comes last.
    pub reason: RemarkReason,
}

/// Why a challenge is passed over, or comes last.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize, thiserror::Error)]
#[non_exhaustive]
pub enum RemarkReason {
    /// CAA records name other methods (RFC 8657 §4).
    #[error("CAA records allow {} only", allowed.iter().cloned().collect::<Vec<_>>().join(", "))]
    CaaForbids {
        /// Those they name.
        allowed: BTreeSet<String>,
    },
    /// No listener answers it.
    #[error("there is no {protocol} listener, which a CA reaches on port {port}")]
    NoListener {
        /// What it would have to speak.
        protocol: String,
        /// The port where CAs look.
        port: u16,
    },
    /// An address has no zone to put a record in (RFC 8738 §7).
    #[error("an IP address cannot be proven by a DNS record")]
    NotForAddresses,
    /// A wildcard is proven by DNS only (RFC 8555 §8.3, RFC 8737 §3).
    #[error("a wildcard can only be proven by dns-01")]
    NotForWildcards,
    /// A CA would connect to somebody else.
    #[error("the name does not lead here")]
    NotPointed,
    /// It works if the port is forwarded.
    #[error("tried last: the listener is on port {found}, so port {port} has to be forwarded to it")]
    OtherPort {
        /// The listener's port.
        found: u16,
        /// The port where CAs look.
        port: u16,
    },
}

impl Doors {
    /// The doors that the listeners of `config` are.
    pub fn of(config: &Config) -> Self {
        let mut doors = Self::default();
        for listener in config.listeners.values().filter(|listener| listener.enabled) {
            let (door, standard) = match listener.protocol {
                Protocol::Http => (&mut doors.http, HTTP),
                Protocol::Tls => (&mut doors.tls, HTTPS),
            };
            let port = listener.address.port();
            if port == standard {
                *door = Door::Standard;
            } else if *door == Door::Closed {
                *door = Door::Elsewhere(port);
            }
        }
        doors
    }
}

/// The challenges of `listed` that can prove `identifier`, in their order; those that need a forwarded port come after
/// those that need nothing. `methods` are those that CAA records allow, absent: all.
pub fn choose(
    identifier: &NamePattern,
    listed: &[ChallengeType],
    doors: Doors,
    methods: Option<&BTreeSet<String>>,
) -> Choice {
    let mut choice = Choice::default();
    let mut last = Vec::new();
    for challenge in listed.iter().copied() {
        let remark = match (identifier, challenge) {
            (NamePattern::Wildcard(_), ChallengeType::Http01 | ChallengeType::TlsAlpn01) => {
                Some(RemarkReason::NotForWildcards)
            }
            (_, ChallengeType::Dns01) if identifier.address().is_some() => {
                Some(RemarkReason::NotForAddresses)
            }
            _ => None,
        };
        let forbidden = || {
            let allowed = methods.filter(|allowed| !allowed.contains(challenge.word()))?;
            Some(RemarkReason::CaaForbids {
                allowed: allowed.clone(),
            })
        };
        let door = match challenge {
            ChallengeType::Http01 => Some(("http", doors.http, HTTP)),
            ChallengeType::TlsAlpn01 => Some(("tls", doors.tls, HTTPS)),
            ChallengeType::Dns01 => None,
        };
        let at_the_door = || match door? {
            (protocol, Door::Closed, port) => Some(RemarkReason::NoListener {
                protocol: protocol.to_owned(),
                port,
            }),
            (_, Door::Elsewhere(found), port) => Some(RemarkReason::OtherPort { found, port }),
            (_, Door::Standard, _) => None,
        };
        match remark.or_else(forbidden).or_else(at_the_door) {
            None => choice.usable.push(challenge),
            Some(reason) => {
                if let RemarkReason::OtherPort { .. } = reason {
                    last.push(challenge);
                }
                choice.remarks.push(Remark { challenge, reason });
            }
        }
    }
    choice.usable.extend(last);
    choice
}

impl Choice {
    /// Passes over the challenges for which a CA connects to the name, for that leads elsewhere. Gives what there is to say.
    pub(super) fn pass_over_connections(&mut self) -> Vec<Remark> {
        let is_dns01 = |challenge: &ChallengeType| *challenge == ChallengeType::Dns01;
        let (usable, passed): (Vec<_>, Vec<_>) = self.usable.drain(..).partition(is_dns01);
        self.usable = usable;
        let remark = |challenge: &ChallengeType| Remark {
            challenge: *challenge,
            reason: RemarkReason::NotPointed,
        };
        let remarks = passed.iter().map(remark).collect();
        self.passed_over = passed;
        remarks
    }

    /// What stands in the way where nothing is usable.
    pub(super) fn obstacle(&self, pattern: &NamePattern) -> Obstacle {
        Obstacle::NoChallenge {
            name: pattern.to_string(),
            reasons: self.remarks.iter().map(Remark::to_string).collect(),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.challenge.word(), self.reason)
    }
}

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;
    use ChallengeType::{Dns01, Http01, TlsAlpn01};
    use Door::{Closed, Elsewhere, Standard};

    #[test]
    fn what_cannot_work_is_passed_over_and_the_order_stays() {
        let all = &[TlsAlpn01, Http01, Dns01][..];
        for (identifier, listed, http, tls, methods, expected) in [
            (
                "www.example.com",
                all,
                Standard,
                Standard,
                None,
                &[TlsAlpn01, Http01, Dns01][..],
            ),
            (
                "www.example.com",
                &[Http01, TlsAlpn01],
                Standard,
                Standard,
                None,
                &[Http01, TlsAlpn01],
            ),
            (
                "www.example.com",
                all,
                Closed,
                Standard,
                None,
                &[TlsAlpn01, Dns01],
            ),
            ("www.example.com", all, Standard, Closed, None, &[Http01, Dns01]),
            ("www.example.com", &[Http01, TlsAlpn01], Closed, Closed, None, &[]),
            (
                "www.example.com",
                all,
                Standard,
                Elsewhere(8443),
                None,
                &[Http01, Dns01, TlsAlpn01],
            ),
            (
                "www.example.com",
                &[TlsAlpn01, Http01],
                Elsewhere(8080),
                Elsewhere(8443),
                None,
                &[TlsAlpn01, Http01],
            ),
            ("*.example.com", all, Standard, Standard, None, &[Dns01]),
            (
                "*.example.com",
                &[TlsAlpn01, Http01],
                Standard,
                Standard,
                None,
                &[],
            ),
            ("192.0.2.1", all, Standard, Standard, None, &[TlsAlpn01, Http01]),
            ("2001:db8::1", &[Dns01], Standard, Standard, None, &[]),
            (
                "www.example.com",
                all,
                Standard,
                Standard,
                Some("dns-01"),
                &[Dns01],
            ),
            (
                "www.example.com",
                all,
                Standard,
                Standard,
                Some("http-01 dns-01"),
                &[Http01, Dns01],
            ),
            ("www.example.com", all, Closed, Standard, Some("http-01"), &[]),
            ("*.example.com", all, Standard, Standard, Some("http-01"), &[]),
        ] {
            let parsed = NamePattern::parse(identifier).unwrap();
            let methods: Option<BTreeSet<String>> =
                methods.map(|words| words.split(' ').map(ToOwned::to_owned).collect());
            let choice = choose(&parsed, listed, Doors { http, tls }, methods.as_ref());
            assert_eq!(
                choice.usable, expected,
                "{identifier} {listed:?} {http:?} {tls:?} {methods:?}"
            );
            let said = |challenge| choice.remarks.iter().any(|remark| remark.challenge == challenge);
            for challenge in listed {
                assert!(
                    choice.usable.contains(challenge) || said(*challenge),
                    "{identifier}: {challenge:?} is passed over in silence"
                );
            }
        }
    }

    #[test]
    fn each_reason_reads_as_what_to_do() {
        let texts = |identifier, doors| -> Vec<String> {
            let choice = choose(
                &NamePattern::parse(identifier).unwrap(),
                &[Http01, Dns01],
                doors,
                None,
            );
            choice.remarks.iter().map(Remark::to_string).collect()
        };
        let closed = Doors::default();
        assert_eq!(
            texts("*.example.com", closed),
            ["http-01: a wildcard can only be proven by dns-01"]
        );
        assert_eq!(
            texts("192.0.2.1", closed),
            [
                "http-01: there is no http listener, which a CA reaches on port 80",
                "dns-01: an IP address cannot be proven by a DNS record"
            ]
        );
    }
}
