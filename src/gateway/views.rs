//! Records as the admin API shows them.

use crate::admin::api;
use crate::certificate::{CaBundle, CertificateName, DesiredCertificate, Leaf};
use crate::clock::Timestamp;
use crate::dns::{self, DomainVerdict, Verdict};
use crate::gateway::bundle_alarms::FailsOpen;
use crate::gateway::lookout::Sighting;
use crate::inventory::{BundleVersion, CertificateRecord, CertificateState, Source};
use crate::renewal;
use crate::tls::{CertificateTable, Observation};

/// A certificate as an operator sees it: what is wanted, what there is, and what happens next. `step` is how far the
/// attempt under way has come, if there is one. `sighting` is the last look at its names in DNS. `published` is what the listeners serve
/// from.
pub(super) fn certificate(
    name: &CertificateName,
    desired: Option<&DesiredCertificate>,
    record: Option<&CertificateRecord>,
    published: &CertificateTable,
    step: Option<&str>,
    sighting: Option<&Sighting>,
    now: Timestamp,
) -> api::Certificate {
    let current = record.and_then(|record| record.current.as_ref());
    let leaf = current.map(|current| &current.leaf);
    let domains = match (desired, leaf) {
        (Some(desired), _) => desired.domains.clone(),
        (None, Some(leaf)) => leaf.names.clone(),
        (None, None) => Vec::new(),
    };
    let source = match (desired, record.map(|record| record.source)) {
        (Some(desired), _) => desired.issuers.join(", "),
        (None, Some(Source::Files)) => "files".to_owned(),
        (None, Some(Source::Imported)) => "import".to_owned(),
        (None, _) => "no longer wanted".to_owned(),
    };
    let current_state = record.filter(|record| !desired.is_some_and(|desired| is_overtaken(record, desired)));
    let state = current_state.map(|record| &record.state);
    let renew_at = current
        .and_then(|current| current.renew_at)
        .filter(|_| desired.is_some() && state.is_some());
    // A spare is there under the name of the certificate that it is the spare of.
    let served_as = record.and_then(|record| record.spare_of.as_ref()).unwrap_or(name);
    let is_loaded = published.get(served_as).next().is_some();
    let is_served = |leaf: &Leaf| {
        let mut loaded = published.get(served_as);
        loaded.any(|loaded| loaded.leaf().fingerprint == leaf.fingerprint)
    };
    let is_published = leaf.is_some_and(|leaf| match is_loaded {
        true => is_served(leaf),
        // The first client that asks for it has it loaded.
        false => !published.is_whole() && served_as == name,
    });
    let stand_in = record.and_then(|record| record.stand_in.as_ref());
    let shown = api::Certificate {
        name: name.clone(),
        domains,
        source,
        state: state.map_or("wanted", word).to_owned(),
        reason: state.and_then(|state| reason(state, step)),
        next_attempt: state.and_then(CertificateState::next_wake).or(renew_at),
        not_before: leaf.map(|leaf| leaf.not_before),
        not_after: leaf.map(|leaf| leaf.not_after),
        serial: leaf.map(|leaf| leaf.serial.clone()),
        issued_by: leaf.map(|leaf| leaf.issuer.clone()),
        key: leaf.map(|leaf| leaf.key.clone()),
        fingerprint: leaf.map(|leaf| leaf.fingerprint.clone()),
        issuer: current.map(|current| current.issuer.clone()),
        spare_of: record
            .and_then(|record| record.spare_of.clone())
            .or_else(|| desired.and_then(|desired| desired.spare_of.clone())),
        stand_in: stand_in.map(|stand_in| api::StandIn {
            since: stand_in.since,
            by_operator: stand_in.by_operator,
            reason: stand_in.reason.clone(),
        }),
        revoked: current.and_then(|current| current.revoked),
        suggested_window: current.and_then(|current| current.suggested.clone()),
        published: is_published,
        dns: sighting
            .map(|sighting| domains_in_dns(sighting, leaf))
            .unwrap_or_default(),
        keys: None,
        etag: None,
        drift: None,
    };
    match (
        desired,
        record.and_then(|record| renewal::forgotten_at(record, now)),
    ) {
        // What is under way is still shown.
        (None, Some(at)) if step.is_none() => unwanted(shown, at, now),
        _ => shown,
    }
}

/// One that never was obtained and that nothing is done about any more, until its record is gone at that moment.
fn unwanted(shown: api::Certificate, at: Timestamp, now: Timestamp) -> api::Certificate {
    let reason = match at > now {
        true => format!("it is wanted no more, and is forgotten at {at}, when its last pause is over"),
        false => "it is wanted no more, and is forgotten within seconds".to_owned(),
    };
    api::Certificate {
        state: "unwanted".to_owned(),
        reason: Some(match shown.reason {
            Some(before) => format!("{reason}: {before}"),
            None => reason,
        }),
        next_attempt: None,
        ..shown
    }
}

