//! When to renew where the CA has a say (RFC 9773): pure.
//!
//! | the CA | what follows |
//! | --- | --- |
//! | suggests a window | renewal at a random point of it; the point stays while the window does |
//! | suggests one in which the lifetime comes down to a third, but not in its first quarter | the same in the part before that, but for the last hours: further attempts need them where one fails |
//! | suggests one that reaches beyond the moment at which a quarter of the lifetime is left | the same |
//! | suggests one that begins after that | our own point, some days before a third of the lifetime is left |
//! | suggests one that has passed | renewal at once; not within a tenth of the lifetime of the last one, a day at most, or an hour where it has suggested another for that before |
//! | suggests one, for a spare | renewal in it, or before it where that is due anyway |
//! | has nothing to say, answers nonsense or 404 | renewal by the fraction of the lifetime |
//! | cannot be asked | what it said before holds; asked again after an hour |

use std::time::Duration;

use crate::certificate::RenewalWindow;
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, CurrentCertificate};
use crate::issuer::RenewalInfo;
use crate::renewal::schedule::{self, Jitter};

/// Writes into the record what its CA has said; `answer` is `None` where it could not be asked.
pub(super) fn heard(
    record: &mut CertificateRecord,
    answer: Option<&RenewalInfo>,
    now: Timestamp,
    jitter: Jitter,
) {
    let is_spare = record.spare_of.is_some();
    let Some(current) = record.current.as_mut() else {
        return;
    };
    let lifetime = schedule::lifetime(&current.leaf, current.obtained_at);
    current.ask_at = Some(now + pause(answer, now, lifetime));
    let Some(answer) = answer else {
        return;
    };
    if answer.window != current.suggested {
        let fraction = || jitter.fraction(&record.name, now, 0);
        let next = renewal_point(current, answer.window.as_ref(), lifetime, fraction);
        // A spare may well be renewed before the CA suggests it: it keeps apart from what it is the spare of.
        let kept = current.renew_at.filter(|_| is_spare);
        current.renew_at = Some(kept.map_or(next, |kept| kept.min(next)));
        current.suggested.clone_from(&answer.window);
    }
}

/// What the CA will suggest for the certificate in the place of `current`, obtained at `at`: the same, unless that was to
/// have this one replaced early.
pub(super) fn repeated(current: &CurrentCertificate, at: Timestamp) -> Option<RenewalInfo> {
    let early = schedule::lifetime(&current.leaf, current.obtained_at) / 4;
    let suggested = current.suggested.as_ref();
    let window = suggested.filter(|window| window.start.since(current.obtained_at) > early)?;
    Some(RenewalInfo {
        window: Some(RenewalWindow {
            start: at + window.start.since(current.obtained_at),
            end: at + window.end.since(current.obtained_at),
            explanation: None,
        }),
        ask_at: None,
    })
}

/// What the CA suggests, as far as it keeps the certificate alive and is no storm.
fn renewal_point(
    current: &CurrentCertificate,
    suggested: Option<&RenewalWindow>,
    lifetime: Duration,
    fraction: impl Fn() -> f64,
) -> Timestamp {
    let own = || schedule::renewal_point(&current.leaf, current.obtained_at, fraction());
    let third = schedule::third_left(&current.leaf, current.obtained_at);
    let last = schedule::last_point(&current.leaf, current.obtained_at);
    match suggested {
        Some(window) if window.start < last => {
            // A CA that says so from the start would say it of the next one, too; one that thought otherwise means this one.
            let after = |longest| current.obtained_at + (lifetime / 10).min(longest);
            let before = current.suggested.as_ref();
            let earliest = match before.is_some_and(|before| before.start >= after(DAY)) {
                true => after(HOUR),
                false => after(DAY),
            };
            let before_third = third.since(window.start);
            // The CA wants renewals spread: a sliver of the window is not enough for that.
            let end = match before_third >= window.end.since(window.start) / 4 {
                true => window.end.min(third - (before_third / 4).min(lifetime / 300)),
                false => window.end.min(last),
            };
            let point = window.start + end.since(window.start).mul_f64(fraction());
            point.max(earliest)
        }
        // The point that there is was chosen among those of all others.
        _ if current.suggested.is_none() => current.renew_at.unwrap_or_else(own),
        _ => own(),
    }
}

