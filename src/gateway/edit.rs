//! What an edit makes of what is known of resources: pure, so that it is the same before it has its turn and in it.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::admin::resources::absent;
use crate::admin::{Conditions, Edit, Problem};
use crate::certificate::DesiredCertificate;
use crate::config::{ResourceId, ResourceKind, ResourceTable};
use crate::gateway::GatewayError;
use crate::gateway::applied::Applied;
use crate::inventory::{Changed, Live, ResourceRecord, ResourceRecords};
use crate::policy::built_in;

/// What is known of resources once `edit` is done; `desired` is what is asked of issuers by now.
pub(super) fn edited(
    applied: &Applied,
    desired: &[DesiredCertificate],
    id: &ResourceId,
    edit: Edit,
    conditions: &Conditions,
    changed: Changed,
) -> Result<ResourceRecords, Refusal> {
    check_own(id)?;
    let record = applied.known.get(id);
    let current = record.and_then(ResourceRecord::in_force);
    check_conditions(id, conditions, current)?;
    let wanted = match (edit, current) {
        (Edit::Put(table), _) => Some(table),
        (Edit::Patch(_) | Edit::Delete, None) => return Err(absent(id).into()),
        (Edit::Patch(patch), Some(current)) => Some(patched(current, patch)),
        (Edit::Delete, Some(_)) => {
            check_unused(applied, desired, id)?;
            None
        }
    };
    let mut known = applied.known.clone();
    if wanted.as_ref() == current {
        return Ok(known);
    }
    let last_applied = record.and_then(|record| record.last_applied.clone());
    let record = match wanted {
        None if last_applied.is_none() => {
            known.remove(id);
            return Ok(known);
        }
        // As the file says: that it was otherwise for a while is no drift.
        wanted if wanted == last_applied => ResourceRecord {
            last_applied,
            live: Live::AsApplied,
            changed: None,
        },
        wanted => ResourceRecord {
            last_applied,
            live: wanted.map_or(Live::Removed, Live::Set),
            changed: Some(changed),
        },
    };
    known.insert(id.clone(), record);
    Ok(known)
}

/// What is built in is what its name says, on every gateway.
fn check_own(id: &ResourceId) -> Result<(), Problem> {
    if id.kind != ResourceKind::Policy || built_in(&id.name).is_none() {
        return Ok(());
    }
    let detail = format!(
        "TLS security policy `{0}` is built in, and cannot be changed or deleted; make one of another name, with `extends = \
         \"{0}\"`",
        id.name
    );
    Err(Problem::conflict(detail.clone()).with_finding("built-in", detail))
}

/// `If-Match` and `If-None-Match`, in this order (RFC 9110 §13.2.2).
pub(super) fn check_conditions(
    id: &ResourceId,
    conditions: &Conditions,
    current: Option<&ResourceTable>,
) -> Result<(), Problem> {
    let found = current.map(etag);
    let is_among = |tags: &str| {
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|tag| found.as_deref() == Some(tag) || tag == "*" && found.is_some())
    };
    let (noun, name) = (id.kind.noun(), &id.name);
    let now = found.as_deref().unwrap_or("absent");
    match (&conditions.if_match, &conditions.if_none_match) {
        (Some(wanted), _) if !is_among(wanted) => Err(Problem::stale(format!(
            "{noun} `{name}` is {now} now, and the change was made for {wanted}; read it again"
        ))),
        (_, Some(unwanted)) if unwanted.trim() == "*" && found.is_some() => Err(Problem::stale(format!(
            "there is a {noun} `{name}` already ({now}), and the change was to make it; read it first, to change it"
        ))),
        (_, Some(unwanted)) if is_among(&unwanted.replace("W/", "")) => Err(Problem::stale(format!(
            "{noun} `{name}` is {now} now, and the change was made for anything but {unwanted}"
        ))),
        _ => Ok(()),
    }
}

