//! What an attempt has cost of the CA's limits: by how far it has come, and by what has ended it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::certificate::CertificateName;
use crate::issuer::{IssueError, Progress, Step};
use crate::renewal::attempt::Attempts;
use crate::renewal::event::EventKind;
use crate::renewal::queue::Cost;

/// One attempt at an issuer: tells each step, and knows the cost.
pub(super) struct Course<'a> {
    attempts: &'a Attempts,
    reached: Mutex<Reached>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    /// No order was placed in this attempt.
    Nothing,
    /// The CA is asked for one.
    Placing,
    /// There is one.
    Placed,
    /// It has ended, at that cost.
    End(Cost),
}

impl<'a> Course<'a> {
    pub(super) fn new(attempts: &'a Attempts) -> Self {
        Self {
            attempts,
            reached: Mutex::new(Reached::Nothing),
        }
    }

    /// The attempt is over; without a certificate, where there is an `error`.
    pub(super) fn end(&self, error: Option<&IssueError>) {
        let mut reached = self.reached();
        *reached = Reached::End(reached.cost(error));
    }

    /// What it has cost. Of one that was cut off nobody knows what comes, so its order counts.
    pub(super) fn cost(&self) -> Cost {
        self.reached().cost(None)
    }

    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reached {
    fn cost(self, error: Option<&IssueError>) -> Cost {
        match (self, error) {
            (Self::End(cost), _) => cost,
            (Self::Nothing, _) => Cost::Nothing,
            (Self::Placing, Some(error)) if error.is_clear_no() => Cost::Nothing,
            // Whoever takes it up again pays nothing.
            (_, Some(error)) if !error.leaves_order() => Cost::Order,
            _ => Cost::All,
        }
    }

    fn after(self, step: &Step) -> Self {
        match (self, step) {
            (Self::Nothing | Self::Placed, Step::PlacingOrder) => Self::Placing,
            (
                Self::Placing,
                Step::Presenting { .. } | Step::WaitingForCertificate | Step::WaitingForValidation { .. },
            ) => Self::Placed,
            _ => self,
        }
    }
}

impl Progress for Course<'_> {
    fn step(&self, certificate: &CertificateName, step: Step) {
        {
            let mut reached = self.reached();
            *reached = reached.after(&step);
        }
        self.attempts.tell(certificate, EventKind::Step(step));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn an_attempt_costs_what_the_ca_counts() {
        let limited = || IssueError::Limited {
            limit: "orders of the account".into(),
            until: Timestamp::from_unix_seconds(1_795_219_200),
        };
        let invalid = || IssueError::OrderInvalid {
            order: "https://ca.example/order/1".into(),
            failures: Vec::new(),
            problem: None,
        };
        let unreachable = || IssueError::Unreachable {
            doing: "place the order",
            url: "https://ca.example/".into(),
            reason: "connection reset".into(),
        };
        let unfinished = || IssueError::Unfinished {
            order: "https://ca.example/order/1".into(),
            step: "the CA signs".into(),
            after: Duration::from_secs(300),
            retry_after: None,
        };
        let waiting = || Step::WaitingForValidation { domains: Vec::new() };
        for (steps, error, expected) in [
            (vec![], Some(unreachable()), Cost::Nothing),
            (vec![Step::CreatingAccount], Some(limited()), Cost::Nothing),
            (vec![Step::Signing], None, Cost::Nothing),
            (vec![Step::PlacingOrder], Some(limited()), Cost::Nothing),
            // There may be an order to be found.
            (vec![Step::PlacingOrder], Some(unreachable()), Cost::All),
            (vec![Step::PlacingOrder, waiting()], Some(invalid()), Cost::Order),
            (vec![Step::PlacingOrder, waiting()], Some(unfinished()), Cost::All),
            (
                vec![Step::PlacingOrder, waiting(), Step::WaitingForCertificate],
                None,
                Cost::All,
            ),
            // What was placed by the attempt before has been paid by it.
            (
                vec![Step::ResumingOrder, waiting(), Step::WaitingForCertificate],
                None,
                Cost::Nothing,
            ),
            (
                vec![Step::ResumingOrder, waiting()],
                Some(invalid()),
                Cost::Nothing,
            ),
            (
                vec![Step::ResumingOrder, Step::PlacingOrder, waiting()],
                None,
                Cost::All,
            ),
        ] {
            let reached = steps.iter().fold(Reached::Nothing, Reached::after);
            assert_eq!(reached.cost(error.as_ref()), expected, "{steps:?} {error:?}");
        }
    }
}
