//! One attempt to tell one hook of one thing.

use std::time::{Duration, Instant};

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::command::CommandError;
use crate::config::{HookConfig, HookEvent, HookTarget};
use crate::hooks::body::Body;
use crate::hooks::webhook::{self, WebhookError};
use crate::inventory::{Delivery, Notice};

/// Why a hook was not told.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Its program has not done it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Its URL has not taken it.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

/// Tells it.
pub(super) async fn send(
    hook: &str,
    config: &HookConfig,
    delivery: &Delivery,
    now: Timestamp,
) -> Result<(), DeliveryError> {
    let (begun, body) = (Instant::now(), Body::of(hook, delivery));
    let (event, certificate) = (delivery.notice.event, &delivery.notice.certificate);
    let output = match &config.target {
        HookTarget::Command(argv) => {
            argv.run(&body.to_json(), &body.variables(), config.timeout)
                .await?
        }
        HookTarget::Webhook(webhook) => {
            webhook::post(webhook, &delivery.notice, body.to_json(), now, config.timeout).await?;
            String::new()
        }
    };
    let milliseconds = begun.elapsed().as_millis();
    tracing::info!(hook, %event, %certificate, milliseconds, output = output.trim_end(), "a hook was told");
    Ok(())
}

/// Tells `hook` that somebody tries it, once and at once; nothing is written.
///
/// # Errors
/// [`DeliveryError`].
pub async fn send_test(hook: &str, config: &HookConfig, now: Timestamp) -> Result<(), DeliveryError> {
    let certificate = CertificateName::parse("test").expect("`test` is a name");
    let detail = "somebody tries this hook; nothing has happened".to_owned();
    let delivery = Delivery {
        notice: Notice::new(HookEvent::Test, certificate, now, detail),
        attempts: 1,
        next_attempt: now,
        error: None,
    };
    let config = HookConfig {
        timeout: config.timeout.min(LONGEST_TEST),
        ..config.clone()
    };
    send(hook, &config, &delivery, now).await
}

/// Somebody waits for it.
const LONGEST_TEST: Duration = Duration::from_secs(50);
