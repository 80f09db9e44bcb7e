//! Look-up and judgement together, against `[gateway]`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::evidence::{AddressAnswer, ChainEnd, RecordType};
use super::lookup::Questions;
use super::report::DomainVerdict;
use super::verdict::{Obstacle, SkipReason, Target, Verdict};
use crate::config::GatewayConfig;
use crate::name::{DnsName, NamePattern};

/// Checks whether names lead to this gateway. Nothing is remembered from one check to the next.
#[derive(Clone, Debug)]
pub struct DnsChecker {
    gateway: Option<GatewayConfig>,
}

impl DnsChecker {
    /// A checker against `gateway`; without one, or with one that names neither an address nor a hostname,
    /// every check is skipped.
    pub fn new(gateway: Option<&GatewayConfig>) -> Self {
        let says_something =
            |gateway: &&GatewayConfig| !gateway.addresses.is_empty() || gateway.hostname.is_some();
        Self {
            gateway: gateway.filter(says_something).cloned(),
        }
    }

    /// Checks one name. Takes 10 seconds at most.
    pub async fn check(&self, name: &DnsName) -> DomainVerdict {
        let pattern = NamePattern::Exact(name.clone());
        self.check_one(&pattern, Instant::now() + WHOLE_CHECK).await
    }

    /// Checks every name, several at a time; the verdicts stand in the order of `patterns`. Takes 10 seconds at
    /// most: names whose turn does not come by then are told to wait.
    pub async fn check_all(&self, patterns: &[NamePattern]) -> Vec<DomainVerdict> {
        let deadline = Instant::now() + WHOLE_CHECK;
        stream::iter(patterns)
            .map(|pattern| self.check_one(pattern, deadline))
            .buffered(AT_A_TIME)
            .collect()
            .await
    }

    async fn check_one(&self, pattern: &NamePattern, deadline: Instant) -> DomainVerdict {
        let skipped = |reason| DomainVerdict::without_records(pattern.clone(), Verdict::Skipped { reason });
        let (gateway, name) = match (&self.gateway, pattern) {
            (None, _) => return skipped(SkipReason::NoGateway),
            (Some(_), NamePattern::Wildcard(_)) => return skipped(SkipReason::Wildcard),
            (Some(gateway), NamePattern::Exact(name)) => (gateway, name),
        };
        let wait = |obstacle| {
            let obstacles = vec![obstacle];
            DomainVerdict::without_records(pattern.clone(), Verdict::Wait { obstacles })
        };
        let questions = match Questions::new(&gateway.resolvers, deadline) {
            Ok(questions) => questions,
            Err(error) => {
                return wait(Obstacle::NoResolver {
                    cause: error.to_string(),
                });
            }
        };

        let evidence = questions.trace(name).await;
        let mut target = Target {
            addresses: gateway.addresses.iter().copied().collect(),
            hostname: gateway.hostname.clone(),
        };
        if target.addresses.is_empty()
            && !target.is_alias(&evidence)
            && let Some(hostname) = &gateway.hostname
        {
            // Names that cannot be aliases, the apex of a zone above all, hold the hostname's addresses instead.
            match addresses(hostname, &questions).await {
                Ok(found) => target.addresses = found,
                Err(obstacle) => return wait(obstacle),
            }
        }
        DomainVerdict::of(name, &target, &evidence)
    }
}

/// The addresses of the gateway's hostname; none where it has none.
async fn addresses(hostname: &DnsName, questions: &Questions) -> Result<BTreeSet<IpAddr>, Obstacle> {
    let evidence = questions.trace(hostname).await;
    let unanswered = |record, failure| Obstacle::Unanswered {
        owner: evidence.last(hostname.as_str()).to_owned(),
        record,
        failure,
    };
    let (a, aaaa) = match &evidence.end {
        ChainEnd::Addresses { a, aaaa } => (a, aaaa),
        ChainEnd::Unanswered(failure) => return Err(unanswered(RecordType::Cname, failure.clone())),
        ChainEnd::Loop | ChainEnd::NoSuchName | ChainEnd::TooLong => return Ok(BTreeSet::new()),
    };
    let mut found = BTreeSet::new();
    for (record, answer) in [(RecordType::A, a), (RecordType::Aaaa, aaaa)] {
        match answer {
            AddressAnswer::Found(addresses) => found.extend(addresses),
            AddressAnswer::NoSuchName => {}
            AddressAnswer::Unanswered(failure) => return Err(unanswered(record, failure.clone())),
        }
    }
    Ok(found)
}

/// For one call of [`DnsChecker`], however many names it is about.
const WHOLE_CHECK: Duration = Duration::from_secs(10);

/// Names looked up side by side; each asks two questions at a time at most.
const AT_A_TIME: usize = 8;
