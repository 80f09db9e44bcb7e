//! What was denied a while ago, so that it is not asked again and again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use super::denial::Denial;

/// A cache of refusals, some 90 bytes each whatever the names: it holds secret hashes of them. When it is full, the oldest
/// gives way.
#[derive(Debug)]
pub(super) struct Denials {
    most: usize,
    hasher: RandomState,
    by_name: HashMap<u64, Remembered>,
    /// In the order in which they came; those that were forgotten meanwhile included.
    order: VecDeque<(u64, Instant)>,
}

#[derive(Debug)]
struct Remembered {
    denial: Denial,
    until: Instant,
}

impl Denials {
    /// An empty one that never holds more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            by_name: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Why `name` was denied, if that still counts at `now`.
    pub(super) fn find(&mut self, name: &str, now: Instant) -> Option<Denial> {
        let hash = self.hasher.hash_one(name);
        let known = self.by_name.get(&hash)?;
        if known.until > now {
            return Some(known.denial);
        }
        self.by_name.remove(&hash);
        None
    }

    /// `name` is denied `until` then.
    pub(super) fn note(&mut self, name: &str, denial: Denial, until: Instant) {
        while self.order.len() >= self.most {
            let Some((oldest, until)) = self.order.pop_front() else {
                break;
            };
            if self
                .by_name
                .get(&oldest)
                .is_some_and(|known| known.until == until)
            {
                self.by_name.remove(&oldest);
            }
        }
        let hash = self.hasher.hash_one(name);
        self.order.push_back((hash, until));
        self.by_name.insert(hash, Remembered { denial, until });
    }

    /// How many it holds, those that have expired unseen included.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_denial_counts_until_its_time_is_over() {
        let (mut denials, now) = (Denials::new(10), Instant::now());
        let until = now + Duration::from_secs(60);
        denials.note("a.example", Denial::NotAllowed, until);
        assert_eq!(denials.find("a.example", now), Some(Denial::NotAllowed));
        assert_eq!(denials.find("b.example", now), None);
        assert_eq!(denials.find("a.example", until), None);
        assert_eq!(denials.len(), 0);
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_the_oldest_gives_way() {
        let (mut denials, now) = (Denials::new(100), Instant::now());
        for number in 0..10_000_u64 {
            let until = now + Duration::from_secs(60 + number);
            denials.note(&format!("{number}.example"), Denial::NotAllowed, until);
            // The same once more, as after it has expired.
            denials.note("often.example", Denial::Dns, until);
            assert!(denials.len() <= 100 && denials.order.len() <= 100);
        }
        assert_eq!(denials.find("9999.example", now), Some(Denial::NotAllowed));
        assert_eq!(denials.find("often.example", now), Some(Denial::Dns));
        assert_eq!(denials.find("9000.example", now), None);
    }
}
