//! Hooks, as the admin API sees them.

use std::time::Instant;

use async_trait::async_trait;

use crate::admin::{HookOperations, Problem, api};
use crate::cause::with_causes;
use crate::config::{HookConfig, HookTarget};
use crate::gateway::control_plane::ControlPlane;
use crate::hooks::send_test;

#[async_trait]
impl HookOperations for ControlPlane {
    async fn hooks(&self) -> Result<Vec<api::Hook>, Problem> {
        let config = self.config.load_full();
        let mut hooks = Vec::new();
        for (name, hook) in &config.hooks {
            hooks.push(self.hook(name, hook).await?);
        }
        Ok(hooks)
    }

    async fn test_hook(&self, name: &str) -> Result<api::HookTest, Problem> {
        let config = self.config.load_full();
        let Some(hook) = config.hooks.get(name) else {
            return Err(Problem::not_found(format!(
                "there is no hook `{name}`; `certgate hook list` shows those there are"
            )));
        };
        let begun = Instant::now();
        let told = send_test(name, hook, self.clock.now()).await;
        Ok(api::HookTest {
            error: told.err().map(|error| with_causes(&error)),
            milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl ControlPlane {
    async fn hook(&self, name: &str, hook: &HookConfig) -> Result<api::Hook, Problem> {
        let waiting = self.inventory.deliveries(name).await;
        let waiting = waiting.map_err(|error| Problem::internal(&error))?;
        let given_up = self.inventory.given_up(name).await;
        let given_up = given_up.map_err(|error| Problem::internal(&error))?;
        let (kind, target) = match &hook.target {
            HookTarget::Command(argv) => ("command", argv.to_string()),
            HookTarget::Webhook(webhook) => ("webhook", webhook.shown()),
        };
        Ok(api::Hook {
            name: name.to_owned(),
            kind: kind.to_owned(),
            target,
            events: hook.events.iter().map(ToString::to_string).collect(),
            waiting: waiting.len(),
            next_attempt: waiting.iter().map(|delivery| delivery.value.next_attempt).min(),
            error: waiting
                .into_iter()
                .rev()
                .find_map(|delivery| delivery.value.error),
            given_up: given_up.map(|given_up| api::GivenUpNotices {
                count: given_up.count,
                at: given_up.at,
                event: given_up.event.to_string(),
                certificate: given_up.certificate,
                error: given_up.error,
            }),
        })
    }
}
