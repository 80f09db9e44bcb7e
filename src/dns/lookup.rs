//! Where a name leads, followed from one point of view.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hickory_resolver::proto::rr::{Name, RecordType};

use super::evidence::{AddressAnswer, ChainEnd, Dname, Evidence, LookupFailure, MAX_CHAIN};
use super::presentation::{absolute, written};
use super::question::{Reply, SERVFAIL};
use super::view::{Questions, View, Voice, name_of, telling};
use super::zone::address_in;
use crate::name::DnsName;

/// What a trace brought, and how long whoever was asked may go on saying so.
pub(super) struct Traced {
    pub(super) evidence: Evidence,
    pub(super) memory: Memory,
}

/// How what was said is known to who said it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Memory {
    /// Seconds until it has to be asked for anew.
    pub(super) lifetime: u32,
    /// Whether it speaks for the zone itself, as a resolver does in a network with names of its own.
    pub(super) own: bool,
}

impl Memory {
    pub(super) const fn new() -> Self {
        Self {
            lifetime: 0,
            own: true,
        }
    }

    pub(super) fn heard(&mut self, voices: &[Voice]) {
        for reply in voices.iter().filter_map(|voice| voice.said.as_ref().ok()) {
            self.lifetime = self.lifetime.max(reply.lifetime());
            self.own &= reply.authoritative;
        }
    }
}

impl Questions {
    /// Follows the CNAME records of `name` and asks for both address families at their end.
    pub(super) async fn trace(&self, view: &View, name: &DnsName) -> Traced {
        let mut trail = Trail::default();
        let mut memory = Memory::new();
        let end = match name_of(name) {
            Ok(start) => self.follow(view, start, &mut trail, &mut memory).await,
            Err(failure) => ChainEnd::Unanswered(failure),
        };
        let mut evidence = Evidence {
            from: view.name(),
            chain: trail.chain,
            dnames: trail.dnames,
            wildcards: BTreeMap::new(),
            end,
        };
        if evidence.end == ChainEnd::Loop {
            evidence.wildcards = self.wildcards(view, name, &evidence).await;
        }
        Traced { evidence, memory }
    }

    // The chain is walked link by link, because a resolver that follows it for us returns nothing at all for a
    // chain that leads nowhere, and where it breaks is what the operator needs to know.
    pub(super) async fn follow(
        &self,
        view: &View,
        start: Name,
        trail: &mut Trail,
        memory: &mut Memory,
    ) -> ChainEnd {
        let mut met = BTreeSet::from([start.to_lowercase()]);
        let mut current = start;
        loop {
            let voices = self.hear(view, &current, RecordType::CNAME).await;
            memory.heard(&voices);
            let target = match link(&voices, &current) {
                Link::Alias(target) => target,
                Link::None => break,
                Link::NoSuchName => return ChainEnd::NoSuchName,
                Link::Differing(answers) => return ChainEnd::Differing(answers),
                Link::Unanswered(failure) => return ChainEnd::Unanswered(failure),
            };
            if trail.chain.len() == MAX_CHAIN {
                return ChainEnd::TooLong;
            }
            let dname = dname(&voices, &current);
            trail.dnames.extend(dname.map(|dname| (written(&current), dname)));
            trail.chain.push(written(&target));
            // No host is called so, and whose the servers of the root are is known.
            if target.is_root() {
                return ChainEnd::NoSuchName;
            }
            if !met.insert(target.to_lowercase()) {
                return ChainEnd::Loop;
            }
            current = target;
        }
        let (a, aaaa) = tokio::join!(
            self.hear(view, &current, RecordType::A),
            self.hear(view, &current, RecordType::AAAA)
        );
        memory.heard(&a);
        memory.heard(&aaaa);
        ChainEnd::Addresses {
            a: addresses(&a),
            aaaa: addresses(&aaaa),
        }
    }
}

