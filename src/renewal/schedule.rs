//! When a certificate is renewed: a random point, by fractions of its lifetime.

use std::time::Duration;

use crate::certificate::{CertificateName, Leaf};
use crate::clock::Timestamp;
use crate::inventory::CurrentCertificate;

/// A source of randomness that always says the same of the same: whoever has the seed can compute a plan again.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The source with this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to but not including 1, for what happens to a certificate at a moment. Further draws
    /// for the same moment differ.
    pub fn fraction(self, name: &CertificateName, at: Timestamp, draw: u32) -> f64 {
        let moment = at.unix_milliseconds().cast_unsigned();
        let bytes = name.as_str().bytes();
        let of_name = bytes.fold(mixed(self.0), |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
        });
        let bits = mixed(mixed(of_name ^ moment) ^ u64::from(draw));
        (bits >> 32) as f64 / (1_u64 << 32) as f64
    }
}

/// The output function of SplitMix64: numbers that differ in one bit differ in half of them afterwards.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// How long a certificate is of use: from when it was installed, for CAs write a beginning that has passed
/// already (Let's Encrypt by an hour, which is a long time for a certificate of ten minutes).
pub fn lifetime(leaf: &Leaf, obtained_at: Timestamp) -> Duration {
    leaf.not_after.since(obtained_at.max(leaf.not_before))
}

/// When a certificate installed at `obtained_at` is renewed. `fraction`, from 0 to 1, chooses the point inside the
/// window.
///
/// The window ends a fifteenth of the lifetime, three days at most, before a third of it is left, so that a CA may fail
/// for a day and a half; with half of it left where the lifetime is under ten days. It is a twentieth of the lifetime
/// long.
pub fn renewal_point(leaf: &Leaf, obtained_at: Timestamp, fraction: f64) -> Timestamp {
    early_point(leaf, obtained_at, fraction, 0.0)
}

/// The same, in a window that begins earlier: the more, the nearer `widened` is to 1, up to a quarter of the lifetime.
pub fn early_point(leaf: &Leaf, obtained_at: Timestamp, fraction: f64, widened: f64) -> Timestamp {
    let lifetime = lifetime(leaf, obtained_at);
    let latest = latest(lifetime);
    let usual = latest.saturating_sub(part(lifetime, WINDOW));
    let earliest = usual - part(usual.saturating_sub(lifetime / 4), widened);
    let elapsed = earliest + part(latest.saturating_sub(earliest), fraction);
    obtained_at.max(leaf.not_before) + elapsed.max(SHORTEST)
}

/// This part of `whole`, from 0 to 1, to the millisecond.
fn part(whole: Duration, fraction: f64) -> Duration {
    Duration::from_millis((whole.as_secs_f64() * 1_000.0 * fraction.clamp(0.0, 1.0)) as u64)
}

/// The end of both windows.
pub fn latest_point(leaf: &Leaf, obtained_at: Timestamp) -> Timestamp {
    obtained_at.max(leaf.not_before) + latest(lifetime(leaf, obtained_at)).max(SHORTEST)
}

fn latest(lifetime: Duration) -> Duration {
    match lifetime < SHORT_LIFETIME {
        true => lifetime / 2,
        false => lifetime - lifetime / 3 - (lifetime / 15).min(LONGEST_MARGIN),
    }
}

/// When a third of the lifetime is left of a certificate installed at `obtained_at`. There should be another by then.
pub fn third_left(leaf: &Leaf, obtained_at: Timestamp) -> Timestamp {
    leaf.not_after - lifetime(leaf, obtained_at) / 3
}

/// No suggestion of a CA puts a renewal off beyond this: a quarter of the lifetime is left, which is time for many attempts.
pub fn last_point(leaf: &Leaf, obtained_at: Timestamp) -> Timestamp {
    leaf.not_after - lifetime(leaf, obtained_at) / 4
}

/// When there should be another in the place of `current`: with a third of its lifetime left, or a quarter where its CA
/// suggests to renew it about then.
pub fn wanted_by(current: &CurrentCertificate) -> Timestamp {
    let third = third_left(&current.leaf, current.obtained_at);
    let last = last_point(&current.leaf, current.obtained_at);
    let suggested = current.suggested.as_ref();
    match suggested.is_some_and(|window| window.start < last && window.end > third) {
        true => last,
        false => third,
    }
}

