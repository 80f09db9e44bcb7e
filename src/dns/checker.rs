//! Look-up and judgement together, against `[gateway]` and what an order would need.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address;
use super::caa::CaIdentity;
use super::challenge::Doors;
use super::evidence::{AddressAnswer, ChainEnd, RecordType};
use super::examination::Examination;
use super::lookup::Traced;
use super::obstacle::Obstacle;
use super::report::DomainVerdict;
use super::verdict::{SkipReason, Target, Verdict};
use super::view::{QUESTIONS_AT_A_TIME, Questions, View};
use crate::clock::Timestamp;
use crate::config::{ChallengeType, GatewayConfig};
use crate::name::{DnsName, NamePattern};

/// Checks names in DNS. Nothing is remembered from one check to the next. Clones share what is asked at a time.
#[derive(Clone, Debug)]
pub struct DnsChecker {
    gateway: Option<GatewayConfig>,
    turns: Arc<Semaphore>,
    until: Option<Instant>,
}

/// What an order for a name would need, besides that the name leads here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Conditions {
    /// Who would issue; absent where that is not known, and then CAA records are shown but not judged.
    pub ca: Option<CaIdentity>,
    /// The challenges that the issuer is configured for, in their order; absent where no issuer is known.
    pub challenges: Option<Vec<ChallengeType>>,
    /// Where a CA finds the gateway's listeners.
    pub doors: Doors,
    /// The text that the name's owner has to show in a TXT record.
    pub ownership: Option<String>,
    /// Whether DNS is not to be asked at all.
    pub off: bool,
    /// Whether orders are made whatever DNS says, so that a challenge is tried that it speaks against.
    pub advisory: bool,
}

impl DnsChecker {
    /// A checker against `gateway`; without one, or with one that names neither an address nor a hostname, nothing
    /// is asked.
    pub fn new(gateway: Option<&GatewayConfig>) -> Self {
        let says_something =
            |gateway: &&GatewayConfig| !gateway.addresses.is_empty() || gateway.hostname.is_some();
        Self {
            gateway: gateway.filter(says_something).cloned(),
            turns: Arc::new(Semaphore::new(QUESTIONS_AT_A_TIME)),
            until: None,
        }
    }

    /// The same, of which all checks together end by `deadline`.
    pub fn until(mut self, deadline: Instant) -> Self {
        self.until = Some(deadline);
        self
    }

    /// Checks one name. Takes 10 seconds at most.
    pub async fn check(&self, name: &DnsName, conditions: &Conditions, now: Timestamp) -> DomainVerdict {
        let patterns = [NamePattern::Exact(name.clone())];
        let mut verdicts = self.check_all(&patterns, conditions, now).await;
        verdicts.pop().expect("there is a verdict for each name")
    }

    /// Checks every name, several at a time; the verdicts stand in the order of `patterns`. Takes 10 seconds at
    /// most: names whose turn does not come by then are told to wait. IP addresses are compared with the gateway's, and
    /// nothing is asked. `now` is the wall time.
    pub async fn check_all(
        &self,
        patterns: &[NamePattern],
        conditions: &Conditions,
        now: Timestamp,
    ) -> Vec<DomainVerdict> {
        let names = patterns.iter().filter(|pattern| pattern.address().is_none());
        let names: Vec<_> = names.cloned().collect();
        let mut of_names = self.check_names(&names, conditions, now).await.into_iter();
        let verdicts = patterns.iter().filter_map(|pattern| match pattern.address() {
            Some(address) => {
                let gateway = self.gateway.as_ref();
                Some(address::examine(pattern, address, gateway, conditions))
            }
            None => of_names.next(),
        });
        verdicts.collect()
    }

    async fn check_names(
        &self,
        patterns: &[NamePattern],
        conditions: &Conditions,
        now: Timestamp,
    ) -> Vec<DomainVerdict> {
        let skipped = |reason| {
            let all = patterns.iter();
            all.map(|pattern| DomainVerdict::unchecked(pattern, Verdict::Skipped { reason }, conditions))
                .collect()
        };
        let gateway = match &self.gateway {
            None => return skipped(SkipReason::NoGateway),
            Some(_) if conditions.off => return skipped(SkipReason::Off),
            Some(gateway) => gateway,
        };
        let deadline = Instant::now() + WHOLE_CHECK;
        let deadline = self.until.map_or(deadline, |until| until.min(deadline));
        let questions = match Questions::new(gateway, deadline) {
            Ok(questions) => questions.taking_turns(self.turns.clone()),
            Err(cause) => {
                let wait = Verdict::wait(Obstacle::NoResolver { cause });
                let all = patterns.iter();
                return all
                    .map(|pattern| DomainVerdict::unchecked(pattern, wait.clone(), conditions))
                    .collect();
            }
        };
        let questions = &questions;
        // Owned, for the future must be one that can be sent to another thread whatever the lifetime of `patterns`.
        stream::iter(patterns.to_vec())
            .map(|pattern| async move {
                let examination = Examination {
                    gateway,
                    questions: &questions.of_one_name(),
                    conditions,
                    now,
                };
                examination.of(&pattern).await
            })
            .buffered(AT_A_TIME)
            .collect()
            .await
    }
}

impl Questions {
    /// What `name` would have to lead to as `view` sees it, where `traced` is what it leads to.
    pub(super) async fn target(
        &self,
        view: &View,
        gateway: &GatewayConfig,
        traced: &Traced,
    ) -> Result<Target, Obstacle> {
        let mut target = Target {
            addresses: gateway.addresses.iter().copied().collect(),
            hostname: gateway.hostname.clone(),
        };
        if target.addresses.is_empty()
            && !target.is_alias(&traced.evidence)
            && let Some(hostname) = &gateway.hostname
        {
            // Names that cannot be aliases, the apex of a zone above all, hold the hostname's addresses instead.
            target.addresses = self.addresses_behind(view, hostname).await?;
        }
        Ok(target)
    }

    /// The addresses of the gateway's hostname; none where it has none.
    async fn addresses_behind(&self, view: &View, hostname: &DnsName) -> Result<BTreeSet<IpAddr>, Obstacle> {
        let evidence = self.trace(view, hostname).await.evidence;
        let last = evidence.last(hostname.as_str());
        let unanswered = |record, failure| Obstacle::unanswered(last, record, &evidence.from, failure);
        let (a, aaaa) = match &evidence.end {
            ChainEnd::Addresses { a, aaaa } => (a, aaaa),
            ChainEnd::Unanswered(failure) => return Err(unanswered(RecordType::Cname, failure)),
            ChainEnd::Differing(answers) => {
                return Err(Obstacle::Differing {
                    owner: last.to_owned(),
                    record: RecordType::Cname,
                    answers: answers.clone(),
                });
            }
            ChainEnd::Loop | ChainEnd::NoSuchName | ChainEnd::TooLong => return Ok(BTreeSet::new()),
        };
        let mut found = BTreeSet::new();
        for (record, answer) in [(RecordType::A, a), (RecordType::Aaaa, aaaa)] {
            match answer {
                AddressAnswer::Found(addresses) => found.extend(addresses),
                AddressAnswer::Differing(answers) => found.extend(answers.values().flatten()),
                AddressAnswer::NoSuchName => {}
                AddressAnswer::Unanswered(failure) => return Err(unanswered(record, failure)),
            }
        }
        Ok(found)
    }
}

/// For one call of [`DnsChecker`], however many names it is about.
const WHOLE_CHECK: Duration = Duration::from_secs(10);

/// Names looked up side by side.
const AT_A_TIME: usize = 8;
