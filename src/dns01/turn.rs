//! Turns at what only one at a time can use, given in the order in which they were asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until};

/// Turns at things that have names.
#[derive(Default)]
pub(super) struct Turns(Mutex<BTreeMap<String, Arc<Gate>>>);

/// Taken by whoever has the turn; holds when the thing has rested from the turn before.
type Gate = tokio::sync::Mutex<Option<Instant>>;

/// A turn. It ends when this is dropped, whatever the reason.
pub struct Turn {
    held: Vec<OwnedMutexGuard<Option<Instant>>>,
    rest: Duration,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Waits for a turn at all of `names`, which rest for so long after it. They are waited for in the order of their names,
    /// so that no two who want several wait for each other.
    pub(super) async fn take(&self, names: BTreeSet<String>, rest: Duration) -> Turn {
        let mut turn = Turn {
            held: Vec::with_capacity(names.len()),
            rest,
        };
        for name in names {
            let held = self.gate(name).lock_owned().await;
            if let Some(rested) = *held {
                sleep_until(rested).await;
            }
            turn.held.push(held);
        }
        turn
    }

    fn gate(&self, name: String) -> Arc<Gate> {
        let now = Instant::now();
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has a turn or waits for one has a copy, and copies are made here only.
        let rests = |gate: &Gate| {
            gate.try_lock()
                .is_ok_and(|rested| rested.is_some_and(|at| at > now))
        };
        gates.retain(|_, gate| Arc::strong_count(gate) > 1 || rests(gate));
        gates.entry(name).or_default().clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let rested = Instant::now() + self.rest;
        for held in &mut self.held {
            **held = Some(rested);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn is_taken(turns: &Turns, name: &str) -> bool {
        let take = turns.take(names(&[name]), Duration::ZERO);
        timeout(Duration::from_millis(50), take).await.is_err()
    }

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_asked_for() {
        let turns = Arc::new(Turns::new());
        let first = turns.take(names(&["a"]), Duration::ZERO).await;
        let came = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..10 {
            let (turns, came) = (turns.clone(), came.clone());
            waiting.push(tokio::spawn(async move {
                let _turn = turns.take(names(&["a"]), Duration::ZERO).await;
                came.lock().unwrap().push(number);
                tokio::task::yield_now().await;
            }));
            tokio::task::yield_now().await;
        }
        assert!(came.lock().unwrap().is_empty(), "one has it");
        drop(first);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*came.lock().unwrap(), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_turn_ends_with_whoever_has_it_or_gives_up_waiting_for_more() {
        let turns = Arc::new(Turns::new());
        let held = turns.take(names(&["b"]), Duration::ZERO).await;
        assert!(!is_taken(&turns, "a").await, "others are free");
        let gives_up = turns.take(names(&["a", "b"]), Duration::ZERO);
        assert!(timeout(Duration::from_millis(50), gives_up).await.is_err());
        assert!(!is_taken(&turns, "a").await);
        drop(held);
        let panics = turns.clone();
        let panicked = tokio::spawn(async move {
            let _turn = panics.take(names(&["a", "b"]), Duration::ZERO).await;
            panic!("on purpose");
        });
        assert!(panicked.await.is_err());
        assert!(!is_taken(&turns, "a").await && !is_taken(&turns, "b").await);
    }

    #[tokio::test]
    async fn two_who_want_the_same_two_do_not_wait_for_each_other_for_ever() {
        let turns = Arc::new(Turns::new());
        let both = [["a", "b"], ["b", "a"]].map(|order| {
            let turns = turns.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let _turn = turns.take(names(&order), Duration::ZERO).await;
                    tokio::task::yield_now().await;
                }
            })
        });
        for task in both {
            timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_used_rests_and_is_forgotten_then() {
        let turns = Turns::new();
        let rest = Duration::from_millis(200);
        drop(turns.take(names(&["a"]), rest).await);
        let begun = Instant::now();
        drop(turns.take(names(&["a"]), rest).await);
        assert!(begun.elapsed() >= rest);
        sleep_until(Instant::now() + rest).await;
        drop(turns.take(names(&["b"]), Duration::ZERO).await);
        let known: Vec<_> = turns.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(known, ["b"]);
    }
}
