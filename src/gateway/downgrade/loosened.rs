//! What a file may do without being asked, and whoever applies it should see.

use std::collections::BTreeSet;

use super::admission::is_mutual;
use super::succession::Comparison;
use super::ways::{Servers, is_enabled, listed};
use super::{admission, listener, listeners};
use crate::config::ResourceTable;
use crate::inventory::ResourceRecords;

/// What mutual listeners ask less of from `before` to `after`, in lines: nobody is hindered from changing a file, but is to
/// see what comes of it.
pub(in crate::gateway) fn loosened(before: &ResourceRecords, after: &ResourceRecords) -> Vec<String> {
    let mut lines = Vec::new();
    let comparison = Comparison::new(before, after);
    for (name, table) in listeners(before).filter(|(_, table)| is_mutual(table)) {
        let wanted = listener(after, name);
        if wanted.is_none_or(is_mutual) && is_enabled(table) {
            lines.extend(around(&comparison, name));
        }
        let Some(wanted) = wanted.filter(|wanted| is_mutual(wanted)) else {
            continue;
        };
        let (was, is) = (admission(before, table), admission(after, wanted));
        let more = is.beyond(&was).into_iter();
        lines.extend(more.map(|who| format!("listener `{name}`: {who} are admitted from now on")));
        let less = is.unchecked(&was).into_iter();
        lines.extend(less.map(|crl| format!("listener `{name}`: {crl} is no longer checked")));
    }
    for other in listeners(after).filter(|(_, table)| is_mutual(table) && is_enabled(table)) {
        lines.extend(wider(&comparison, other));
    }
    lines
}

/// Who comes by the mutual listener `other` to servers that it did not lead to, and was let in by none of the mutual ones that did.
fn wider(comparison: &Comparison<'_>, (other, wanted): (&str, &ResourceTable)) -> Vec<String> {
    let led = comparison.was.through(other);
    let through = comparison.is.through(other).difference(led);
    let new: Servers = through
        .filter(|server| !comparison.was.is_open(server))
        .cloned()
        .collect();
    let is = admission(comparison.after, wanted);
    let guards = listeners(comparison.before)
        .filter(|(name, table)| is_mutual(table) && !comparison.was.through(name).is_disjoint(&new));
    let beyond = guards.map(|(_, table)| {
        let was = admission(comparison.before, table);
        let more = is.beyond(&was).into_iter().map(|who| format!("{who} come"));
        let less = match is.shares_an_authority_with(&was) {
            true => is.unchecked(&was),
            false => Vec::new(),
        };
        let less = less
            .iter()
            .map(|crl| format!("clients come without a look at {crl}"));
        more.chain(less).collect::<BTreeSet<_>>()
    });
    let beyond = beyond.reduce(|one, two| &one & &two).unwrap_or_default();
    let new = listed(&new);
    beyond
        .into_iter()
        .map(|who| format!("listener `{other}`: {who} to {new} from now on"))
        .collect()
}

/// Who goes on leading, without a client certificate, to servers that the mutual listener `name` leads to no more.
fn around(comparison: &Comparison<'_>, name: &str) -> Vec<String> {
    let mut lost = comparison.was.through(name).clone();
    if listener(comparison.after, name).is_some_and(is_enabled) {
        let stay = comparison.is.through(name);
        lost.retain(|server| !stay.contains(server));
    }
    // One that leads there only from now on is a downgrade, and told as that.
    lost.retain(|server| comparison.was.is_open(server));
    let others = listeners(comparison.after);
    let open = others.filter(|(other, table)| *other != name && is_enabled(table) && !is_mutual(table));
    let lines = open.filter_map(|(other, _)| {
        let shared: Servers = comparison.is.through(other).intersection(&lost).cloned().collect();
        (!shared.is_empty()).then(|| {
            format!(
                "listener `{name}`, which has authentication `mutual`, leads to {} no more; without a client certificate \
                 listener `{other}` goes on leading there",
                listed(&shared)
            )
        })
    });
    lines.collect()
}