/// A resource that another one names cannot go.
fn check_unused(applied: &Applied, desired: &[DesiredCertificate], id: &ResourceId) -> Result<(), Problem> {
    let is_it = |value: &Value| value.as_str() == Some(id.name.as_str());
    let names = |table: &ResourceTable, key: &str| {
        let named = table.get(key);
        named.is_some_and(|named| is_it(named) || named.as_array().is_some_and(|all| all.iter().any(is_it)))
    };
    let uses = |(user, record): (&ResourceId, &ResourceRecord)| {
        let table = record.in_force()?;
        let used = match (user.kind, id.kind) {
            (ResourceKind::Listener, ResourceKind::CaBundle) => names(table, "client_ca"),
            (ResourceKind::Listener, ResourceKind::Certificate) => names(table, "certificates"),
            (ResourceKind::Listener, ResourceKind::Issuer) => {
                let on_demand = table.get("on_demand").and_then(Value::as_object);
                on_demand.is_some_and(|on_demand| names(on_demand, "issuer"))
            }
            (ResourceKind::Listener, ResourceKind::Policy) => names(table, "policy"),
            (ResourceKind::Listener, ResourceKind::ServerGroup) => names(table, "server_group"),
            (ResourceKind::CaBundle, ResourceKind::Issuer) => names(table, "issuer"),
            (ResourceKind::Policy, ResourceKind::Policy) => names(table, "extends"),
            _ => false,
        };
        used.then(|| format!("{} `{}`", user.kind.noun(), user.name))
    };
    let mut users: Vec<_> = applied.known.iter().filter_map(uses).collect();
    if id.kind == ResourceKind::Issuer {
        let asked = desired
            .iter()
            .filter(|desired| desired.issuers.contains(&id.name));
        users.extend(asked.map(|desired| format!("certificate `{}`", desired.name)));
    }
    if users.is_empty() {
        return Ok(());
    }
    let more = users.len().saturating_sub(USERS_SHOWN);
    users.truncate(USERS_SHOWN);
    if more > 0 {
        users.push(format!("{more} more"));
    }
    let users = users.join(", ");
    let detail = format!(
        "{} `{}` is in use by {users}; change that first",
        id.kind.noun(),
        id.name
    );
    Err(Problem::conflict(detail.clone()).with_finding("in-use", detail))
}

/// RFC 7396.
pub(super) fn patched(current: &ResourceTable, patch: ResourceTable) -> ResourceTable {
    let mut result = current.clone();
    for (key, change) in patch {
        match change {
            Value::Null => drop(result.remove(&key)),
            Value::Object(change) => {
                let before = match result.get(&key) {
                    Some(Value::Object(before)) => before.clone(),
                    _ => ResourceTable::new(),
                };
                result.insert(key, Value::Object(patched(&before, change)));
            }
            value => drop(result.insert(key, value)),
        }
    }
    result
}

/// The same for the same keys, over restarts too; keys are sorted in a table.
pub(super) fn etag(table: &ResourceTable) -> String {
    let text = serde_json::to_vec(table).unwrap_or_default();
    let hash = digest(&SHA256, &text);
    let hex = hash.as_ref().iter().take(16).map(|octet| format!("{octet:02x}"));
    format!("\"{}\"", hex.collect::<String>())
}

/// Why a change is not made.
pub(super) enum Refusal {
    Gateway(GatewayError),
    Problem(Problem),
}

impl From<GatewayError> for Refusal {
    fn from(error: GatewayError) -> Self {
        Self::Gateway(error)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Of those who use a resource.
const USERS_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> ResourceTable {
        match value {
            Value::Object(table) => table,
            other => panic!("{other}"),
        }
    }

    /// The examples of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn a_merge_patch_does_what_its_rfc_says() {
        for (before, patch, after) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            assert_eq!(
                patched(&object(before.clone()), object(patch)),
                object(after),
                "{before}"
            );
        }
    }

    #[test]
    fn a_condition_holds_for_the_state_it_names_and_for_no_other() {
        let id = ResourceId::new(ResourceKind::Listener, "web");
        let (now, other) = (object(json!({"port": 1})), object(json!({"port": 2})));
        let two = format!("{}, {}", etag(&other), etag(&now));
        let weak = format!("W/{}", etag(&now));
        for (tags, current, matches, differs) in [
            (etag(&now), Some(&now), true, false),
            (etag(&other), Some(&now), false, true),
            (two, Some(&now), true, false),
            (weak, Some(&now), false, false),
            ("*".to_owned(), Some(&now), true, false),
            ("*".to_owned(), None, false, true),
            ("garbage".to_owned(), Some(&now), false, true),
        ] {
            let if_match = Conditions {
                if_match: Some(tags.clone()),
                ..Conditions::default()
            };
            let if_none_match = Conditions {
                if_none_match: Some(tags.clone()),
                ..Conditions::default()
            };
            let holds = |conditions| check_conditions(&id, &conditions, current).is_ok();
            assert_eq!(
                (holds(if_match), holds(if_none_match)),
                (matches, differs),
                "{tags}"
            );
        }
    }
}
