//! What a hook gets: the facts as one JSON document, and the few that scripts need as variables. Nothing of it is secret.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::config::HookEvent;
use crate::inventory::Delivery;
use crate::name::NamePattern;

/// The document.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    /// The same for every attempt: who has seen it need not do it again.
    id: &'a str,
    hook: &'a str,
    event: HookEvent,
    at: Timestamp,
    attempt: u32,
    certificate: &'a str,
    detail: &'a str,
    issuer: Option<&'a str>,
    next_attempt: Option<Timestamp>,
    domains: &'a [NamePattern],
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    serial: Option<&'a str>,
    fingerprint_sha256: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Body<'a> {
    pub(super) fn of(hook: &'a str, delivery: &'a Delivery) -> Self {
        let notice = &delivery.notice;
        let leaf = notice.leaf.as_ref();
        Self {
            id: &notice.id,
            hook,
            event: notice.event,
            at: notice.at,
            attempt: delivery.attempts,
            certificate: notice.certificate.as_str(),
            detail: &notice.detail,
            issuer: notice.issuer.as_deref(),
            next_attempt: notice.next_attempt,
            domains: leaf.map_or(&notice.domains, |leaf| &leaf.names),
            not_before: leaf.map(|leaf| leaf.not_before),
            not_after: leaf.map(|leaf| leaf.not_after),
            serial: leaf.map(|leaf| leaf.serial.as_str()),
            fingerprint_sha256: leaf.map(|leaf| leaf.fingerprint.as_str()),
            key: leaf.map(|leaf| leaf.key.as_str()),
        }
    }

    /// One line of JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The variables of a command.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let domains: Vec<_> = self.domains.iter().map(ToString::to_string).collect();
        let mut variables = vec![
            ("CERTGATE_EVENT", self.event.to_string()),
            ("CERTGATE_EVENT_ID", self.id.to_owned()),
            ("CERTGATE_CERTIFICATE", self.certificate.to_owned()),
            ("CERTGATE_DOMAINS", domains.join(" ")),
            ("CERTGATE_ATTEMPT", self.attempt.to_string()),
        ];
        variables.extend(self.not_after.map(|at| ("CERTGATE_NOT_AFTER", at.to_string())));
        variables
    }
}
