//! What time it is at the CA, by the `Date` of its answers (RFC 9110 §6.6.1). Under a wrong clock everything that an
//! order brings is wrong: the certificate's validity, the pauses that the CA asks for, the time to renew.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::{AGE, DATE};

use crate::clock::Timestamp;
use crate::issuer::acme::http::http_date;
use crate::issuer::acme::lock;

/// The CA's clock as it was last seen.
#[derive(Default)]
pub(super) struct CaClock(Mutex<Option<(Timestamp, Instant)>>);

impl CaClock {
    /// Takes note of the time in an answer, if it has one. One that a cache gives was dated long ago.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        if let (Some(date), None) = (date, headers.get(AGE)) {
            *lock(&self.0) = Some((date, Instant::now()));
        }
    }

    /// The CA's time where it is not that of here, which is `now`.
    pub(super) fn differing(&self, now: Timestamp) -> Option<Timestamp> {
        let (date, seen) = (*lock(&self.0))?;
        let there = date + seen.elapsed();
        (there.since(now).max(now.since(there)) > TOLERANCE).then_some(there)
    }
}

/// Answers are old by as long as they travel, and clocks that are looked after differ by less than a second.
const TOLERANCE: Duration = Duration::from_secs(300);
