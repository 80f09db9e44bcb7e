//! Tells programs and webhooks what happens to certificates, at least once.
//!
//! What is to be told is in the store: a [`Notice`] is written in the commit that makes it so,
//! becomes a [`Delivery`](crate::inventory::Delivery) for each hook that wants it, and goes when it has arrived or is given
//! up. So whatever ends the gateway, the hook itself included, loses nothing; and what arrives twice has the same id.
//!
//! | what happened | what follows |
//! | --- | --- |
//! | the program ended with 0, the answer was 2xx | the delivery is over |
//! | anything else, in time or not | again after 1 s, 10 s, 1 min …: [`back_off`] |
//! | as often as the hook may be tried | given up: in the log, in `status`, in the metrics |
//! | more is waiting than a hook may have | the oldest is given up |
//!
//! A hook is told of one thing after the other, and no hook waits for another. Nothing here is waited for by whoever
//! serves or renews.

pub mod back_off;
mod body;
mod dispatch;
mod expiry;
mod queue;
mod send;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use expiry::watch_expiry;
pub use send::{DeliveryError, send_test};

use crate::certificate::DesiredCertificate;
use crate::clock::Clock;
use crate::config::Config;
use crate::inventory::{Inventory, Notice};
use crate::metrics::Metrics;

/// What telling needs of the gateway. Cheap to clone.
#[derive(Clone)]
pub struct Hooks {
    /// Where notices are.
    pub inventory: Inventory,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where deliveries are counted.
    pub metrics: Arc<Metrics>,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// What is wanted, sorted by name. Changes when the configuration has been replaced.
    pub desired: watch::Receiver<Arc<[DesiredCertificate]>>,
    /// What an operator should know, by hook.
    pub problems: Problems,
    /// Told that a certificate is expiring, once that is written.
    pub told: Arc<dyn Fn(&Notice) + Send + Sync>,
}

/// What an operator should know, one line for each that has something. Every clone stands for the same.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<Mutex<BTreeMap<String, String>>>);

impl Problems {
    /// Takes the place of what was said of `whom`.
    pub fn note(&self, whom: &str, problem: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => known.insert(whom.to_owned(), problem),
            None => known.remove(whom),
        };
    }

    /// The lines.
    pub fn lines(&self) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }
}

impl Hooks {
    /// The names of the hooks in force.
    fn names(&self) -> BTreeSet<String> {
        self.config.load().hooks.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
