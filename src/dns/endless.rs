//! Aliases that lead to no end: those that come back to themselves, and those of which there are more than are followed.

use hickory_resolver::proto::rr::Name;

use super::evidence::{Dname, MAX_CHAIN};
use super::lookup::dname;
use super::obstacle::Obstacle;
use super::presentation::written;
use super::remedy::link_record;
use super::view::{Questions, View, Voice};
use super::wildcard::{Answer, starred};

/// Aliases without an end: whoever asks for a record behind them never has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Endless {
    /// The name asked about.
    pub(super) name: String,
    /// The name that was met twice; absent where there are only more of them than are followed.
    pub(super) again: Option<String>,
    /// The record that makes `name` an alias, in zone-file form.
    pub(super) alias: String,
}

impl Endless {
    pub(super) fn obstacle(&self) -> Obstacle {
        let name = self.name.clone();
        match self.again.clone() {
            Some(again) => Obstacle::Loop { name, again },
            None => Obstacle::TooLong {
                name,
                limit: MAX_CHAIN,
            },
        }
    }
}

/// The way that aliases have led from a name so far.
pub(super) struct Way {
    start: Name,
    /// The names that it has led to, in lower case.
    met: Vec<Name>,
    /// The DNAME record that makes the first an alias, if one does.
    dname: Option<Dname>,
}

impl Way {
    pub(super) fn from(name: &Name) -> Self {
        Self {
            start: name.to_lowercase(),
            met: Vec::new(),
            dname: None,
        }
    }
}

impl Questions {
    /// Goes on along `way` to `target`, of which `voices` say that the name come to is an alias.
    ///
    /// # Errors
    /// That there is no end that way.
    pub(super) async fn go_on(
        &self,
        view: &View,
        way: &mut Way,
        target: &Name,
        voices: &[Voice],
    ) -> Result<(), Endless> {
        let target = target.to_lowercase();
        if way.met.is_empty() {
            way.dname = dname(voices, &way.start);
        }
        let again = way.start == target || way.met.contains(&target);
        if !again && way.met.len() < MAX_CHAIN {
            way.met.push(target);
            return Ok(());
        }
        let first = way.met.first().unwrap_or(&target);
        let wildcard = match way.dname {
            Some(_) => None,
            None => self.wildcard(view, &way.start, Answer::Alias(first)).await,
        };
        let owner = wildcard.map_or_else(|| written(&way.start), |parent| starred(&parent));
        Err(Endless {
            name: written(&way.start),
            again: again.then(|| written(&target)),
            alias: link_record(&owner, &written(first), way.dname.as_ref()),
        })
    }
}
