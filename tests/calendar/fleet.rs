//! A fleet of certificates, and its years.

use std::collections::BTreeMap;
use std::time::Duration;

use certgate::certificate::{CertificateName, DesiredCertificate, KeyType, Leaf};
use certgate::clock::Timestamp;
use certgate::config::RateLimits;
use certgate::issuer::ledger::Ledger;
use certgate::issuer::{FailureClass, RenewalInfo};
use certgate::name::NamePattern;
use certgate::renewal::{Jitter, Reason, Rehearsal};

use crate::ca::{Answer, Ca};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const LIFETIME: Duration = Duration::from_secs(45 * 86_400);

pub(crate) fn start() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_219_200)
}

/// A fleet, its CA and its time.
pub(crate) struct Fleet {
    pub(crate) rehearsal: Rehearsal,
    pub(crate) ca: Ca,
    pub(crate) desired: Vec<DesiredCertificate>,
    /// When each was last obtained.
    pub(crate) obtained: Vec<Option<Timestamp>>,
    /// The least of its lifetime that any certificate had left when it was replaced.
    pub(crate) least_left: f64,
    domains: Vec<usize>,
}

impl Fleet {
    /// `count` names that are wanted, and nothing else.
    pub(crate) fn new(count: usize) -> Self {
        let domains = registered_domains(count);
        let desired: Vec<_> = domains
            .iter()
            .enumerate()
            .map(|(n, domain)| certificate(n, *domain))
            .collect();
        let mut rehearsal = Rehearsal::new(&desired, [], Jitter::new(7), start());
        rehearsal.know_limits("ca", Some(Ledger::new(RateLimits::LetsEncrypt)));
        Self {
            rehearsal,
            ca: Ca::new(count, LIFETIME),
            obtained: vec![None; count],
            least_left: 1.0,
            desired,
            domains,
        }
    }

    /// Lets time go on until `end`.
    pub(crate) fn live(&mut self, end: Timestamp) {
        while let Some(actions) = self.rehearsal.proceed(end) {
            let now = self.rehearsal.now();
            for action in actions {
                let name = &action.certificate;
                if matches!(action.next.reason, Reason::Asking | Reason::Settled) {
                    panic!("{name}: {}", action.next.reason);
                }
                let number = number(name);
                match self.ca.order(number, self.domains[number], now) {
                    Answer::Signed => self.obtained(name, number, now),
                    Answer::Down => self.rehearsal.failed(name, "ca", "503", FailureClass::Later),
                    Answer::NotValidated => self.rehearsal.failed(name, "ca", "invalid", FailureClass::Later),
                }
            }
        }
    }

    /// How many names have a certificate.
    pub(crate) fn served(&self) -> usize {
        self.obtained.iter().flatten().count()
    }

    /// The CA is asked about a certificate.
    pub(crate) fn ask(&mut self, number: usize) {
        let said = self.said(number);
        self.rehearsal.heard(&self.desired[number].name, &said);
    }

    fn said(&self, number: usize) -> RenewalInfo {
        RenewalInfo {
            window: Some(self.ca.window(number, self.rehearsal.now())),
            ask_at: None,
        }
    }

    /// The least of its lifetime that any certificate has left now.
    pub(crate) fn least_left_now(&self) -> f64 {
        let now = self.rehearsal.now();
        let left = self.obtained.iter().flatten().map(|at| left(*at, now));
        left.fold(1.0, f64::min)
    }

    fn obtained(&mut self, name: &CertificateName, number: usize, now: Timestamp) {
        if let Some(before) = self.obtained[number] {
            self.least_left = self.least_left.min(left(before, now));
        }
        self.obtained[number] = Some(now);
        let said = self.said(number);
        self.rehearsal.obtained(name, "ca", leaf(now), Some(&said));
    }
}

/// What a CA signs at `now`.
pub(crate) fn leaf(now: Timestamp) -> Leaf {
    Leaf {
        names: Vec::new(),
        not_before: now,
        not_after: now + LIFETIME,
        serial: String::new(),
        issuer: String::new(),
        key: String::new(),
        fingerprint: String::new(),
    }
}

fn left(obtained_at: Timestamp, now: Timestamp) -> f64 {
    (obtained_at + LIFETIME).since(now).as_secs_f64() / LIFETIME.as_secs_f64()
}

/// The registered domain of each name: half of the names have one for themselves, as customers' domains do; others
/// share one with up to 10, 50 or 250.
fn registered_domains(count: usize) -> Vec<usize> {
    let sizes = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 10];
    let mut domains = Vec::with_capacity(count);
    let mut domain = 0;
    while domains.len() < count {
        let size = match domain {
            _ if domain % 1_000 == 500 => 250,
            _ if domain % 100 == 50 => 50,
            _ => sizes[domain % sizes.len()],
        };
        domains.extend(std::iter::repeat_n(domain, size));
        domain += 1;
    }
    domains.truncate(count);
    domains
}

fn number(name: &CertificateName) -> usize {
    name.as_str()[1..].parse().unwrap()
}

fn certificate(number: usize, domain: usize) -> DesiredCertificate {
    DesiredCertificate {
        name: CertificateName::parse(&format!("c{number:06}")).unwrap(),
        domains: vec![NamePattern::parse(&format!("h{number}.d{domain}.com")).unwrap()],
        issuers: vec!["ca".into()],
        key_type: KeyType::EcdsaP256,
        reuse_key: false,
        spare_of: None,
        tags: BTreeMap::new(),
    }
}
