//! When a CA suggests to renew.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// When a CA suggests to renew a certificate (RFC 9773 §4.2).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, JsonSchema, Serialize)]
pub struct RenewalWindow {
    /// The earliest moment.
    pub start: Timestamp,
    /// The latest one; later than `start`.
    pub end: Timestamp,
    /// A page that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

impl RenewalWindow {
    /// The moment that `fraction`, from 0 to 1, chooses inside the window.
    pub fn point(&self, fraction: f64) -> Timestamp {
        self.start + self.end.since(self.start).mul_f64(fraction.clamp(0.0, 1.0))
    }
}
