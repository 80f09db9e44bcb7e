//! What came of a call of the generator.

use std::time::Duration;

use super::Answered;

/// What came of a call of the generator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Requests that were answered in full.
    pub(crate) answers: u64,
    /// Of these, the first ones after a handshake that was resumed.
    pub(crate) resumed: u64,
    /// Bytes of the bodies, both ways.
    pub(crate) bytes: u64,
    /// Tickets that were got until each answer.
    pub(crate) tickets: u64,
    /// The whole call.
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Tally {
    pub(super) fn add(&mut self, answered: &Answered) {
        self.answers += 1;
        self.resumed += u64::from(answered.resumed == Some(true));
        self.bytes += answered.bytes;
        self.tickets += u64::from(answered.tickets);
        self.latencies.push(answered.latency);
    }

    /// The latency that `share` of the requests stayed at or under.
    pub(crate) fn percentile(&mut self, share: f64) -> Duration {
        if self.latencies.is_empty() {
            return Duration::ZERO;
        }
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        let index = rank.clamp(1, self.latencies.len()) - 1;
        *self.latencies.select_nth_unstable(index).1
    }
}