/// When a certificate is renewed that was put back in the place of a newer one: not soon, for somebody has a reason to want
/// it, and with a quarter of its lifetime left, or else half of what is left now.
pub fn after_rollback(leaf: &Leaf, obtained_at: Timestamp, now: Timestamp) -> Timestamp {
    let quarter_left = leaf.not_after - lifetime(leaf, obtained_at) / 4;
    match quarter_left > now {
        true => quarter_left,
        false => now + leaf.not_after.since(now) / 2,
    }
}

/// The prime of FNV-1a for 64 bits.
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// Below this, Let's Encrypt's integration guide asks for renewal at half of the lifetime.
const SHORT_LIFETIME: Duration = Duration::from_secs(10 * 86_400);
/// The renewal window's share of the lifetime.
const WINDOW: f64 = 1.0 / 20.0;
/// Of long lifetimes no greater part is given up.
const LONGEST_MARGIN: Duration = Duration::from_secs(3 * 86_400);
/// A CA whose own end comes near signs for ever shorter times; without a least interval that is a storm.
const SHORTEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;

    fn obtained_at() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_219_200)
    }

    fn leaf(backdated: u64, not_after: u64) -> Leaf {
        Leaf {
            names: vec![],
            not_before: obtained_at() - Duration::from_secs(backdated),
            not_after: obtained_at() + Duration::from_secs(not_after),
            serial: String::new(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        }
    }

    #[test]
    fn the_window_is_a_fraction_of_any_lifetime() {
        for (backdated, left, earliest, latest) in [
            (0, 90 * DAY, 52 * DAY + 12 * HOUR, 57 * DAY),
            (HOUR, 45 * DAY, 24 * DAY + 18 * HOUR, 27 * DAY),
            (HOUR, 160 * HOUR, 72 * HOUR, 80 * HOUR),
            (0, HOUR, 27 * MINUTE, 30 * MINUTE),
            (HOUR, HOUR, 27 * MINUTE, 30 * MINUTE),
            (HOUR, 10 * MINUTE, 270, 300),
            (0, 20, 10, 10),
            (0, 1, 10, 10),
        ] {
            let leaf = leaf(backdated, left);
            let after = |fraction| renewal_point(&leaf, obtained_at(), fraction).since(obtained_at());
            assert!(after(0.0).abs_diff(Duration::from_secs(earliest)) < Duration::from_millis(2));
            assert!(after(1.0).abs_diff(Duration::from_secs(latest)) < Duration::from_millis(2));
            let end = latest_point(&leaf, obtained_at()).since(obtained_at());
            assert!(after(1.0).abs_diff(end) < Duration::from_millis(2));
        }
    }

    #[test]
    fn what_was_put_back_is_renewed_late_but_in_time() {
        for (age, expected) in [
            (DAY, 67 * DAY + 12 * HOUR),
            (61 * DAY, 67 * DAY + 12 * HOUR),
            (70 * DAY, 80 * DAY),
        ] {
            let now = obtained_at() + Duration::from_secs(age);
            let found = after_rollback(&leaf(0, 90 * DAY), obtained_at(), now);
            assert_eq!(found.since(obtained_at()).as_secs(), expected);
        }
    }

    #[test]
    fn a_certificate_that_begins_in_the_future_is_measured_from_its_beginning() {
        let mut leaf = leaf(0, 3 * HOUR);
        leaf.not_before = obtained_at() + Duration::from_secs(HOUR);
        assert_eq!(lifetime(&leaf, obtained_at()), Duration::from_secs(2 * HOUR));
        let point = renewal_point(&leaf, obtained_at(), 1.0);
        assert_eq!(point, obtained_at() + Duration::from_secs(2 * HOUR));
    }

    #[test]
    fn jitter_is_the_same_for_the_same_and_spread_evenly() {
        let name = |n: usize| CertificateName::parse(&format!("c{n}")).unwrap();
        let jitter = Jitter::new(7);
        let fraction = |n| jitter.fraction(&name(n), obtained_at(), 0);
        assert_eq!(fraction(1), fraction(1));
        assert_ne!(fraction(1), Jitter::new(8).fraction(&name(1), obtained_at(), 0));
        assert_ne!(fraction(1), jitter.fraction(&name(1), obtained_at(), 1));
        let mut tenths = [0; 10];
        for n in 0..10_000 {
            tenths[(fraction(n) * 10.0) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|count| (900..1100).contains(count)),
            "{tenths:?}"
        );
    }
}
