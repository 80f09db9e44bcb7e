//! Aliases that lead to no end: those that come back to themselves, and those of which there are more than are followed.

use hickory_resolver::proto::rr::Name;

use super::evidence::MAX_CHAIN;
use super::lookup::dname;
use super::obstacle::Obstacle;
use super::presentation::written;
use super::remedy::alias_record;
use super::view::Voice;

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
    /// The names on it, in lower case; the first is the one asked about.
    names: Vec<Name>,
    /// The record that makes the first an alias.
    alias: Option<String>,
}

impl Way {
    pub(super) fn from(name: &Name) -> Self {
        Self {
            names: vec![name.to_lowercase()],
            alias: None,
        }
    }

    /// Goes on from `current` to `target`, of which `voices` say that it is an alias.
    ///
    /// # Errors
    /// That there is no end that way.
    pub(super) fn on(&mut self, current: &Name, target: &Name, voices: &[Voice]) -> Result<(), Endless> {
        let alias = || alias_record(current, target, dname(voices, current));
        let alias = self.alias.get_or_insert_with(alias);
        let target = target.to_lowercase();
        let again = self.names.contains(&target).then(|| written(&target));
        if again.is_some() || self.names.len() > MAX_CHAIN {
            return Err(Endless {
                name: self.names.first().map(written).unwrap_or_default(),
                again,
                alias: alias.clone(),
            });
        }
        self.names.push(target);
        Ok(())
    }
}
