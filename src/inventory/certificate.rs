//! What is known of a certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateName, DesiredCertificate, Leaf, RenewalWindow, RevocationReason};
use crate::clock::Timestamp;

/// What is known of one certificate. Issued ones are changed by `renewal` only, but for
/// [`renew_requested`](Self::renew_requested).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct CertificateRecord {
    /// The entry's name.
    pub name: CertificateName,
    /// Where it comes from.
    pub source: Source,
    /// What the current certificate was issued for
    /// ([`DesiredCertificate::digest`](crate::certificate::DesiredCertificate::digest)); empty where none was.
    pub digest: String,
    /// The certificate that is there; it goes on being served while its successor is obtained.
    pub current: Option<CurrentCertificate>,
    /// What is being done about it.
    pub state: CertificateState,
    /// What is wanted while `state` is a wait, so that a change of it ends the wait; empty before the first attempt.
    pub pursued: String,
    /// Attempts that failed since the last one that succeeded.
    pub failures: u32,
    /// When the first of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Issuers that asked not to be asked before a moment (Retry-After).
    pub held_until: BTreeMap<String, Timestamp>,
    /// Issuers that have failed, each since it last signed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub setbacks: BTreeMap<String, Setback>,
    /// Issuers that DNS was against when it was last looked at before an order, each with when; another is asked for as long
    /// as they are here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passed_over: BTreeMap<String, Timestamp>,
    /// An operator wants a new one at once. Cleared by the attempt that this causes.
    pub renew_requested: bool,
    /// That one is to be ordered whatever DNS says. Cleared by the attempt that this causes.
    #[serde(default)]
    pub despite_dns: bool,
    /// The certificate that this is the spare of. It is served in that one's place, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare_of: Option<CertificateName>,
    /// Set while the spare of this certificate is served in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<StandIn>,
}

/// Failures of one issuer in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Setback {
    /// How many.
    pub failures: u32,
    /// When the last one was.
    pub last: Timestamp,
    /// Before that moment it is not asked again by itself.
    pub rests_until: Timestamp,
    /// Whether waiting alone does not mend what the last one was for.
    pub is_hopeless: bool,
}

/// That a spare is served in the place of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct StandIn {
    /// Since when.
    pub since: Timestamp,
    /// Whether an operator has asked for it; otherwise the gateway has put it there.
    pub by_operator: bool,
    /// Why the gateway has; empty where it has not.
    pub reason: String,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// From files that are watched.
    Files,
    /// Uploaded.
    Imported,
    /// From an issuer; renewed by certgate.
    Issued,
}

/// The certificate that is there.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct CurrentCertificate {
    /// What it says of itself.
    pub leaf: Leaf,
    /// The issuer that signed it, by its name in the configuration; where none did, the source's name.
    pub issuer: String,
    /// When it was installed.
    pub obtained_at: Timestamp,
    /// When its successor is asked for; `None` for a certificate that certgate does not renew.
    pub renew_at: Option<Timestamp>,
    /// When the CA suggests to do that (RFC 9773); `renew_at` is a point of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested: Option<RenewalWindow>,
    /// When the CA is asked for its suggestion; `None` where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_at: Option<Timestamp>,
    /// Why it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RevocationReason>,
}

/// What is being done about a certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CertificateState {
    /// The last attempt failed; the next one is due by itself.
    BackingOff {
        /// Why it failed.
        error: String,
        /// When the next one is due.
        next_attempt: Timestamp,
    },
    /// DNS does not lead here, so nothing is ordered.
    Blocked {
        /// What DNS says.
        reason: String,
        /// The records to add, in zone-file form.
        remedy: Vec<String>,
        /// How often DNS was asked since it last said yes.
        checks: u32,
        /// When it was asked first of the last times in a row that it let the order wait; absent where the last time
        /// something had to be changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waiting_since: Option<Timestamp>,
        /// When it is asked again.
        next_check: Timestamp,
    },
    /// An attempt is under way, or was when the process ended.
    Obtaining {
        /// Since when.
        since: Timestamp,
    },
    /// The last attempt failed for a reason that waiting alone does not mend.
    Stopped {
        /// What has to be changed.
        reason: String,
        /// When it is looked at again, in case that was done where certgate cannot see it.
        next_check: Timestamp,
    },
    /// There is a certificate and nothing is wrong.
    Valid,
    /// Wanted, and not yet begun with.
    #[default]
    Wanted,
}

impl CertificateRecord {
    /// The record of a certificate that is wanted and of which nothing is known yet.
    pub fn wanted(name: CertificateName) -> Self {
        Self {
            name,
            source: Source::Issued,
            digest: String::new(),
            current: None,
            state: CertificateState::Wanted,
            pursued: String::new(),
            failures: 0,
            failing_since: None,
            held_until: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            renew_requested: false,
            despite_dns: false,
            spare_of: None,
            stand_in: None,
        }
    }

    /// The record of a certificate that came from outside.
    pub fn imported(name: CertificateName, source: Source, leaf: Leaf, now: Timestamp) -> Self {
        let current = CurrentCertificate {
            leaf,
            issuer: source.to_string(),
            obtained_at: now,
            renew_at: None,
            suggested: None,
            ask_at: None,
            revoked: None,
        };
        Self {
            source,
            current: Some(current),
            state: CertificateState::Valid,
            ..Self::wanted(name)
        }
    }
}

impl CertificateRecord {
    /// Whether the certificate that is there is what `desired`, whose digest is `digest`, asks for: one for these names,
    /// with such a key, from one of these issuers. Which of the issuers would be asked first does not count.
    pub fn holds(&self, desired: &DesiredCertificate, digest: &str) -> bool {
        let Some(current) = self.current.as_ref().filter(|_| self.source == Source::Issued) else {
            return false;
        };
        let is_alike = || {
            let names: BTreeSet<_> = current.leaf.names.iter().collect();
            let wanted: BTreeSet<_> = desired.domains.iter().collect();
            names == wanted
                && current.leaf.key == desired.key_type.label()
                && self.spare_of == desired.spare_of
        };
        self.digest == digest || is_alike() && desired.issuers.contains(&current.issuer)
    }
}

impl CertificateState {
    /// When the state ends by itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        match self {
            Self::BackingOff { next_attempt, .. } => Some(*next_attempt),
            Self::Blocked { next_check, .. } | Self::Stopped { next_check, .. } => Some(*next_check),
            Self::Obtaining { .. } | Self::Valid | Self::Wanted => None,
        }
    }

    /// Why there is no new certificate, where there should be one.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::BackingOff { error, .. } => Some(error),
            Self::Blocked { reason, .. } | Self::Stopped { reason, .. } => Some(reason),
            Self::Obtaining { .. } | Self::Valid | Self::Wanted => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "files",
            Self::Imported => "imported",
            Self::Issued => "issued",
        })
    }
}
