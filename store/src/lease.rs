//! Leases: one holder at a time, for a while, with a token that fences late writes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::key::check_key;
use crate::{Revision, StoreError};

/// The right to act under a name, until it expires.
///
/// Two clones are the same lease. Its token is larger than that of every lease of this name before it, also over
/// restarts, so whatever is told the token can refuse a holder from the past.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    name: String,
    holder: String,
    token: u64,
    ttl: Duration,
}

impl Lease {
    /// What is leased.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who holds it.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// The fencing token: the value of the store's revision when the lease was taken.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// How long it lasts after it was taken or last kept.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

/// The leases held in this process. Nothing of it is stored: a backend that one process owns frees the leases of a
/// dead process by starting anew, and tokens go on because they are revisions.
#[derive(Default)]
pub(crate) struct LeaseTable {
    held: HashMap<String, Held>,
}

struct Held {
    lease: Lease,
    since: Instant,
}

impl LeaseTable {
    /// Whether `holder` could take the lease now.
    pub(crate) fn is_free(&self, name: &str, holder: &str, now: Instant) -> bool {
        self.held
            .get(name)
            .is_none_or(|held| held.lease.holder == holder || held.expired(now))
    }

    /// Hands the lease out. `revision` must be newer than that of any lease before.
    pub(crate) fn grant(
        &mut self,
        name: String,
        holder: String,
        ttl: Duration,
        revision: Revision,
        now: Instant,
    ) -> Lease {
        self.held.retain(|_, held| !held.expired(now));
        let lease = Lease {
            name,
            holder,
            token: revision.value(),
            ttl,
        };
        self.held.insert(
            lease.name.clone(),
            Held {
                lease: lease.clone(),
                since: now,
            },
        );
        lease
    }

    /// Fails unless this very lease is still held.
    pub(crate) fn check(&self, lease: &Lease, now: Instant) -> Result<(), StoreError> {
        match self.held.get(&lease.name) {
            Some(held) if held.lease.token == lease.token && !held.expired(now) => Ok(()),
            _ => Err(StoreError::LeaseLost {
                name: lease.name.clone(),
            }),
        }
    }

    pub(crate) fn keep(&mut self, lease: &Lease, now: Instant) -> Result<(), StoreError> {
        self.check(lease, now)?;
        if let Some(held) = self.held.get_mut(&lease.name) {
            held.since = now;
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, lease: &Lease) {
        if self
            .held
            .get(&lease.name)
            .is_some_and(|held| held.lease.token == lease.token)
        {
            self.held.remove(&lease.name);
        }
    }
}

impl Held {
    fn expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.lease.ttl
    }
}

/// Names of leases and holders obey the rules of keys.
pub(crate) fn check_names(name: &str, holder: &str) -> Result<(), StoreError> {
    check_key(name)?;
    check_key(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn granted(table: &mut LeaseTable, holder: &str, revision: u64, now: Instant) -> Option<Lease> {
        table
            .is_free("job", holder, now)
            .then(|| table.grant("job".into(), holder.into(), TTL, Revision::new(revision), now))
    }

    #[test]
    fn a_lease_excludes_others_until_its_ttl_has_passed() {
        let (mut table, start) = (LeaseTable::default(), Instant::now());
        let first = granted(&mut table, "a", 1, start).unwrap();
        assert_eq!(
            granted(&mut table, "b", 2, start + TTL - Duration::from_millis(1)),
            None
        );
        assert!(granted(&mut table, "b", 2, start + TTL).is_some());
        assert!(matches!(
            table.check(&first, start + TTL),
            Err(StoreError::LeaseLost { .. })
        ));
    }

    #[test]
    fn keeping_starts_the_ttl_again() {
        let (mut table, start) = (LeaseTable::default(), Instant::now());
        let lease = granted(&mut table, "a", 1, start).unwrap();
        table.keep(&lease, start + TTL / 2).unwrap();
        assert!(table.check(&lease, start + TTL).is_ok());
        assert!(table.keep(&lease, start + TTL * 3 / 2).is_err());
    }

    #[test]
    fn a_holder_that_asks_again_fences_its_earlier_self() {
        let (mut table, start) = (LeaseTable::default(), Instant::now());
        let first = granted(&mut table, "a", 1, start).unwrap();
        let second = granted(&mut table, "a", 2, start).unwrap();
        assert!(table.check(&first, start).is_err());
        table.release(&first);
        assert!(table.check(&second, start).is_ok());
    }

    #[test]
    fn expired_leases_do_not_pile_up() {
        let (mut table, start) = (LeaseTable::default(), Instant::now());
        for n in 0..100 {
            table.grant(format!("job/{n}"), "a".into(), TTL, Revision::new(n), start);
        }
        granted(&mut table, "a", 100, start + TTL).unwrap();
        assert_eq!(table.held.len(), 1);
    }
}