impl Questions {
    /// That `name` is an alias, where `voices` have failed at a question about another record of it so that it may be one:
    /// BIND, for one, follows the aliases of its zones by itself, and answers SERVFAIL where they lead back.
    pub(super) async fn alias_all_the_same(
        &self,
        view: &View,
        name: &Name,
        voices: &[Voice],
    ) -> Option<Vec<Voice>> {
        match answered(voices) {
            Err(LookupFailure::ResponseCode { code, .. }) if code == SERVFAIL => {}
            _ => return None,
        }
        let heard = self.hear(view, name, RecordType::CNAME).await;
        matches!(link(&heard, name), Link::Alias(_)).then_some(heard)
    }
}

/// The way so far.
#[derive(Default)]
pub(super) struct Trail {
    pub(super) chain: Vec<String>,
    dnames: BTreeMap<String, Dname>,
}

/// What servers say of a name together.
pub(super) enum Link {
    Alias(Name),
    Differing(BTreeMap<String, String>),
    NoSuchName,
    None,
    Unanswered(LookupFailure),
}

pub(super) fn link(voices: &[Voice], owner: &Name) -> Link {
    let replies = match answered(voices) {
        Ok(replies) => replies,
        Err(failure) => return Link::Unanswered(failure),
    };
    let target = |reply: &Reply| reply.alias(owner).map(Name::to_lowercase);
    let mut targets: BTreeSet<_> = replies.iter().map(|(_, reply)| target(reply)).collect();
    match (targets.pop_first(), targets.is_empty()) {
        (Some(Some(target)), true) => Link::Alias(target),
        (_, false) => {
            let said = replies.into_iter().map(|(by, reply)| {
                let text = match target(reply) {
                    Some(target) => format!("CNAME {}", absolute(&written(&target))),
                    None if reply.no_such_name => "no such name".to_owned(),
                    None => "no CNAME".to_owned(),
                };
                (by.to_owned(), text)
            });
            Link::Differing(said.collect())
        }
        // Where some know of the name and others do not, it is their addresses that tell.
        _ if replies.iter().all(|(_, reply)| reply.no_such_name) => Link::NoSuchName,
        _ => Link::None,
    }
}

/// The DNAME record that makes `owner` an alias, if one does.
pub(super) fn dname(voices: &[Voice], owner: &Name) -> Option<Dname> {
    let mut replies = voices.iter().filter_map(|voice| voice.said.as_ref().ok());
    let (owner, target) = replies.find_map(|reply| reply.dname(owner))?;
    Some(Dname {
        owner: written(owner),
        target: written(&target),
    })
}

/// Those that answered, or why nobody did.
pub(super) fn answered(voices: &[Voice]) -> Result<Vec<(&str, &Reply)>, LookupFailure> {
    let replies: Vec<_> = voices
        .iter()
        .filter_map(|voice| Some((voice.by.as_str(), voice.said.as_ref().ok()?)))
        .collect();
    match replies.is_empty() {
        false => Ok(replies),
        true => Err(telling(
            voices
                .iter()
                .filter_map(|voice| voice.said.as_ref().err())
                .cloned()
                .collect(),
        )),
    }
}

fn addresses(voices: &[Voice]) -> AddressAnswer {
    let replies = match answered(voices) {
        Ok(replies) => replies,
        Err(failure) => return AddressAnswer::Unanswered(failure),
    };
    let found = |reply: &Reply| -> BTreeSet<IpAddr> { reply.records.iter().filter_map(address_in).collect() };
    let mut sets: BTreeSet<_> = replies.iter().map(|(_, reply)| found(reply)).collect();
    match (sets.pop_first(), sets.is_empty()) {
        (Some(one), true) if one.is_empty() && replies.iter().all(|(_, reply)| reply.no_such_name) => {
            AddressAnswer::NoSuchName
        }
        (Some(one), true) => AddressAnswer::Found(one),
        _ => {
            let by_server = replies
                .into_iter()
                .map(|(by, reply)| (by.to_owned(), found(reply)));
            AddressAnswer::Differing(by_server.collect())
        }
    }
}
