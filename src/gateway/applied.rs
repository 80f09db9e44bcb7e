//! One way for every change: a start, SIGHUP, a file applied and a resource changed at run time. What is wanted is put
//! together and checked, everything that can fail is prepared, it is written, and then it is in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::with_causes;
use crate::clock::Timestamp;
use crate::config::{
    Config, Diagnostics, Files, Loaded, ResourceId, ResourceKind, ResourceTable, RuntimeChanges,
};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::downgrade::{self, Downgrade};
use crate::gateway::three_way::{self, FileResources, KnownBundles};
use crate::gateway::{GatewayError, data_plane};
use crate::inventory::{LeftPlaces, ResourceRecord, ResourceRecords, ResourceState};

/// Reads what files mean together with what was changed at run time, in the environment of this process.
/// The CA files of the bundles with these names are not looked at.
pub type Check =
    dyn Fn(&Files, &RuntimeChanges, &BTreeSet<String>) -> Result<Loaded, Diagnostics> + Send + Sync;

/// What is in force: the files, and what is known of each resource. Never changed, only replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub(super) files: Files,
    /// What the files say of each resource.
    pub(super) said: FileResources,
    pub(super) known: ResourceRecords,
    /// Where listeners with mutual authentication were.
    pub(super) left: LeftPlaces,
}

/// A configuration that has been checked and is about to come into force.
pub(super) struct Candidate {
    pub(super) applied: Applied,
    pub(super) config: Config,
    /// What is odd about it.
    pub(super) warnings: Diagnostics,
}

impl Applied {
    /// What is in force after `files` were applied to this.
    pub(super) fn with_files(&self, files: Files) -> Self {
        let said = files.resources();
        let known = three_way::apply(&self.known, &said);
        let left = self.left.clone();
        Self {
            files,
            said,
            known,
            left,
        }
    }

    /// The same files, with something else known of resources.
    pub(super) fn with_known(&self, known: ResourceRecords) -> Self {
        Self {
            known,
            ..self.clone()
        }
    }

    /// Everything that is known of resources.
    pub(super) fn state(&self) -> ResourceState<'_> {
        ResourceState {
            records: &self.known,
            left: &self.left,
        }
    }

    /// Has listeners go on asking what was asked in their places by `before`. For a start: there is nothing then that could
    /// be left running, and nobody to be asked.
    pub(super) fn keep_authentication(&mut self, before: &Self) {
        for kept in downgrade::downgrades(before.state(), &self.known) {
            let what = kept.to_string();
            tracing::error!(
                "{}; until then clients are asked for what they were",
                GatewayError::Downgrade { what }
            );
        }
        downgrade::keep_authentication(before.state(), &mut self.known);
    }

    /// Remembers the places that listeners with mutual authentication have by `before` and not by this.
    pub(super) fn remember_places(&mut self, before: &Self, now: Timestamp) {
        self.left = downgrade::left_places(before.state(), &self.known, now);
    }

    /// The names of the CA bundles that are in force by it.
    pub(super) fn ca_bundles(&self) -> impl Iterator<Item = String> {
        let in_force = self
            .known
            .iter()
            .filter(|(id, record)| id.kind == ResourceKind::CaBundle && record.in_force().is_some());
        in_force.map(|(id, _)| id.name.clone())
    }

    /// Checks it as a whole, but for the files of `settled` CA bundles.
    pub(super) fn checked(
        self,
        check: &Check,
        settled: &BTreeSet<String>,
    ) -> Result<Candidate, GatewayError> {
        let changes = three_way::changes(&self.known, &self.said);
        match check(&self.files, &changes, settled) {
            Ok(loaded) => Ok(Candidate {
                applied: self,
                config: loaded.config,
                warnings: loaded.warnings,
            }),
            Err(diagnostics) => Err(GatewayError::Configuration(diagnostics)),
        }
    }
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// Files are applied, which may be allowed to have listeners ask less of their clients.
    Files { allow_downgrade: bool },
    /// A resource is changed at run time, which may be allowed to have other listeners than it names do so.
    Request { allow_downgrade: bool },
}

