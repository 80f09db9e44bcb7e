//! The CA's rate limits, counted before it counts: what an order or a new account would cost is taken in the store before
//! it is asked for, and given back where nothing came of it. What the CA says of its limits corrects the count.

use http::Uri;

use crate::clock::Timestamp;
use crate::config::RateLimits;
use crate::issuer::acme::AcmeIssuer;
use crate::issuer::acme::account::Accounts;
use crate::issuer::acme::pursuit::Pursuit;
use crate::issuer::ledger::{self, Bucket, Ledger, Needs, OrderKind, Quota};
use crate::issuer::{FailureClass, IssueError, RateLimit};
use crate::name::NamePattern;

impl Pursuit<'_> {
    /// Takes what an order of this kind costs, once in an attempt.
    pub(super) async fn spend(&self, kind: OrderKind) -> Result<(), IssueError> {
        if self.course.has_spent() {
            return Ok(());
        }
        let Needs { taken, present } = ledger::needs(&self.request.desired.domains, kind);
        let now = self.issuer.clock.now();
        let wanted = |bucket: &Bucket, full_at: Timestamp| match bucket.quota(self.issuer.config.rate_limits)
        {
            Some(quota) if quota.free_at(full_at) > now => Err(IssueError::Limited {
                limit: bucket.to_string(),
                until: quota.free_at(full_at),
            }),
            quota => Ok(quota),
        };
        let keys = self.keys(taken.iter().chain(&present));
        self.change(&keys, |bucket, full_at| {
            let quota = wanted(bucket, full_at.unwrap_or_default())?;
            Ok(match quota {
                Some(quota) if taken.contains(bucket) => Some(quota.take(full_at.unwrap_or_default(), now)),
                _ => full_at,
            })
        })
        .await?;
        self.course.spent(&taken);
        Ok(())
    }

    /// Writes down what a failure says of limits: what was paid for nothing, where there `is_over`, authorizations
    /// that failed, and limits that are used up.
    pub(super) async fn account_for(&self, error: &IssueError, is_over: bool) -> Result<(), IssueError> {
        let now = self.issuer.clock.now();
        let mut changes: Vec<(Bucket, Change)> = Vec::new();
        if is_over {
            // An order counts from when it is placed, whatever comes of it.
            let is_placed = self.course.has_order();
            let spent = self.course.take_spent().into_iter();
            let back = spent.filter(|bucket| !is_placed || *bucket != Bucket::Orders);
            changes.extend(back.map(|bucket| (bucket, Change::GiveBack)));
        }
        match error {
            IssueError::OrderInvalid { failures, .. } => {
                // The names are the CA's words, until they are found to be names.
                let failed = failures
                    .iter()
                    .filter_map(|failure| NamePattern::parse(&failure.domain).ok());
                let failed = failed.flat_map(|name| ledger::failures(&name.to_string()));
                changes.extend(failed.map(|bucket| (bucket, Change::Take)));
            }
            error => changes.extend(used_up(error, &self.request.desired.domains)),
        }
        let rules = self.issuer.config.rate_limits;
        let keys = self.keys(changes.iter().map(|(bucket, _)| bucket));
        self.change(&keys, |bucket, full_at| {
            Ok(changed(&changes, bucket, rules, full_at, now))
        })
        .await
    }

    /// Writes down that every name of the certificate was validated: no failures of theirs stand in a row any more.
    pub(super) async fn account_for_success(&self) -> Result<(), IssueError> {
        let names = self.request.desired.domains.iter().map(ToString::to_string);
        let in_a_row: Vec<_> = names.map(Bucket::FailuresInARow).collect();
        self.change(&self.keys(in_a_row.iter()), |_, _| Ok(None)).await
    }

    fn keys<'b>(&self, buckets: impl Iterator<Item = &'b Bucket>) -> Vec<String> {
        let rules = self.issuer.config.rate_limits;
        let limited = buckets.filter(|bucket| bucket.quota(rules).is_some());
        let mut keys: Vec<_> = limited
            .map(|bucket| bucket.key(self.session.account.id()))
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }

    async fn change(
        &self,
        keys: &[String],
        change: impl Fn(&Bucket, Option<Timestamp>) -> Result<Option<Timestamp>, IssueError>,
    ) -> Result<(), IssueError> {
        if keys.is_empty() {
            return Ok(());
        }
        let account = self.session.account.id();
        let by_key = |key: &str, full_at| match Bucket::of_key(key, account) {
            Some(bucket) => change(&bucket, full_at),
            None => Ok(full_at),
        };
        let _turn = self.issuer.counting.lock().await;
        let inventory = &self.issuer.inventory;
        inventory
            .change_rate_limits(&self.issuer.ca(), keys, by_key)
            .await
    }
}

impl Accounts {
    /// Takes what a new account costs.
    pub(super) async fn spend(&self) -> Result<(), IssueError> {
        let now = self.clock.now();
        self.change(|bucket, quota, full_at| match quota.free_at(full_at) {
            until if until > now => Err(IssueError::Limited {
                limit: bucket.to_string(),
                until,
            }),
            _ => Ok(Some(quota.take(full_at, now))),
        })
        .await
    }

