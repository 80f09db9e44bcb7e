//! Gives each notice to the hooks that want it, and keeps a queue at work for each hook of the configuration.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::cause::with_causes;
use crate::certificate::CertificateName;
use crate::config::HookConfig;
use crate::hooks::Hooks;
use crate::hooks::queue::Queue;
use crate::inventory::{InventoryError, Notice, may_be_told};
use crate::name::NamePattern;

impl Hooks {
    /// Tells until `stop` is done; what is under way then is cut off, and begun again by the next run.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        // Hints before the first look: nothing that is written in between is missed.
        let mut hints = self.inventory.hints();
        let mut at_work = BTreeMap::new();
        let mut changed = true;
        loop {
            if std::mem::take(&mut changed) {
                self.assign(&mut at_work);
                let names = self.names();
                match self
                    .inventory
                    .forget_other_hooks(|hook| names.contains(hook))
                    .await
                {
                    Ok(0) => {}
                    Ok(forgotten) => {
                        tracing::warn!(
                            forgotten,
                            "what was on its way to hooks that are no more is given up"
                        );
                    }
                    Err(error) => {
                        tracing::error!(%error, "what was on its way to hooks that are no more stays there")
                    }
                }
            }
            let addressed = self.address(&at_work).await;
            if let Err(error) = &addressed {
                let error = with_causes(error);
                tracing::error!(error, "hooks are told nothing for the moment");
            }
            tokio::select! {
                () = &mut stop => return,
                () = async {
                    while !may_be_told(&hints.changed().await) {}
                } => {}
                Ok(()) = self.desired.changed() => changed = true,
                () = sleep(STORE_PAUSE), if addressed.is_err() => {}
            }
        }
    }

    /// Ends the queues of hooks that are gone or are others now, and begins those that are new.
    fn assign(&self, at_work: &mut BTreeMap<String, AtWork>) {
        let config = self.config.load_full();
        at_work.retain(|name, known| {
            let is_same = config.hooks.get(name) == Some(&known.config);
            if !is_same {
                self.problems.note(name, None);
                self.metrics.hook_waiting(name, 0);
            }
            is_same
        });
        for (name, hook) in &config.hooks {
            at_work.entry(name.clone()).or_insert_with(|| {
                let more = Arc::new(Notify::new());
                let queue = Queue {
                    name: name.clone(),
                    config: hook.clone(),
                    hooks: self.clone(),
                    more: more.clone(),
                };
                AtWork {
                    config: hook.clone(),
                    more,
                    task: tokio::spawn(queue.run()).abort_handle(),
                }
            });
        }
    }

    /// Gives every notice there is to whom it concerns; to nobody, where nobody wants it.
    async fn address(&self, at_work: &BTreeMap<String, AtWork>) -> Result<(), InventoryError> {
        loop {
            let notices = self.inventory.notices(AT_A_TIME).await?;
            let is_last = notices.len() < AT_A_TIME;
            let wanting = |notice: &Notice| -> Vec<String> {
                let all = at_work.iter();
                all.filter(|(_, known)| known.config.wants(notice.event, &notice.certificate))
                    .map(|(name, _)| name.clone())
                    .collect()
            };
            let addressed: Vec<_> = notices
                .into_iter()
                .map(|mut notice| {
                    let hooks = wanting(&notice);
                    if notice.leaf.is_none() {
                        notice.domains = self.wanted_names(&notice.certificate);
                    }
                    (notice, hooks)
                })
                .collect();
            self.inventory.address(&addressed).await?;
            for (_, hooks) in &addressed {
                for known in hooks.iter().filter_map(|hook| at_work.get(hook)) {
                    known.more.notify_one();
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// What `certificate` is to be for.
    fn wanted_names(&self, certificate: &CertificateName) -> Vec<NamePattern> {
        let desired = self.desired.borrow();
        let found = desired.iter().find(|desired| desired.name == *certificate);
        found.map_or_else(Vec::new, |desired| desired.domains.clone())
    }
}

/// A queue that works; dropping it ends that.
struct AtWork {
    config: Arc<HookConfig>,
    more: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const AT_A_TIME: usize = 256;
const STORE_PAUSE: Duration = Duration::from_secs(5);
