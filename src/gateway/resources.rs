//! What the admin API can ask of resources: to be shown, changed, and brought to what files say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::admin::resources::absent;
use crate::admin::{Conditions, Edit, Finding, Problem, ResourceOperations, api};
use crate::cause::with_causes;
use crate::config::{Code, Diagnostics, Files, ResourceId, ResourceKind, ResourceTable};
use crate::gateway::applied::{Applied, Candidate};
use crate::gateway::ca_bundles::Bundles;
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::edit::{Refusal, edited, etag};
use crate::gateway::recheck::recheck;
use crate::gateway::three_way::KnownBundles;
use crate::gateway::{GatewayError, bundle_alarms, data_plane, downgrade, three_way, views};
use crate::inventory::Changed;
use crate::policy;

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
        let mut all: Vec<_> = shown.map(with_contents).collect();
        if kind == ResourceKind::Policy {
            all.extend(policy::names().into_iter().filter_map(built_in_policy));
            all.sort_by(|one, other| one.name.cmp(&other.name));
        }
        all
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
            let edited = |applied: &Applied| {
                let (edit, changed) = (edit.clone(), changed.clone());
                edited(applied, &self.desired(), &id, edit, &conditions, changed)
            };
            match self.change_resources(edited, conditions.allow_downgrade).await {
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
            let downgrades = downgrade::downgrades(before.state(), &after.known);
            let mut report = api::ApplyReport {
                applied: !request.dry_run,
                changes: changes(&before, &after),
                drift: drift(&after),
                loosened: downgrade::loosened(&before.known, &after.known),
                downgrades: downgrades.iter().map(ToString::to_string).collect(),
                warnings: Vec::new(),
            };
            let known = self.data_plane.bundle_lines(self.clock.now());
            let done = if request.dry_run {
                self.rehearse(&before, after).await
            } else {
                let allowed = report.downgrades.drain(..);
                report
                    .loosened
                    .extend(allowed.map(|line| format!("{line}; that was allowed")));
                let done = self.apply_files(files, request.allow_downgrade).await;
                self.note_reload(done.as_ref().err().map(|error| with_causes(error)));
                done.map(|odd| (odd, self.data_plane.bundle_lines(self.clock.now())))
            };
            match done {
                Ok((odd, lines)) => {
                    let is_new = |line: &String| !known.contains(line);
                    report.warnings = lines.into_iter().filter(is_new).collect();
                    report.warnings.extend(misleading(&odd));
                    Ok(report)
                }
                Err(error) => Err(problem(&error, "nothing was changed")),
            }
        });
        finished(work).await
    }
}

impl ControlPlane {
    /// Goes the way of a change up to where something would come of it; gives what is odd about it, and what would be said of CA
    /// bundles then.
    async fn rehearse(
        &self,
        before: &Applied,
        after: Applied,
    ) -> Result<(Diagnostics, Vec<String>), GatewayError> {
        let known = KnownBundles::between(&before.known, &after.known);
        let Candidate { config, warnings, .. } = after.checked(&*self.check, &known.names())?;
        data_plane::check_fixed_parts(&self.config.load(), &config)?;
        let (authorities, now) = (self.data_plane.bundles().authorities, self.clock.now());
        let mut lines = Vec::new();
        for bundle in Bundles::rehearse(&config, authorities, &known, now).await {
            let bundle = bundle.map_err(|source| GatewayError::CaBundle { source })?;
            lines.extend(bundle_alarms::lines(&bundle, now));
        }
        Ok((warnings, lines))
    }
}

/// What of a configuration does not do what it says. That something is not used, `check` tells.
fn misleading(odd: &Diagnostics) -> impl Iterator<Item = String> {
    let misleading = odd.iter().filter(|found| found.code() != Code::Unused);
    misleading.map(|found| match found.position() {
        Some(position) => format!("{position}: {}", found.message()),
        None => found.message().to_owned(),
    })
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

/// One resource as it is in force.
pub(super) fn resource(applied: &Applied, id: &ResourceId) -> Option<api::Resource> {
    let keys = applied.known.get(id)?.in_force()?;
    let drifts = applied.said.get(id) != Some(keys);
    Some(api::Resource {
        name: id.name.clone(),
        etag: etag(keys),
        drift: drifts.then(|| drift_of(applied, id)).flatten(),
        keys: keys.clone(),
        built_in: None,
        contents: None,
    })
}

/// A built-in policy as a table of the file would say the same.
fn built_in_policy(name: &str) -> Option<api::Resource> {
    let policy = policy::built_in(name)?;
    let mut keys: ResourceTable = toml::from_str(policy::text(policy.name())?).ok()?;
    keys.insert("why".to_owned(), policy.why().policy.clone().into());
    Some(api::Resource {
        name: name.to_owned(),
        etag: etag(&keys),
        keys,
        drift: None,
        built_in: Some(policy.name().to_owned()),
        contents: None,
    })
}

fn drift_of(applied: &Applied, id: &ResourceId) -> Option<api::Drift> {
    let resource = id.to_string();
    drift(applied)
        .into_iter()
        .find(|drift| drift.resource == resource)
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

fn problem(error: &GatewayError, what: &str) -> Problem {
    let (detail, code) = (format!("{what}: {}", with_causes(error)), error.code());
    let refused = match error {
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
        GatewayError::Bind { .. }
        | GatewayError::Downgrade { .. }
        | GatewayError::Fixed { .. }
        | GatewayError::WayAround { .. } => Problem::conflict(detail),
        _ => Problem::internal(error),
    };
    match code {
        Some(code) => refused.with_finding(code, with_causes(error)),
        None => refused,
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