fn domains_in_dns(sighting: &Sighting, leaf: Option<&Leaf>) -> Vec<api::DomainStatus> {
    let status = |verdict: &DomainVerdict| {
        // The certificate may have come after the look.
        let has_certificate = leaf.is_some_and(|leaf| leaf.names.contains(&verdict.domain));
        let state = match has_certificate {
            true => verdict.clone().with_certificate().state,
            false => verdict.state,
        };
        api::DomainStatus {
            domain: verdict.domain.clone(),
            state,
            reason: match &verdict.not_pointed {
                Some(pointed @ Verdict::Stop { .. }) if verdict.reason_text.is_empty() => {
                    format!("not pointed: {}", pointed.reason())
                }
                _ => verdict.reason_text.clone(),
            },
            checked_at: sighting.at,
        }
    };
    sighting.verdicts.iter().map(status).collect()
}

/// Whether the state of `record` tells of something else than what is wanted now, which is obtained at once.
fn is_overtaken(record: &CertificateRecord, desired: &DesiredCertificate) -> bool {
    match record.state {
        CertificateState::Obtaining { .. } | CertificateState::Wanted => false,
        CertificateState::Valid => !record.holds(desired, &desired.digest()),
        CertificateState::BackingOff { .. }
        | CertificateState::Blocked { .. }
        | CertificateState::Stopped { .. } => record.pursued != desired.digest(),
    }
}

fn word(state: &CertificateState) -> &'static str {
    match state {
        CertificateState::BackingOff { .. } => "backing-off",
        CertificateState::Blocked { .. } => "blocked",
        CertificateState::Obtaining { .. } => "obtaining",
        CertificateState::Stopped { .. } => "stopped",
        CertificateState::Valid => "valid",
        CertificateState::Wanted => "wanted",
    }
}

fn reason(state: &CertificateState, step: Option<&str>) -> Option<String> {
    if let CertificateState::Obtaining { .. } = state {
        return step.map(ToOwned::to_owned);
    }
    let reason = state.problem()?;
    match state {
        CertificateState::Blocked { remedy, .. } if !remedy.is_empty() => {
            Some(format!("{reason}; {}", dns::in_a_line(remedy)))
        }
        _ => Some(reason.to_owned()),
    }
}

/// Clients that a listener only observes.
pub(super) fn observed_client(observed: &Observation) -> api::ObservedClient {
    api::ObservedClient {
        reason: observed.reason.label().to_owned(),
        subject: observed.subject.clone(),
        source: observed.source,
        count: observed.count,
        seconds_since_last: observed.last.elapsed().as_secs(),
    }
}

/// The CRLs that `listener` lets clients in without.
pub(super) fn fails_open(all: &[FailsOpen], listener: &str) -> Vec<api::ExpiredCrl> {
    let of_listener = all.iter().filter(|open| open.listener == listener);
    of_listener
        .map(|open| api::ExpiredCrl {
            ca_bundle: open.ca_bundle.clone(),
            issuer: open.issuer.clone(),
            since: open.since,
        })
        .collect()
}

/// What a CA bundle has in force.
pub(super) fn ca_bundle(bundle: &CaBundle, version: BundleVersion) -> api::CaBundleContents {
    let certificates = bundle.authorities().map(|authority| api::CaCertificate {
        subject: authority.subject,
        issuer: authority.leaf.issuer,
        is_root: authority.is_root,
        key: authority.leaf.key,
        not_before: authority.leaf.not_before,
        not_after: authority.leaf.not_after,
        fingerprint: authority.leaf.fingerprint,
    });
    let crls = bundle.revocation().iter().map(|list| api::Crl {
        issuer: list.issuer.clone(),
        this_update: list.this_update,
        next_update: list.next_update,
        entries: list.entries,
    });
    let skipped = bundle.skipped().iter().map(|skipped| api::SkippedCertificate {
        subject: skipped.subject.clone(),
        file: skipped.file.display().to_string(),
        block: skipped.block,
        reason: skipped.reason.to_string(),
    });
    let skipped_text = bundle.skipped_text().iter().map(|text| api::SkippedText {
        file: text.file.display().to_string(),
        lines: text.lines.to_string(),
    });
    let BundleVersion { version, digest } = version;
    api::CaBundleContents {
        version: api::CaBundleVersion { version, digest },
        certificates: certificates.collect(),
        skipped: skipped.collect(),
        skipped_text: skipped_text.collect(),
        crls: crls.collect(),
        awaits_crl: bundle.revocation().is_awaiting(),
    }
}
