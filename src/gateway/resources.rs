//! What the admin API can ask of resources: to be shown, changed, and brought to what files say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::admin::resources::absent;
use crate::admin::{Conditions, Edit, Finding, Problem, ResourceOperations, api};
use crate::cause::with_causes;
use crate::config::{Diagnostics, Files, ResourceId, ResourceKind, ResourceTable};
use crate::gateway::applied::{Applied, said};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::recheck::recheck;
use crate::gateway::{GatewayError, data_plane, three_way, views};
use crate::inventory::{Changed, Live, ResourceRecord, ResourceRecords};

#[async_trait]
impl ResourceOperations for ControlPlane {
    fn resources(&self, kind: ResourceKind) -> Vec<api::Resource> {
        let applied = self.applied.load();
        let of_kind = applied.known.keys().filter(|id| id.kind == kind);
        let shown = of_kind.filter_map(|id| resource(&applied, id));
        let with_contents = |resource: api::Resource| match kind {
            ResourceKind::CaBundle => api::Resource {
                contents: self.data_plane.ca_bundle_summary(&resource.name),
                ..resource
            },
            _ => resource,
        };
        shown.map(with_contents).collect()
    }

    async fn change(
        self: Arc<Self>,
        id: ResourceId,
        edit: Edit,
        conditions: Conditions,
        by: String,
    ) -> Result<Option<api::Resource>, Problem> {
        let changed = Changed {
            by,
            at: self.clock.now(),
        };
        // A caller that goes away must not leave behind something written and not in force.
        let work = tokio::spawn(async move {
            let edited = |applied: &Applied| edited(applied, &id, edit.clone(), &conditions, changed.clone());
            match self.change_resources(edited).await {
                Ok(()) => {
                    tracing::info!(resource = %id, "changed at run time");
                    Ok(resource(&self.applied.load(), &id))
                }
                Err(Refusal::Problem(problem)) => Err(problem),
                Err(Refusal::Gateway(error)) => Err(problem(
                    &error,
                    &format!("{} `{}` was not changed", id.kind.noun(), id.name),
                )),
            }
        });
        finished(work).await
    }

    fn ca_bundle_contents(&self, name: &str) -> Result<api::CaBundleContents, Problem> {
        let bundles = self.data_plane.bundles();
        let bundle = bundles.by_name.get(name);
        let version = self.data_plane.versions.of(name);
        match bundle.zip(version) {
            Some((bundle, version)) => Ok(views::ca_bundle(bundle, version)),
            None => Err(absent(&ResourceId::new(ResourceKind::CaBundle, name))),
        }
    }

    async fn recheck(
        self: Arc<Self>,
        listener: String,
        dry_run: bool,
        per_second: u16,
    ) -> Result<api::Recheck, Problem> {
        recheck(&self, listener, dry_run, per_second).await
    }

    async fn apply(self: Arc<Self>, request: api::ApplyRequest) -> Result<api::ApplyReport, Problem> {
        let work = tokio::spawn(async move {
            let texts = request
                .files
                .into_iter()
                .map(|file| (file.path.into(), file.text));
            let files = Files::from_texts(texts);
            let before = self.applied.load_full();
            let after = before.with_files(files.clone());
            let downgrades = three_way::downgrades(&before.known, &after.known);
            let mut report = api::ApplyReport {
                applied: !request.dry_run,
                changes: changes(&before, &after),
                drift: drift(&after),
                downgrades: downgrades
                    .iter()
                    .map(|one| said(std::slice::from_ref(one)))
                    .collect(),
            };
            let done = if request.dry_run {
                let settled = three_way::unchanged_bundles(&before.known, &after.known);
                let candidate = after.checked(&*self.check, &settled);
                candidate.and_then(|found| data_plane::check_fixed_parts(&self.config.load(), &found.config))
            } else {
                report.downgrades.clear();
                let done = self.apply_files(files, request.allow_downgrade).await;
                self.note_reload(done.as_ref().err().map(|error| with_causes(error)));
                done
            };
            match done {
                Ok(()) => Ok(report),
                Err(error) => Err(problem(&error, "nothing was changed")),
            }
        });
        finished(work).await
    }
}

/// What is not in force as the files say.
pub(super) fn drift(applied: &Applied) -> Vec<api::Drift> {
    let differ = three_way::changes(&applied.known, &applied.said);
    let shown = differ.into_iter().map(|(id, in_force)| {
        let (record, said) = (applied.known.get(&id), applied.said.get(&id));
        let is_kept = record.and_then(|record| record.last_applied.as_ref()) != said;
        let changed = record.and_then(|record| record.changed.clone());
        let change = match (&in_force, said) {
            _ if is_kept => "kept",
            (None, _) => "removed",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "added",
        };
        let (by, at) = changed.map(|changed| (changed.by, changed.at)).unzip();
        api::Drift {
            resource: id.to_string(),
            change: change.to_owned(),
            by,
            at,
        }
    });
    shown.collect()
}

