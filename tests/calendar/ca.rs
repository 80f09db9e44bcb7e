//! A CA with Let's Encrypt's published limits, by books of its own: <https://letsencrypt.org/docs/rate-limits/>.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use certgate::certificate::RenewalWindow;
use certgate::clock::Timestamp;

const HOUR: i64 = 3_600_000;
const WEEK: i64 = 7 * 24 * HOUR;

/// So many in so many milliseconds: a bucket that fills up at a steady rate.
#[derive(Clone, Copy)]
struct Limit {
    count: i64,
    window: i64,
}

const ORDERS: Limit = Limit {
    count: 300,
    window: 3 * HOUR,
};
const DOMAIN: Limit = Limit {
    count: 50,
    window: WEEK,
};
const SAME_SET: Limit = Limit {
    count: 5,
    window: WEEK,
};
const FAILED: Limit = Limit {
    count: 5,
    window: HOUR,
};

/// The moment at which a bucket is full.
type FullAt = i64;

impl Limit {
    fn allows(self, full_at: FullAt, now: i64) -> bool {
        let refill = self.window / self.count;
        full_at.max(now) + refill - now <= self.count * refill
    }

    fn spend(self, full_at: &mut FullAt, now: i64) {
        *full_at = (*full_at).max(now) + self.window / self.count;
    }
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Signed,
    /// 503, or nothing at all.
    Down,
    /// The order is invalid: a name was not validated.
    NotValidated,
}

/// Certificates are known by the number of their only name.
#[derive(Default)]
pub(crate) struct Ca {
    lifetime: Duration,
    /// Where in a lifetime it suggests to renew, and how far around that.
    ideal: Duration,
    margin: Duration,
    pub(crate) outage: Option<Range<Timestamp>>,
    /// How many of a thousand orders fail, half of them before they are placed.
    pub(crate) failing: u64,
    /// Orders that a limit forbade.
    pub(crate) refused: Vec<String>,
    /// The hours since 1970 in which there were orders, each with how many; those that failed included.
    pub(crate) hours: Vec<(i64, u32)>,
    pub(crate) signed: usize,
    pub(crate) failed: usize,
    orders: FullAt,
    domains: Vec<FullAt>,
    sets: Vec<FullAt>,
    failures: Vec<FullAt>,
    /// When it has signed for a name last.
    known: Vec<Option<Timestamp>>,
    revoked: HashSet<usize>,
    drawn: u64,
}

impl Ca {
    /// One that is asked for `count` names at most, and whose certificates are valid for `lifetime`.
    pub(crate) fn new(count: usize, lifetime: Duration) -> Self {
        Self {
            lifetime,
            ideal: lifetime.mul_f64(0.6),
            margin: lifetime.mul_f64(0.02),
            domains: vec![0; count],
            sets: vec![0; count],
            failures: vec![0; count],
            known: vec![None; count],
            ..Self::default()
        }
    }

    /// Lets it suggest to renew as Let's Encrypt does: around two thirds of the lifetime, a hundredth of it before and after.
    pub(crate) fn suggest_as_lets_encrypt(&mut self) {
        self.ideal = self.lifetime.mul_f64(2.0 / 3.0);
        self.margin = self.lifetime / 100;
    }

    /// Wants a certificate replaced at once.
    pub(crate) fn revoke(&mut self, name: usize) {
        self.revoked.insert(name);
    }

    /// When it suggests to renew what it has signed last for a name: around three fifths of the lifetime, or an hour ago.
    pub(crate) fn window(&self, name: usize, now: Timestamp) -> RenewalWindow {
        let (start, end) = match self.known[name] {
            Some(signed_at) if self.revoked.is_empty() || !self.revoked.contains(&name) => {
                let ideal = signed_at + self.ideal;
                (ideal - self.margin, ideal + self.margin)
            }
            _ => (now - Duration::from_secs(3_600), now - Duration::from_secs(1_800)),
        };
        RenewalWindow {
            start,
            end,
            explanation: None,
        }
    }

    /// How many orders there were in the busiest hour.
    pub(crate) fn busiest_hour(&self) -> u32 {
        self.hours.iter().map(|(_, orders)| *orders).max().unwrap_or(0)
    }

    /// An order for a name of a registered domain, which says what it replaces where there is something.
    pub(crate) fn order(&mut self, name: usize, domain: usize, at: Timestamp) -> Answer {
        let now = at.unix_milliseconds();
        let hour = now.div_euclid(HOUR);
        match self.hours.last_mut() {
            Some((last, orders)) if *last == hour => *orders += 1,
            _ => self.hours.push((hour, 1)),
        }
        if self.outage.as_ref().is_some_and(|outage| outage.contains(&at)) {
            return Answer::Down;
        }
        let draw = self.draw(1_000);
        if draw < self.failing / 2 {
            self.failed += 1;
            return Answer::Down;
        }
        let is_renewal = self.known[name].is_some();
        let window = self.window(name, at);
        let is_exempt = is_renewal && (window.start..=window.end).contains(&at);
        if !is_exempt {
            self.check(name, domain, is_renewal, now);
        }
        if !is_renewal {
            ORDERS.spend(&mut self.orders, now);
        }
        if draw < self.failing {
            self.failed += 1;
            FAILED.spend(&mut self.failures[name], now);
            return Answer::NotValidated;
        }
        if !is_exempt {
            SAME_SET.spend(&mut self.sets[name], now);
        }
        if !is_renewal {
            DOMAIN.spend(&mut self.domains[domain], now);
        }
        self.signed += 1;
        if !self.revoked.is_empty() {
            self.revoked.remove(&name);
        }
        self.known[name] = Some(at);
        Answer::Signed
    }

    fn check(&mut self, name: usize, domain: usize, is_renewal: bool, now: i64) {
        let checks = [
            ("failed authorizations", FAILED.allows(self.failures[name], now)),
            ("exact set", SAME_SET.allows(self.sets[name], now)),
            ("orders", is_renewal || ORDERS.allows(self.orders, now)),
            (
                "registered domain",
                is_renewal || DOMAIN.allows(self.domains[domain], now),
            ),
        ];
        for (limit, _) in checks.into_iter().filter(|(_, allowed)| !allowed) {
            self.refused.push(format!("{limit}: name {name} at {now}"));
        }
    }

    /// A number below `end`, always the same ones in the same order.
    fn draw(&mut self, end: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[test]
fn the_ca_of_these_tests_refuses_what_its_limits_forbid() {
    let now = Timestamp::from_unix_seconds(1_795_219_200);
    let refused = |order: &dyn Fn(usize) -> (usize, usize), count| {
        let mut ca = Ca::new(302, Duration::from_secs(45 * 86_400));
        for n in 0..count {
            let (name, domain) = order(n);
            ca.order(name, domain, now);
        }
        ca.refused.len()
    };
    assert_eq!(refused(&|n| (n, n), 300), 0);
    assert_eq!(refused(&|n| (n, n), 302), 2);
    assert_eq!(refused(&|n| (n, 0), 50), 0);
    assert_eq!(refused(&|n| (n, 0), 52), 2);
    assert_eq!(refused(&|_| (0, 0), 5), 0);
    assert_eq!(refused(&|_| (0, 0), 7), 2);
}
