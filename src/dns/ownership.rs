//! The proof that whoever has the zone wants the name to be here: a TXT record with the text that `ownership` asks
//! for, at the name or at one that it is below.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::endless::{Endless, Way};
use super::evidence::{LookupFailure, RecordType as Kind};
use super::lookup::{Memory, answered};
use super::obstacle::Obstacle;
use super::presentation::{absolute, fully_qualified, quoted};
use super::remedy::Change;
use super::verdict::Verdict;
use super::view::{Questions, View};
use crate::name::DnsName;

/// What stands where the record should be, from one point of view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OwnershipEvidence {
    /// Who was asked.
    pub from: String,
    /// The owners that were looked at, the nearest first, with their texts.
    pub texts: Vec<(String, Texts)>,
}

/// The texts of one owner, octet by octet.
pub(super) type Texts = Result<Vec<Vec<u8>>, Withheld>;

/// Why there are none to be had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Withheld {
    /// The owner is an alias without an end.
    Endless(Endless),
    /// Nobody says.
    Unanswered(LookupFailure),
}

impl Questions {
    /// Looks for the texts of `name`'s owner.
    pub(super) async fn ownership(&self, view: &View, name: &DnsName) -> (OwnershipEvidence, Memory) {
        let mut memory = Memory::new();
        let owners = owners(name);
        let asked = owners.iter().map(|owner| async move {
            let mut heard = Memory::new();
            let texts = match fully_qualified(owner) {
                Ok(owner) => self.texts(view, owner, &mut heard).await,
                Err(_) => Err(Withheld::Unanswered(LookupFailure::TimedOut)),
            };
            (texts, heard)
        });
        let mut found = Vec::new();
        for (owner, (texts, heard)) in owners.iter().zip(join_all(asked).await) {
            memory.lifetime = memory.lifetime.max(heard.lifetime);
            memory.own &= heard.own;
            found.push((owner.clone(), texts));
        }
        let evidence = OwnershipEvidence {
            from: view.name(),
            texts: found,
        };
        (evidence, memory)
    }

    /// The texts of `owner`, or of the name that it is an alias of.
    async fn texts(&self, view: &View, owner: Name, memory: &mut Memory) -> Texts {
        let (mut way, mut failed) = (Way::from(&owner), None);
        let mut current = owner;
        loop {
            let mut voices = self.hear(view, &current, RecordType::TXT).await;
            if let Some(heard) = self.alias_all_the_same(view, &current, &voices).await {
                failed = failed.or_else(|| answered(&voices).err());
                voices = heard;
            }
            memory.heard(&voices);
            let replies = answered(&voices).map_err(Withheld::Unanswered)?;
            // One that has it is enough: the others follow, and it is not the CA that looks for it.
            let records = replies.iter().flat_map(|(_, reply)| &reply.records);
            let texts: BTreeSet<_> = records.filter_map(|record| text_in(&record.data)).collect();
            let target = replies.iter().find_map(|(_, reply)| reply.alias(&current));
            match (target.cloned(), failed.clone()) {
                (Some(target), _) if texts.is_empty() => {
                    let step = self.go_on(view, &mut way, &target, &voices).await;
                    step.map_err(Withheld::Endless)?;
                    current = target;
                }
                // The aliases come to an end, so it is no loop that failed.
                (_, Some(failure)) if texts.is_empty() => return Err(Withheld::Unanswered(failure)),
                _ => return Ok(texts.into_iter().collect()),
            }
        }
    }
}

/// Judges `evidence`: whether one of the texts is `wanted`.
pub(super) fn judge_ownership(wanted: &str, evidence: &OwnershipEvidence) -> Verdict {
    let holds = |texts: &Texts| {
        texts
            .as_ref()
            .is_ok_and(|texts| texts.iter().any(|text| text == wanted.as_bytes()))
    };
    if evidence.texts.iter().any(|(_, texts)| holds(texts)) {
        return Verdict::Go;
    }
    let silent = evidence.texts.iter().find_map(|(owner, texts)| match texts {
        Err(Withheld::Unanswered(failure)) => {
            Some(Obstacle::unanswered(owner, Kind::Txt, &evidence.from, failure))
        }
        _ => None,
    });
    if let Some(obstacle) = silent {
        return Verdict::wait(obstacle);
    }
    let text = |owner: &str| {
        let record = format!("{} IN TXT {}", absolute(owner), quoted(wanted.as_bytes()));
        Change::Add(record)
    };
    let endless = evidence.texts.iter().find_map(|(owner, texts)| match texts {
        Err(Withheld::Endless(endless)) => Some((owner, endless)),
        _ => None,
    });
    if let Some((owner, endless)) = endless {
        return Verdict::Stop {
            obstacles: vec![endless.obstacle()],
            remedy: vec![Change::Remove(endless.alias.clone()), text(owner)],
            alternative: Vec::new(),
        };
    }
    let Some((owner, _)) = evidence.texts.first() else {
        return Verdict::Go;
    };
    Verdict::Stop {
        obstacles: vec![Obstacle::NotOwned {
            owner: owner.clone(),
            wanted: wanted.to_owned(),
        }],
        remedy: vec![text(owner)],
        alternative: Vec::new(),
    }
}

/// `_certgate` before the name and before each one above it, those left out below which everybody can have a name.
fn owners(name: &DnsName) -> Vec<String> {
    let mut owners = vec![format!("{LABEL}.{name}")];
    let mut rest = name.as_str();
    while let Some((_, parent)) = rest.split_once('.')
        && psl::suffix_str(parent) != Some(parent)
    {
        owners.push(format!("{LABEL}.{parent}"));
        rest = parent;
    }
    owners
}

fn text_in(data: &RData) -> Option<Vec<u8>> {
    match data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    }
}

const LABEL: &str = "_certgate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_may_stand_at_the_name_or_above_but_not_where_names_are_anybodys() {
        let owners = |name: &str| owners(&DnsName::parse(name).unwrap());
        assert_eq!(
            owners("a.www.example.com"),
            [
                "_certgate.a.www.example.com",
                "_certgate.www.example.com",
                "_certgate.example.com"
            ]
        );
        assert_eq!(owners("example.com"), ["_certgate.example.com"]);
        assert_eq!(owners("localhost"), ["_certgate.localhost"]);
        assert_eq!(
            owners("www.shop.co.uk"),
            ["_certgate.www.shop.co.uk", "_certgate.shop.co.uk"]
        );
        assert_eq!(owners("alice.github.io"), ["_certgate.alice.github.io"]);
    }
}
