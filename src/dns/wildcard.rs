//! Wildcards that hide that a name has no record of its own.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::evidence::{AddressAnswer, ChainEnd, Evidence};
use super::lookup::{Link, Memory, Trail, link};
use super::presentation::{fully_qualified, written};
use super::remedy::remedy;
use super::verdict::{Target, Verdict};
use super::view::{Questions, View, name_of};
use crate::name::DnsName;

/// What is said of a name.
#[derive(Clone, Copy)]
pub(super) enum Answer<'a> {
    /// It is no alias, and has these addresses.
    Addresses(&'a ChainEnd),
    /// It is an alias of this name.
    Alias(&'a Name),
}

impl Questions {
    /// The name below which a wildcard gives `answer` for `name`: where one does, so it does for names that nobody has,
    /// beside `name` and below it. A record of the name's own would end the wildcard's reach below (RFC 4592 §2.2.1).
    pub(super) async fn wildcard(&self, view: &View, name: &Name, answer: Answer<'_>) -> Option<Name> {
        let mut found = None;
        let mut above = name.clone();
        while self.is_said_below(view, &above, answer).await {
            let parent = above.base_name();
            // Names below a public top-level domain are zones, and what stands above these is not theirs.
            let may_be_zone = matches!(answer, Answer::Addresses(_)) || above != *name;
            if above != *name {
                found = Some(above);
            }
            if parent.is_root() || (may_be_zone && parent.num_labels() == 1) {
                break;
            }
            above = parent;
        }
        found
    }

    /// The wildcards that make `name` and those of its chain aliases.
    pub(super) async fn wildcards(
        &self,
        view: &View,
        name: &DnsName,
        evidence: &Evidence,
    ) -> BTreeMap<String, String> {
        let owners = std::iter::once(name.as_str()).chain(evidence.chain.iter().map(String::as_str));
        let links: BTreeMap<_, _> = owners.zip(&evidence.chain).collect();
        let by_wildcard = links.into_iter().map(|(owner, target)| async move {
            if evidence.dnames.contains_key(owner) {
                return None;
            }
            let (name, target) = (fully_qualified(owner).ok()?, fully_qualified(target).ok()?);
            let parent = self.wildcard(view, &name, Answer::Alias(&target)).await?;
            Some((owner.to_owned(), starred(&parent)))
        });
        join_all(by_wildcard).await.into_iter().flatten().collect()
    }

    /// The same as [`Self::wildcard`], of what was found for `name`.
    pub(super) async fn wildcard_of(&self, view: &View, name: &DnsName, evidence: &Evidence) -> Option<Name> {
        if evidence.dnames.contains_key(name.as_str()) {
            return None;
        }
        let owner = name_of(name).ok()?;
        match evidence.chain.first() {
            Some(target) => {
                let target = fully_qualified(target).ok()?;
                self.wildcard(view, &owner, Answer::Alias(&target)).await
            }
            None if has_address(&evidence.end) => {
                let answer = Answer::Addresses(&evidence.end);
                self.wildcard(view, &owner, answer).await
            }
            None => None,
        }
    }

    /// Whether `answer` is given for a name below `parent` that nobody has.
    async fn is_said_below(&self, view: &View, parent: &Name, answer: Answer<'_>) -> bool {
        let Ok(nobody) = parent.prepend_label(PROBE) else {
            return false;
        };
        match answer {
            Answer::Addresses(end) => {
                let mut trail = Trail::default();
                let probed = self.follow(view, nobody, &mut trail, &mut Memory::new()).await;
                trail.chain.is_empty() && probed == *end
            }
            Answer::Alias(target) => {
                let voices = self.hear(view, &nobody, RecordType::CNAME).await;
                matches!(link(&voices, &nobody), Link::Alias(other) if other == *target)
            }
        }
    }
}

/// The wildcard below `parent`.
pub(super) fn starred(parent: &Name) -> String {
    format!("*.{}", written(parent))
}

/// The name has no record of its own: what stands in the way is the wildcard's, and a record of its own goes before
/// that (RFC 4592 §2.2.1), unless it is behind the gateway's hostname, or the wildcard leads nowhere. Says so.
pub(super) fn by_wildcard(
    name: &DnsName,
    parent: &Name,
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
        && evidence.end != ChainEnd::Loop
    {
        let absent = Evidence {
            from: evidence.from.clone(),
            chain: Vec::new(),
            dnames: BTreeMap::new(),
            wildcards: BTreeMap::new(),
            end: ChainEnd::NoSuchName,
        };
        (*changes, *alternative) = remedy(name.as_str(), target, &absent);
    }
    format!(
        "{name} seems to have no record of its own: {} answers for it, as for any other name there",
        starred(parent)
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
const PROBE: &str = "_certgate-probe";
