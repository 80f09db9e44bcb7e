//! The servers of zones as those who hold a TXT record: where the record belongs, and which of them give it.

use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::Instant;

use super::endless::{Endless, Way};
use super::evidence::{LookupFailure, MAX_CHAIN};
use super::lookup::{Link, link};
use super::presentation::{fully_qualified, written};
use super::question::{Manner, ask};
use super::view::{Questions, View};
use super::wildcard::Answer;
use super::zone::{NameServer, Zone};
use crate::config::GatewayConfig;

/// Asks the servers of zones themselves, and resolvers only for which these are.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    gateway: GatewayConfig,
}

/// Where a record belongs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its owner, without the closing dot.
    pub owner: String,
    /// The aliases that lead there, beginning with the name asked about; empty where that is the owner itself.
    pub aliases: Vec<String>,
    /// The zone that holds the owner.
    pub zone: String,
    /// How many addresses of its servers are not asked, for there are more than 32.
    pub left_out: usize,
    servers: Vec<NameServer>,
}

/// What one server of a zone says of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// The server, for people.
    pub server: String,
    /// Its name in the zone, where it has one; servers with several addresses are seen once by each.
    pub name: Option<String>,
    /// What it says.
    pub seen: Seen,
}

/// Whether a server has a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    /// It answers for the zone, and without the record.
    Absent,
    /// It gives the record.
    Present,
    /// It says nothing about the record.
    Unanswered(LookupFailure),
}

/// Why it is not known where a record belongs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// More aliases than resolvers follow.
    #[error("the CNAME records of {name} lead on over more than {MAX_CHAIN} names")]
    Endless {
        /// The name asked about.
        name: String,
        /// The record that makes it an alias, in zone-file form.
        alias: String,
    },
    /// Aliases that come back to themselves.
    #[error("the CNAME records of {name} lead on for ever: {again} is met twice")]
    Loop {
        /// The name asked about.
        name: String,
        /// The name that was met before.
        again: String,
        /// The record that makes `name` an alias, in zone-file form.
        alias: String,
    },
    /// Servers that do not agree.
    #[error("the servers of the zone of {name} do not agree on its CNAME record: {}", answers.join(", "))]
    Differing {
        /// The name asked about.
        name: String,
        /// What each says.
        answers: Vec<String>,
    },
    /// A text that is no name.
    #[error("`{name}` cannot be the name of a record")]
    Name {
        /// The text.
        name: String,
    },
    /// There is nobody to ask.
    #[error("no resolver to ask: {cause}")]
    NoResolver {
        /// What reading the system's configuration brought.
        cause: String,
    },
    /// Nobody knows the zone.
    #[error(
        "no resolver says which zone {name} is in, and which servers speak for it; `name_servers` of [gateway] can say it"
    )]
    NoZone {
        /// The name asked about.
        name: String,
    },
    /// None of the zone's servers said anything.
    #[error("none of the servers of the zone {zone} can be asked about {name}: {}", answers.join(", "))]
    Unanswered {
        /// The name asked about.
        name: String,
        /// The zone.
        zone: String,
        /// What went wrong with each.
        answers: Vec<String>,
    },
}

impl From<Endless> for PlaceError {
    fn from(Endless { name, again, alias }: Endless) -> Self {
        match again {
            Some(again) => Self::Loop { name, again, alias },
            None => Self::Endless { name, alias },
        }
    }
}

impl Authorities {
    /// Those that the resolvers of `gateway` and its `name_servers` lead to; without it, the system's resolvers.
    pub fn new(gateway: Option<&GatewayConfig>) -> Self {
        Self {
            gateway: gateway.cloned().unwrap_or_default(),
        }
    }

    /// Where the TXT record that a resolver looks for at `name` has to be put: there, or at the end of its aliases. A
    /// wildcard's alias is none: a record of the name's own goes before it (RFC 4592 §2.2.1).
    ///
    /// # Errors
    /// [`PlaceError`]; within 10 seconds.
    pub async fn place(&self, name: &str) -> Result<Place, PlaceError> {
        let questions = Questions::new(&self.gateway, Instant::now() + WHOLE_SEARCH)
            .map_err(|cause| PlaceError::NoResolver { cause })?
            .of_servers(SERVERS_OF_A_RECORD);
        let start = fully_qualified(name).map_err(|_| PlaceError::Name {
            name: name.to_owned(),
        })?;
        let mut aliases = Vec::new();
        let mut current = start.to_lowercase();
        let mut way = Way::from(&current);
        loop {
            let asked = written(&current);
            let zone = questions.zone_by_delegation(&current).await;
            let zone = zone.ok_or_else(|| PlaceError::NoZone { name: asked.clone() })?;
            let view = View::Authoritative(zone.clone());
            let voices = questions.hear(&view, &current, RecordType::CNAME).await;
            match link(&voices, &current) {
                Link::Alias(target)
                    if questions
                        .wildcard(&view, &current, Answer::Alias(&target))
                        .await
                        .is_none() =>
                {
                    aliases.push(asked);
                    questions.go_on(&view, &mut way, &target, &voices).await?;
                    current = target;
                }
                Link::Alias(_) | Link::None | Link::NoSuchName => return Ok(here(asked, aliases, &zone)),
                Link::Differing(answers) => {
                    let said = answers.into_iter().map(|(by, said)| format!("{by} says {said}"));
                    return Err(PlaceError::Differing {
                        name: asked,
                        answers: said.collect(),
                    });
                }
                Link::Unanswered(_) => {
                    let failed = voices.iter().filter_map(|voice| {
                        let failure = voice.said.as_ref().err()?;
                        Some(format!("{} {failure}", voice.by))
                    });
                    return Err(PlaceError::Unanswered {
                        name: asked,
                        zone: written(&zone.apex),
                        answers: failed.collect(),
                    });
                }
            }
        }
    }

    /// What each server of the zone says of a TXT record at `place` that holds `value`.
    pub async fn sightings(&self, place: &Place, value: &str) -> Vec<Sighting> {
        let Ok(owner) = fully_qualified(&place.owner) else {
            return Vec::new();
        };
        let deadline = Instant::now() + WHOLE_SEARCH;
        let looks = place
            .servers
            .iter()
            .map(|server| look(server, &owner, value, deadline));
        join_all(looks).await
    }
}

fn here(owner: String, aliases: Vec<String>, zone: &Zone) -> Place {
    Place {
        owner,
        aliases,
        zone: written(&zone.apex),
        left_out: zone.left_out,
        servers: zone.servers.clone(),
    }
}

async fn look(server: &NameServer, owner: &Name, value: &str, deadline: Instant) -> Sighting {
    let said = ask(
        server.address,
        owner,
        RecordType::TXT,
        Manner::Authoritative,
        deadline,
    );
    let holds = |data: &RData| match data {
        RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
        _ => false,
    };
    let seen = match said.await {
        Ok(reply) if reply.records.iter().any(|record| holds(&record.data)) => Seen::Present,
        Ok(_) => Seen::Absent,
        Err(failure) => Seen::Unanswered(failure),
    };
    Sighting {
        server: server.to_string(),
        name: server.name.clone(),
        seen,
    }
}

/// A CA may ask any of them; what a hostile zone adds is not asked.
const SERVERS_OF_A_RECORD: usize = 32;

/// For one search, or for one look at all servers.
const WHOLE_SEARCH: Duration = Duration::from_secs(10);
