//! The name that was refused last, for each reason: an operator wants to know whose handshakes they are. However many names
//! strangers send, it is one for each.

use std::collections::BTreeMap;
use std::time::Instant;

use super::denial::Denial;
use crate::name::DnsName;

/// A name for which there was no certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The name.
    pub name: DnsName,
    /// When.
    pub at: Instant,
    /// What was found, in words; empty where the reason says it all.
    pub detail: String,
}

#[derive(Debug, Default)]
pub(super) struct Latest(BTreeMap<Denial, Refused>);

impl Latest {
    /// A handshake for `name` was refused. What was found of the name holds until another is refused for the same reason.
    pub(super) fn note(&mut self, denial: Denial, name: DnsName, at: Instant) {
        match self.0.get_mut(&denial) {
            Some(known) if known.name == name => known.at = at,
            _ => self.explain(denial, name, at, ""),
        }
    }

    /// `name` is denied by what was found: `detail`.
    pub(super) fn explain(&mut self, denial: Denial, name: DnsName, at: Instant, detail: &str) {
        // Some of it may be what strangers have in their zones.
        let shown = detail.chars().take(LONGEST_DETAIL);
        let detail = shown
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect();
        self.0.insert(denial, Refused { name, at, detail });
    }

    pub(super) fn all(&self) -> &BTreeMap<Denial, Refused> {
        &self.0
    }
}

const LONGEST_DETAIL: usize = 400;
