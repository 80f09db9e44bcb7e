//! What one hook is to be told: one thing after the other, each until it has arrived or is given up.

use std::sync::Arc;
use std::time::Duration;

use certgate_store::Revision;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::cause::with_causes;
use crate::clock::Timestamp;
use crate::config::HookConfig;
use crate::hooks::{Hooks, back_off, send};
use crate::inventory::{Delivery, GivenUp, InventoryError, Versioned};

/// One hook, its deliveries in the store.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) config: Arc<HookConfig>,
    pub(super) hooks: Hooks,
    /// Woken when there is more.
    pub(super) more: Arc<Notify>,
}

impl Queue {
    /// Goes on until it is dropped; what is under way then is cut off, and begun again by the next.
    pub(super) async fn run(self) {
        loop {
            let wait = match self.round().await {
                Ok(next) => next.map(|at| self.hooks.clock.sleep_until(at)),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(hook = self.name, error, "the hook is told nothing for the moment");
                    sleep(STORE_PAUSE).await;
                    continue;
                }
            };
            tokio::select! {
                () = self.more.notified() => {}
                () = async { wait.unwrap_or_else(|| Box::pin(std::future::pending())).await } => {}
            }
        }
    }

    /// Tells all that is due; returns when the next is.
    async fn round(&self) -> Result<Option<Timestamp>, InventoryError> {
        loop {
            let mut waiting = self.hooks.inventory.deliveries(&self.name).await?;
            let surplus = waiting.len().saturating_sub(MOST_WAITING);
            if surplus > 0 {
                let surplus: Vec<_> = waiting.drain(..surplus).map(|delivery| delivery.value).collect();
                let error = format!("more than {MOST_WAITING} notices were waiting");
                self.give_up(&surplus, error).await?;
            }
            self.hooks.metrics.hook_waiting(&self.name, waiting.len());
            self.note(&waiting).await;
            let now = self.hooks.clock.now();
            let due = waiting.iter().find(|delivery| delivery.value.next_attempt <= now);
            match due {
                Some(due) => self.attempt(due, now).await?,
                None => return Ok(waiting.iter().map(|delivery| delivery.value.next_attempt).min()),
            }
        }
    }

    /// Says in `status` what is wrong.
    async fn note(&self, waiting: &[Versioned<Delivery>]) {
        let name = &self.name;
        let error = waiting
            .iter()
            .rev()
            .find_map(|delivery| delivery.value.error.as_ref());
        let failing =
            error.map(|error| format!("{} notices wait, the last attempt failed: {error}", waiting.len()));
        let given_up = self.hooks.inventory.given_up(name).await.unwrap_or_default();
        let given_up = given_up.map(|last| {
            format!(
                "{} notices were given up, the last one at {} (`{}` of certificate `{}`): {}",
                last.count, last.at, last.event, last.certificate, last.error
            )
        });
        let all: Vec<_> = failing.into_iter().chain(given_up).collect();
        let problem = (!all.is_empty()).then(|| format!("hook `{name}`: {}", all.join("; ")));
        self.hooks.problems.note(name, problem);
    }

    async fn attempt(&self, due: &Versioned<Delivery>, now: Timestamp) -> Result<(), InventoryError> {
        let known = &due.value;
        if known.attempts >= self.config.attempts {
            // The last one was cut off, by a crash perhaps; or there were more when it was begun.
            let error = known
                .error
                .clone()
                .unwrap_or_else(|| "the last attempt was cut off".to_owned());
            return self.give_up(std::slice::from_ref(known), error).await;
        }
        let attempts = known.attempts + 1;
        let pause = back_off::after_failure(attempts, self.config.attempts);
        // Counted before it is made: a hook that ends the gateway does not do so for ever.
        let begun = Delivery {
            attempts,
            next_attempt: now + self.config.timeout + pause.unwrap_or_default(),
            error: None,
            notice: known.notice.clone(),
        };
        let Some(revision) = self.save(&begun, due.revision).await? else {
            return Ok(());
        };
        let (event, certificate) = (begun.notice.event, &begun.notice.certificate);
        let Err(error) = send::send(&self.name, &self.config, &begun, now).await else {
            self.hooks.metrics.hook_told(&self.name, "delivered");
            return self
                .hooks
                .inventory
                .end_deliveries(&self.name, &[begun], None)
                .await;
        };
        let error = with_causes(&error);
        self.hooks.metrics.hook_told(&self.name, "failed");
        let Some(pause) = pause else {
            return self.give_up(&[begun], error).await;
        };
        let next_attempt = self.hooks.clock.now() + pause;
        tracing::warn!(hook = self.name, %event, %certificate, error, "the hook was not told; tried again at {next_attempt}");
        let failed = Delivery {
            next_attempt,
            error: Some(error),
            ..begun
        };
        self.save(&failed, revision).await.map(drop)
    }

    /// `None` where somebody else has it in hand.
    async fn save(&self, delivery: &Delivery, expect: Revision) -> Result<Option<Revision>, InventoryError> {
        match self
            .hooks
            .inventory
            .save_delivery(&self.name, delivery, expect)
            .await
        {
            Ok(revision) => Ok(Some(revision)),
            Err(InventoryError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn give_up(&self, deliveries: &[Delivery], error: String) -> Result<(), InventoryError> {
        let Some(last) = deliveries.last() else {
            return Ok(());
        };
        let before = match self.hooks.inventory.given_up(&self.name).await {
            Ok(before) => before.map_or(0, |before| before.count),
            Err(InventoryError::Store { source }) => return Err(InventoryError::Store { source }),
            // Damaged: it is counted anew.
            Err(_) => 0,
        };
        for Delivery { notice, attempts, .. } in deliveries {
            let (event, certificate) = (notice.event, &notice.certificate);
            tracing::error!(hook = self.name, %event, %certificate, attempts, error, "the hook is told this no more");
            self.hooks.metrics.hook_told(&self.name, "given-up");
        }
        let given_up = GivenUp {
            count: before + u64::try_from(deliveries.len()).unwrap_or(u64::MAX),
            at: self.hooks.clock.now(),
            event: last.notice.event,
            certificate: last.notice.certificate.clone(),
            error,
        };
        self.hooks
            .inventory
            .end_deliveries(&self.name, deliveries, Some(&given_up))
            .await
    }
}

/// What one hook may have waiting.
const MOST_WAITING: usize = 1000;
const STORE_PAUSE: Duration = Duration::from_secs(5);
