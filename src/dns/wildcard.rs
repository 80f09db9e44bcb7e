//! Wildcards that hide that a name has no record of its own.

use std::collections::BTreeMap;

use super::evidence::{AddressAnswer, ChainEnd, Evidence};
use super::examination::Examination;
use super::remedy::remedy;
use super::verdict::{Target, Verdict};
use super::view::View;
use crate::name::DnsName;

impl Examination<'_> {
    /// The name below which a wildcard answers for `name`: where one does, names that nobody has lead to the same, beside
    /// `name` and below it. A record of the name's own would end the wildcard's reach below (RFC 4592 §2.2.1).
    pub(super) async fn wildcard<'n>(
        &self,
        view: &View,
        name: &'n DnsName,
        evidence: &Evidence,
    ) -> Option<&'n str> {
        let leads_somewhere = !evidence.chain.is_empty() || has_address(&evidence.end);
        if !leads_somewhere || evidence.dnames.contains_key(name.as_str()) {
            return None;
        }
        let mut found = None;
        let mut above = name.as_str();
        while self.leads_alike(view, above, evidence).await {
            let (_, parent) = above.split_once('.')?;
            if above != name.as_str() {
                found = Some(above);
            }
            if !parent.contains('.') {
                break;
            }
            above = parent;
        }
        found
    }

    /// Whether a name below `parent` that nobody has leads to the same.
    async fn leads_alike(&self, view: &View, parent: &str, evidence: &Evidence) -> bool {
        let Ok(nobody) = DnsName::parse(&format!("{PROBE}.{parent}")) else {
            return false;
        };
        let probed = self.questions.trace(view, &nobody).await.evidence;
        probed.chain == evidence.chain && probed.end == evidence.end
    }
}

/// The name has no record of its own: what stands in the way is the wildcard's, and a record of its own goes before
/// that (RFC 4592 §2.2.1), unless it is behind the gateway's hostname. Says so.
pub(super) fn by_wildcard(
    name: &DnsName,
    parent: &str,
    target: &Target,
    evidence: &Evidence,
    verdict: &mut Verdict,
) -> String {
    if let Verdict::Stop {
        remedy: changes,
        alternative,
        ..
    } = verdict
        && !target.is_alias(evidence)
    {
        let absent = Evidence {
            from: evidence.from.clone(),
            chain: Vec::new(),
            dnames: BTreeMap::new(),
            end: ChainEnd::NoSuchName,
        };
        (*changes, *alternative) = remedy(name.as_str(), target, &absent);
    }
    format!(
        "{name} seems to have no record of its own: *.{parent} answers for it, as for any other name there"
    )
}

fn has_address(end: &ChainEnd) -> bool {
    match end {
        ChainEnd::Addresses { a, aaaa } => [a, aaaa]
            .iter()
            .any(|answer| matches!(answer, AddressAnswer::Found(found) if !found.is_empty())),
        _ => false,
    }
}

/// A name that nobody has: no host's name begins so.
pub(super) const PROBE: &str = "_certgate-probe";