fn pause(answer: Option<&RenewalInfo>, now: Timestamp, lifetime: Duration) -> Duration {
    let pause = match answer {
        None => HOUR,
        Some(answer) => answer.ask_at.map_or(6 * HOUR, |at| at.since(now)),
    };
    // RFC 9773 §4.3.2 leaves the bounds to the client.
    pause.min(lifetime / 8).clamp(MINUTE, DAY)
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateName, Leaf, RenewalWindow};
    use crate::config::Fraction;
    use crate::renewal::outcome;

    const JITTER: Jitter = Jitter::new(3);

    fn start() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_219_200)
    }

    /// Obtained at the start, for 90 days.
    fn record() -> CertificateRecord {
        let leaf = Leaf {
            names: vec![],
            not_before: start(),
            not_after: start() + 90 * DAY,
            serial: "1".into(),
            issuer: String::new(),
            key: String::new(),
            fingerprint: String::new(),
        };
        let mut record = CertificateRecord::wanted(CertificateName::parse("www").unwrap());
        let renew_at = schedule::renewal_point(&leaf, start(), 0.5);
        outcome::obtained(&mut record, "d", leaf, "one", start(), renew_at);
        record
    }

    fn heard(
        mut record: CertificateRecord,
        answer: Option<&RenewalInfo>,
        now: Timestamp,
        jitter: Jitter,
    ) -> CertificateRecord {
        super::heard(&mut record, answer, now, jitter);
        record
    }

    fn info(first: u32, last: u32) -> RenewalInfo {
        let window = RenewalWindow {
            start: start() + DAY * first,
            end: start() + DAY * last,
            explanation: None,
        };
        RenewalInfo {
            window: Some(window),
            ask_at: None,
        }
    }

    fn after(record: &CertificateRecord) -> Duration {
        record.current.as_ref().unwrap().renew_at.unwrap().since(start())
    }

    fn asked_after(record: &CertificateRecord, now: Timestamp) -> Duration {
        record.current.as_ref().unwrap().ask_at.unwrap().since(now)
    }

    #[test]
    fn the_point_lies_in_the_window_and_stays_while_the_window_does() {
        let first = heard(record(), Some(&info(50, 52)), start(), JITTER);
        assert!(
            (50 * DAY..=52 * DAY).contains(&after(&first)),
            "{:?}",
            after(&first)
        );
        let again = heard(first.clone(), Some(&info(50, 52)), start() + HOUR, JITTER);
        assert_eq!(after(&again), after(&first));
        let moved = heard(first, Some(&info(40, 41)), start() + HOUR, JITTER);
        assert!((40 * DAY..=41 * DAY).contains(&after(&moved)));
    }

    #[test]
    fn the_points_of_many_certificates_fill_the_window() {
        let points =
            (0..200).map(|seed| after(&heard(record(), Some(&info(10, 20)), start(), Jitter::new(seed))));
        let points: Vec<_> = points.collect();
        assert!(points.iter().any(|point| *point < 11 * DAY) && points.iter().any(|point| *point > 19 * DAY));
    }

    #[test]
    fn a_window_is_kept_inside_what_is_sane() {
        let now = start() + 30 * DAY;
        for (first, last, expected) in [(1, 2, 1), (0, 1, 1), (100, 200, 55), (80, 85, 55), (68, 69, 55)] {
            let found = after(&heard(record(), Some(&info(first, last)), now, JITTER));
            let days = found.as_secs_f64() / DAY.as_secs_f64();
            assert!((days - f64::from(expected)).abs() < 1.0, "{first}-{last}: {days}");
        }
    }

    #[test]
    fn what_a_ca_wants_replaced_early_after_all_is_replaced_within_the_hour() {
        let past = RenewalInfo {
            window: Some(RenewalWindow {
                start: start() - HOUR,
                end: start() - MINUTE,
                explanation: None,
            }),
            ask_at: None,
        };
        let from_the_start = heard(record(), Some(&past), start(), JITTER);
        assert_eq!(after(&from_the_start), DAY);
        let again = RenewalInfo {
            window: Some(RenewalWindow {
                start: start() + 5 * HOUR,
                end: start() + 6 * HOUR,
                explanation: None,
            }),
            ask_at: None,
        };
        let again = heard(from_the_start, Some(&again), start() + 6 * HOUR, JITTER);
        assert_eq!(after(&again), DAY);
        let first = heard(record(), Some(&info(50, 52)), start(), JITTER);
        let after_all = heard(first, Some(&past), start() + MINUTE, JITTER);
        assert_eq!(after(&after_all), HOUR);
    }

    #[test]
    fn any_point_of_a_window_may_be_it_while_a_third_of_the_lifetime_is_left_or_a_quarter_in_late_windows() {
        // A third of 90 days is left after 60, a quarter after 67½.
        let windows = [
            (48, 50, 50.0),
            (58, 60, 59.7),
            (59, 61, 59.75),
            (56, 72, 59.7),
            (59, 64, 64.0),
            (61, 64, 64.0),
            (60, 89, 67.5),
        ];
        for (first, last, end) in windows {
            let points: Vec<_> = (0..200)
                .map(|seed| {
                    let heard = heard(record(), Some(&info(first, last)), start(), Jitter::new(seed));
                    after(&heard).as_secs_f64() / DAY.as_secs_f64()
                })
                .collect();
            let (begin, tenth) = (f64::from(first), (end - f64::from(first)) / 10.0);
            assert!(
                points.iter().all(|point| (begin..=end).contains(point)),
                "{first}-{last}"
            );
            assert!(
                points.iter().any(|point| *point < begin + tenth),
                "{first}-{last}"
            );
            assert!(points.iter().any(|point| *point > end - tenth), "{first}-{last}");
        }
    }

    #[test]
    fn the_latest_renewal_that_a_ca_can_suggest_comes_before_the_first_alarm() {
        let last = heard(record(), Some(&info(60, 89)), start(), Jitter::new(1));
        let leaf = &last.current.as_ref().unwrap().leaf;
        let [first, ..] = Fraction::USUAL_EXPIRING;
        let alarm = leaf.not_after - first.of(leaf.not_after.since(leaf.not_before));
        assert!(schedule::last_point(leaf, start()) + DAY * 4 < alarm);
    }

    #[test]
    fn a_window_around_a_third_left_is_no_reason_to_call_a_certificate_late() {
        for (first, last, expected) in [(59, 61, 67.5), (50, 55, 60.0), (70, 80, 60.0), (60, 89, 67.5)] {
            let heard = heard(record(), Some(&info(first, last)), start(), JITTER);
            let wanted_by = schedule::wanted_by(heard.current.as_ref().unwrap());
            let days = wanted_by.since(start()).as_secs_f64() / DAY.as_secs_f64();
            assert!((days - expected).abs() < 0.001, "{first}-{last}: {days}");
        }
    }

    #[test]
    fn the_next_certificate_is_expected_to_have_the_same_window_but_for_an_early_one() {
        let at = start() + 60 * DAY;
        for (first, last, expected) in [(59, 61, Some((119, 121))), (1, 2, None)] {
            let heard = heard(record(), Some(&info(first, last)), start(), JITTER);
            let repeated = repeated(heard.current.as_ref().unwrap(), at);
            let window = repeated.map(|said| said.window.unwrap());
            let days = |at: Timestamp| at.since(start()).as_secs() / DAY.as_secs();
            assert_eq!(
                window.map(|window| (days(window.start), days(window.end))),
                expected
            );
        }
        assert_eq!(repeated(record().current.as_ref().unwrap(), at), None);
    }

    #[test]
    fn without_a_window_the_fraction_of_the_lifetime_holds_again() {
        let suggested = heard(record(), Some(&info(10, 11)), start(), JITTER);
        let without = heard(suggested, Some(&RenewalInfo::default()), start() + HOUR, JITTER);
        assert!((52 * DAY..=57 * DAY).contains(&after(&without)));
        assert_eq!(without.current.unwrap().suggested, None);
    }

    #[test]
    fn a_spare_is_renewed_in_the_window_or_before() {
        let mut spare = record();
        spare.spare_of = Some(CertificateName::parse("www").unwrap());
        let usual = after(&spare);
        let later = heard(spare.clone(), Some(&info(80, 85)), start(), JITTER);
        assert_eq!(after(&later), usual);
        let at_once = heard(spare, Some(&info(10, 11)), start(), JITTER);
        assert!((10 * DAY..=11 * DAY).contains(&after(&at_once)));
    }

    #[test]
    fn a_ca_that_cannot_be_asked_changes_nothing_and_is_asked_again_in_an_hour() {
        let suggested = heard(record(), Some(&info(10, 11)), start(), JITTER);
        let kept = heard(suggested.clone(), None, start() + HOUR, JITTER);
        assert_eq!(after(&kept), after(&suggested));
        assert_eq!(asked_after(&kept, start() + HOUR), HOUR);
    }

    #[test]
    fn the_ca_is_asked_again_when_it_says_within_bounds() {
        for (said, expected) in [(HOUR, HOUR), (Duration::ZERO, MINUTE), (40 * DAY, DAY)] {
            let mut info = info(50, 52);
            info.ask_at = Some(start() + said);
            assert_eq!(
                asked_after(&heard(record(), Some(&info), start(), JITTER), start()),
                expected
            );
        }
        let silent = heard(record(), Some(&info(50, 52)), start(), JITTER);
        assert_eq!(asked_after(&silent, start()), 6 * HOUR);
    }
}
