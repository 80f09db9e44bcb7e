//! What a request does beside what it says.

use super::place::share_a_place;
use super::succession::Succession;
use super::ways::Ways;
use super::{Downgrade, listener};
use crate::inventory::ResourceRecords;

/// Those of `downgrades` that a request does not name. Who has a listener ask for less says so by that, for the place and the
/// servers that it has by `before`; that another one, or it, comes to those of a third need not be known.
pub(in crate::gateway) fn unnamed<'d>(
    before: &ResourceRecords,
    downgrades: &'d [Downgrade],
) -> Vec<&'d Downgrade> {
    let ways = Ways::of(before);
    let is_itself =
        |downgrade: &Downgrade| downgrade.succession == Succession::Itself && downgrade.left.is_none();
    let is_named = |downgrade: &Downgrade| {
        let name = downgrade.successor.as_str();
        let mut all = downgrades.iter();
        let was_there = match &downgrade.succession {
            Succession::Itself => downgrade.left.is_none(),
            Succession::Place => {
                listener(before, name).is_some_and(|known| share_a_place(&downgrade.keys, known))
            }
            Succession::Servers { of, .. } => of.is_subset(ways.through(name)),
        };
        was_there && all.any(|other| is_itself(other) && other.successor == name)
    };
    downgrades
        .iter()
        .filter(|downgrade| !is_named(downgrade))
        .collect()
}