impl Origin {
    /// What of `downgrades` is to be told as allowed, where all of it is.
    fn admits(self, before: &Applied, downgrades: &[Downgrade]) -> Result<Vec<String>, GatewayError> {
        let (lines, allow_downgrade): (Vec<_>, _) = match self {
            Self::Files { allow_downgrade } => (
                downgrades.iter().map(ToString::to_string).collect(),
                allow_downgrade,
            ),
            Self::Request { allow_downgrade } => {
                let unnamed = downgrade::unnamed(&before.known, downgrades).into_iter();
                (unnamed.map(Downgrade::by_request).collect(), allow_downgrade)
            }
        };
        if allow_downgrade || lines.is_empty() {
            return Ok(lines);
        }
        let what = lines.join("; ");
        Err(match self {
            Self::Files { .. } => GatewayError::Downgrade { what },
            Self::Request { .. } => GatewayError::WayAround { what },
        })
    }
}

impl ControlPlane {
    /// Brings the gateway to `files`. Unless it is allowed, no listener asks less of its clients afterwards.
    /// What is odd about them.
    pub(super) async fn apply_files(
        &self,
        files: Files,
        allow_downgrade: bool,
    ) -> Result<Diagnostics, GatewayError> {
        let wanted = self.applied.load().with_files(files.clone());
        self.fetch_crls_of(&self.applied.load().known, wanted).await?;
        let _turn = self.turn.lock().await;
        let before = self.applied.load_full();
        let origin = Origin::Files { allow_downgrade };
        self.bring_about(&before, before.with_files(files), origin).await
    }

    /// Brings the gateway to what `edit` makes of what is known of resources. Unless it is allowed, no other listener than a
    /// request names asks less of its clients afterwards. Durable, and in force for the next
    /// handshake, when it returns.
    pub(super) async fn change_resources<E: From<GatewayError>>(
        &self,
        edit: impl Fn(&Applied) -> Result<ResourceRecords, E>,
        allow_downgrade: bool,
    ) -> Result<(), E> {
        let before = self.applied.load_full();
        let wanted = before.with_known(edit(&before)?);
        self.fetch_crls_of(&before.known, wanted).await?;
        let _turn = self.turn.lock().await;
        let before = self.applied.load_full();
        let known = edit(&before)?;
        if known == before.known {
            return Ok(());
        }
        let wanted = before.with_known(known);
        let origin = Origin::Request { allow_downgrade };
        self.bring_about(&before, wanted, origin).await?;
        Ok(())
    }

    /// Gets what `wanted` needs to verify clients and does not have yet.
    async fn fetch_crls_of(&self, before: &ResourceRecords, wanted: Applied) -> Result<(), GatewayError> {
        let has_urls = |table: &ResourceTable| table.contains_key("crl_urls");
        let mut in_force = wanted.known.values().filter_map(ResourceRecord::in_force);
        match in_force.any(has_urls) {
            true => {
                let known = KnownBundles::between(before, &wanted.known);
                let candidate = wanted.checked(&*self.check, &known.names())?;
                self.fetch_new_crls(&candidate.config, &known).await
            }
            false => Ok(()),
        }
    }

