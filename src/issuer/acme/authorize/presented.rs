//! The answers that an attempt has put in place.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::issuer::{Challenge, ChallengeSolver};

/// Taken away on every path, also when the attempt is given up half-way; and only then the turn for them ends.
pub(super) struct Presented {
    solver: Arc<dyn ChallengeSolver>,
    pub(super) challenges: Vec<Challenge>,
    pub(super) turn: Option<Box<dyn Any + Send + Sync>>,
}

impl Presented {
    pub(super) fn new(solver: Arc<dyn ChallengeSolver>) -> Self {
        Self {
            solver,
            challenges: Vec::new(),
            turn: None,
        }
    }

    pub(super) async fn clear(&mut self) {
        let cleared = self
            .challenges
            .iter()
            .map(|challenge| self.solver.clear(challenge));
        join_all(cleared).await;
        self.challenges.clear();
        self.turn = None;
    }
}

impl Drop for Presented {
    fn drop(&mut self) {
        if self.challenges.is_empty() {
            return;
        }
        // Without a runtime the process is ending, and the answers with it. What is spawned is no guard itself: a
        // runtime that is ending drops it at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (solver, challenges) = (self.solver.clone(), std::mem::take(&mut self.challenges));
            let turn = self.turn.take();
            runtime.spawn(async move {
                join_all(challenges.iter().map(|challenge| solver.clear(challenge))).await;
                drop(turn);
            });
        }
    }
}