    /// Writes down what a registration that failed says of limits.
    pub(super) async fn account_for(&self, error: &IssueError) -> Result<(), IssueError> {
        let now = self.clock.now();
        let may_be_there = match error {
            IssueError::Refused { .. } => false,
            // Nothing but the directory was asked for.
            IssueError::Unreachable { url, .. } => *url != self.config.directory,
            _ => true,
        };
        let mut changes = Vec::new();
        if !may_be_there {
            changes.extend(ledger::REGISTRATION.map(|bucket| (bucket, Change::GiveBack)));
        }
        changes.extend(used_up(error, &[]));
        let rules = self.config.rate_limits;
        self.change(|bucket, _, full_at| Ok(changed(&changes, bucket, rules, Some(full_at), now)))
            .await
    }

    async fn change(
        &self,
        change: impl Fn(&Bucket, Quota, Timestamp) -> Result<Option<Timestamp>, IssueError>,
    ) -> Result<(), IssueError> {
        let rules = self.config.rate_limits;
        let limited = ledger::REGISTRATION
            .into_iter()
            .filter(|bucket| bucket.quota(rules).is_some());
        // The same for every account.
        let keys: Vec<_> = limited.map(|bucket| bucket.key("")).collect();
        let by_key = |key: &str, full_at: Option<Timestamp>| match Bucket::of_key(key, "") {
            Some(bucket) => match bucket.quota(rules) {
                Some(quota) => change(&bucket, quota, full_at.unwrap_or_default()),
                None => Ok(full_at),
            },
            None => Ok(full_at),
        };
        let ca = ca(&self.config.directory, &self.issuer);
        self.inventory.change_rate_limits(&ca, &keys, by_key).await
    }
}

/// What becomes of a bucket.
enum Change {
    Take,
    Empty(Timestamp),
    GiveBack,
}

/// The limit that a refusal says is used up.
fn used_up(error: &IssueError, domains: &[NamePattern]) -> Option<(Bucket, Change)> {
    let IssueError::Refused {
        problem: Some(problem),
        ..
    } = error
    else {
        return None;
    };
    let meant = ledger::meant(problem.detail.as_deref()?, domains)?;
    match error.class() {
        FailureClass::At(until) => Some((meant, Change::Empty(until))),
        _ => None,
    }
}

/// When `bucket` will be full after those of `changes` that are about it; `None` where it is.
fn changed(
    changes: &[(Bucket, Change)],
    bucket: &Bucket,
    rules: RateLimits,
    full_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let quota = bucket.quota(rules)?;
    let mine = changes.iter().filter(|(changed, _)| changed == bucket);
    let next = mine.fold(full_at.unwrap_or_default(), |full_at, (_, change)| match change {
        Change::Take => quota.take(full_at, now),
        Change::Empty(until) => quota.emptied(full_at, *until),
        Change::GiveBack => quota.give_back(full_at),
    });
    (next > now).then_some(next)
}

impl AcmeIssuer {
    /// What limits are used, the scarcest first.
    pub(super) async fn used_limits(&self) -> Result<Vec<RateLimit>, IssueError> {
        let now = self.clock.now();
        let account = self
            .accounts
            .info()
            .await?
            .map_or_else(String::new, |info| info.url);
        let used = self.inventory.rate_limits(&self.ca()).await?;
        let mut limits: Vec<_> = used
            .into_iter()
            .filter(|(_, full_at)| *full_at > now)
            .filter_map(|(key, full_at)| {
                let bucket = Bucket::of_key(&key, &account)?;
                let quota = bucket.quota(self.config.rate_limits)?;
                Some(RateLimit {
                    limit: bucket.to_string(),
                    left: quota.left(full_at, now),
                    allowed: quota.tokens,
                    next_at: quota.free_at(full_at).max(now),
                })
            })
            .collect();
        limits.sort_by_key(|limit| {
            (
                u64::from(limit.left) * 1_000 / u64::from(limit.allowed),
                limit.limit.clone(),
            )
        });
        Ok(limits)
    }

    /// What is left of all limits.
    pub(super) async fn ledger(&self) -> Result<Option<Ledger>, IssueError> {
        let rules = self.config.rate_limits;
        if rules == RateLimits::None {
            return Ok(None);
        }
        let now = self.clock.now();
        let info = self.accounts.info().await?;
        let mut ledger = Ledger::new(rules).of_ca(self.ca());
        if info.is_none() {
            ledger = ledger.without_account();
        }
        let account = info.map_or_else(String::new, |info| info.url);
        for (key, full_at) in self.inventory.rate_limits(&self.ca()).await? {
            if let Some(bucket) = Bucket::of_key(&key, &account).filter(|_| full_at > now) {
                ledger.note(bucket, full_at);
            }
        }
        Ok(Some(ledger))
    }

    fn ca(&self) -> String {
        ca(&self.config.directory, &self.name)
    }
}

/// Whose limits these are: issuers at one CA share some of them.
fn ca(directory: &str, issuer: &str) -> String {
    let url: Option<Uri> = directory.parse().ok();
    let host = url.as_ref().and_then(|url| Some((url.host()?, url.port_u16())));
    match host {
        Some((host, None)) => host.to_owned(),
        Some((host, Some(port))) => format!("{host}:{port}"),
        None => issuer.to_owned(),
    }
}