    /// Has `wanted` come into force in the place of `before`. For who has the turn. What is odd about it.
    async fn bring_about(
        &self,
        before: &Applied,
        mut wanted: Applied,
        origin: Origin,
    ) -> Result<Diagnostics, GatewayError> {
        let downgrades = downgrade::downgrades(before.state(), &wanted.known);
        wanted.remember_places(before, self.clock.now());
        let known = KnownBundles::between(&before.known, &wanted.known);
        // First whatever else is wrong with it: that is what is being worked on.
        let candidate = wanted.checked(&*self.check, &known.names())?;
        let allowed = origin.admits(before, &downgrades)?;
        data_plane::check_fixed_parts(&self.config.load(), &candidate.config)?;
        let is_of_files = matches!(origin, Origin::Files { .. });
        // What is asked of CAs may be a million long; it is put together anew only where something of it changes.
        let mut requests = None;
        if is_of_files || orders(&before.known).ne(orders(&candidate.applied.known)) {
            let turn = self.requests.lock().await;
            requests = Some((turn, self.inventory.requested().await?));
        }
        let bundles = self.bundles(&candidate.config, &known).await?;
        bundles.check_new_users(&self.config.load(), &candidate.config)?;
        if !is_of_files {
            bundles.check_new_crls(&self.data_plane.bundles(), &known.settled, self.clock.now())?;
        }
        let admin_tls = data_plane::admin_tls(&candidate.config, &bundles, &self.data_plane.published)?;
        let prepared = self.data_plane.prepare(&candidate.config, bundles)?;
        let saved = self
            .inventory
            .save_resources(before.state(), candidate.applied.state());
        saved.await?;
        for allowed in allowed {
            tracing::warn!("{allowed}; that was allowed");
        }

        // No await between these: connections that come to a prepared socket are waiting.
        self.admission.replace(&candidate.config.admin.tokens, admin_tls);
        let mut changed = BTreeSet::new();
        match requests {
            Some((turn, requested)) => {
                changed = self.adopt(candidate.config, requested);
                drop(turn);
            }
            None => self.config.store(Arc::new(candidate.config)),
        }
        self.data_plane.commit(prepared);
        if is_of_files {
            warn_of(&candidate.warnings, &before.known, &candidate.applied.known);
        }
        self.applied.store(Arc::new(candidate.applied));
        self.data_plane.settled().await;
        self.reconsider(&changed).await;
        self.safeguard().await;
        Ok(candidate.warnings)
    }

    /// Keeps what has just come into force where damage to the database cannot take it back: a listener would ask less of
    /// its clients after the next start, and nobody would know.
    pub(super) async fn safeguard(&self) {
        let kept = tokio::time::timeout(SAFEGUARD_PATIENCE, self.inventory.checkpoint()).await;
        let why = match kept {
            Ok(Ok(())) => return,
            Ok(Err(error)) => with_causes(&error),
            Err(_) => format!("it takes longer than {} s", SAFEGUARD_PATIENCE.as_secs()),
        };
        tracing::warn!(
            why,
            "the last change is in the database, and not yet in a copy beside it"
        );
    }
}

/// The certificates and issuers that are in force.
fn orders(records: &ResourceRecords) -> impl Iterator<Item = (&ResourceId, &ResourceTable)> {
    let is_order = |id: &ResourceId| matches!(id.kind, ResourceKind::Certificate | ResourceKind::Issuer);
    let in_force = records
        .iter()
        .filter_map(|(id, record)| Some((id, record.in_force()?)));
    in_force.filter(move |(id, _)| is_order(id))
}

/// Of the store's copies only that of a large one, made after a start, takes as long.
const SAFEGUARD_PATIENCE: Duration = Duration::from_secs(10);

/// Tells what is odd about a configuration of files, who is let in now and was not, and what of `before` is no more. For when it is in force: what is
/// wrong with one that is not is told by its refusal.
pub(super) fn warn_of(warnings: &Diagnostics, before: &ResourceRecords, after: &ResourceRecords) {
    for warning in warnings {
        let position = warning.position().map(tracing::field::display);
        tracing::warn!(position, help = warning.suggestion(), "{}", warning.message());
    }
    for line in downgrade::loosened(before, after) {
        tracing::warn!("{line}");
    }
    for id in three_way::forgotten(before, after) {
        tracing::warn!(
            resource = %id,
            "the file has it no more; what was changed of it at run time went with it"
        );
    }
}