/// What is known of resources once `edit` is done.
fn edited(
    applied: &Applied,
    id: &ResourceId,
    edit: Edit,
    conditions: &Conditions,
    changed: Changed,
) -> Result<ResourceRecords, Refusal> {
    let record = applied.known.get(id);
    let current = record.and_then(ResourceRecord::in_force);
    check_conditions(id, conditions, current)?;
    let wanted = match (edit, current) {
        (Edit::Put(table), _) => Some(table),
        (Edit::Patch(_) | Edit::Delete, None) => return Err(absent(id).into()),
        (Edit::Patch(patch), Some(current)) => Some(patched(current, patch)),
        (Edit::Delete, Some(_)) => {
            check_unused(applied, id)?;
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

/// `If-Match` and `If-None-Match`, in this order (RFC 9110 §13.2.2).
fn check_conditions(
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
fn check_unused(applied: &Applied, id: &ResourceId) -> Result<(), Problem> {
    let names =
        |table: &ResourceTable, key: &str| table.get(key).and_then(Value::as_str) == Some(id.name.as_str());
    let uses = |(user, record): (&ResourceId, &ResourceRecord)| {
        let table = record.in_force()?;
        let used = match (user.kind, id.kind) {
            (ResourceKind::Listener, ResourceKind::CaBundle) => names(table, "client_ca"),
            (ResourceKind::Listener, ResourceKind::Policy) => names(table, "policy"),
            (ResourceKind::Listener, ResourceKind::ServerGroup) => names(table, "server_group"),
            (ResourceKind::Policy, ResourceKind::Policy) => names(table, "extends"),
            _ => false,
        };
        used.then(|| format!("{} `{}`", user.kind.noun(), user.name))
    };
    let users: Vec<_> = applied.known.iter().filter_map(uses).collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(Problem::conflict(format!(
        "{} `{}` is in use by {}; change that first",
        id.kind.noun(),
        id.name,
        users.join(", ")
    )))
}

/// RFC 7396.
fn patched(current: &ResourceTable, patch: ResourceTable) -> ResourceTable {
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

fn resource(applied: &Applied, id: &ResourceId) -> Option<api::Resource> {
    let keys = applied.known.get(id)?.in_force()?;
    let drifts = applied.said.get(id) != Some(keys);
    let mut drift = drift_of(applied, id).filter(|_| drifts);
    Some(api::Resource {
        name: id.name.clone(),
        etag: etag(keys),
        drift: drift.take(),
        keys: keys.clone(),
        contents: None,
    })
}

fn drift_of(applied: &Applied, id: &ResourceId) -> Option<api::Drift> {
    let resource = id.to_string();
    drift(applied)
        .into_iter()
        .find(|drift| drift.resource == resource)
}

/// The same for the same keys, over restarts too; keys are sorted in a table.
fn etag(table: &ResourceTable) -> String {
    let text = serde_json::to_vec(table).unwrap_or_default();
    let hash = digest(&SHA256, &text);
    let hex = hash.as_ref().iter().take(16).map(|octet| format!("{octet:02x}"));
    format!("\"{}\"", hex.collect::<String>())
}

/// What differs between what is in force before and after.
fn changes(before: &Applied, after: &Applied) -> Vec<api::TableChange> {
    let (before, after) = (tables(before), tables(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| {
        let (before, after) = (before.get(name), after.get(name));
        let (change, keys) = match (before, after) {
            (None, _) => ("added", Vec::new()),
            (_, None) => ("removed", Vec::new()),
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) => ("changed", key_changes(before, after)),
        };
        Some(api::TableChange {
            table: name.clone(),
            change: change.to_owned(),
            keys,
        })
    };
    names.into_iter().filter_map(change).collect()
}

fn tables(applied: &Applied) -> BTreeMap<String, Value> {
    let mut tables = applied.files.other_tables();
    let in_force = applied.known.iter().filter_map(|(id, record)| {
        let table = record.in_force()?;
        Some((id.to_string(), Value::Object(table.clone())))
    });
    tables.extend(in_force);
    tables
}

fn key_changes(before: &Value, after: &Value) -> Vec<api::KeyChange> {
    let keys = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (keys(before), keys(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    differ
        .map(|key| api::KeyChange {
            key: key.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect()
}

/// Why a change is not made.
enum Refusal {
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

fn problem(error: &GatewayError, what: &str) -> Problem {
    let detail = format!("{what}: {}", with_causes(error));
    match error {
        GatewayError::Configuration(diagnostics) => {
            let detail = format!("{what}:\n{diagnostics}");
            Problem::invalid(detail, findings(diagnostics))
        }
        GatewayError::CaBundle { .. }
        | GatewayError::Crl { .. }
        | GatewayError::ExpiredCrl { .. }
        | GatewayError::Tls { .. }
        | GatewayError::UnavailableBundle { .. }
        | GatewayError::Inconsistent { .. } => Problem::invalid(detail, Vec::new()),
        GatewayError::Bind { .. } | GatewayError::Downgrade { .. } | GatewayError::Fixed { .. } => {
            Problem::conflict(detail)
        }
        _ => Problem::internal(error),
    }
}

fn findings(diagnostics: &Diagnostics) -> Vec<Finding> {
    let finding = |found: &crate::config::Diagnostic| Finding {
        code: found.code().as_str().to_owned(),
        message: found.message().to_owned(),
        help: found.suggestion().map(ToOwned::to_owned),
        position: found.position().map(ToString::to_string),
    };
    diagnostics.iter().map(finding).collect()
}

async fn finished<T>(work: tokio::task::JoinHandle<Result<T, Problem>>) -> Result<T, Problem> {
    match work.await {
        Ok(result) => result,
        Err(error) => Err(Problem::internal(&error)),
    }
}

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
                if_none_match: None,
            };
            let if_none_match = Conditions {
                if_match: None,
                if_none_match: Some(tags.clone()),
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
