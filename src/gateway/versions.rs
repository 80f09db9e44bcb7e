//! What the admin API can ask of the versions of certificates.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::admin::{Operations, Problem, VersionOperations, api};
use crate::certificate::{CertificateName, Credential, DesiredCertificate};
use crate::gateway::control_plane::ControlPlane;
use crate::gateway::standby::activated;
use crate::inventory::{
    CertificateRecord, CertificateState, CurrentCertificate, InventoryError, Source, StandIn, Versioned,
};
use crate::renewal;

#[async_trait]
impl VersionOperations for ControlPlane {
    async fn activate(
        &self,
        name: &CertificateName,
        serve: api::Served,
    ) -> Result<api::Certificate, Problem> {
        let (names, now) = (self.with_spares(name).await?, self.clock.now());
        let mut spares = BTreeMap::new();
        for name in &names {
            let served = self.may_be_served(name, serve).await?;
            spares.extend(
                served
                    .current
                    .filter(|_| serve == api::Served::Spare)
                    .map(|spare| (name, spare)),
            );
        }
        let stand_in = (serve == api::Served::Spare).then(|| StandIn {
            since: now,
            by_operator: true,
            reason: String::new(),
        });
        let notice = |primary: &CertificateRecord| {
            activated(
                primary,
                spares.get(&primary.name),
                "an operator has asked for it",
                now,
            )
        };
        let told = self.inventory.stand_in(&names, stand_in.as_ref(), notice).await;
        let told = told.map_err(|error| Problem::internal(&error))?;
        told.iter().for_each(|notice| self.announce_notice(notice));
        // A damaged database must not bring back what an operator has put aside.
        self.safeguard().await;
        for name in &names {
            self.serves(name).await?;
        }
        self.certificate(name).await
    }

    async fn history(&self, name: &CertificateName) -> Result<Vec<api::CertificateVersion>, Problem> {
        let record = self.record(name).await?.value;
        let past = self.inventory.past_versions(name).await;
        let past = past.map_err(|error| Problem::internal(&error))?;
        let previous = self.previous(name).await?;
        let previous = previous.map(|credential| credential.leaf().fingerprint.clone());
        let present = record.current.iter().map(|current| version("present", current));
        let past = past.iter().map(|past| {
            let is_kept = previous.as_ref() == Some(&past.certificate.leaf.fingerprint);
            api::CertificateVersion {
                replaced_at: Some(past.replaced_at),
                ..version(if is_kept { "previous" } else { "past" }, &past.certificate)
            }
        });
        Ok(present.chain(past).collect())
    }

    async fn roll_back(&self, name: &CertificateName) -> Result<api::Certificate, Problem> {
        let known = self.record(name).await?;
        if known.value.source == Source::Files {
            return Err(Problem::conflict(format!(
                "certificate `{name}` comes from files; put the ones of before in their place"
            )));
        }
        let Some(credential) = self.previous(name).await? else {
            return Err(Problem::conflict(format!(
                "there is nothing before the present version of certificate `{name}`"
            )));
        };
        let desired = self.desired();
        let desired = desired.iter().find(|desired| desired.name == *name);
        let current = self.gone_back_to(&known.value, &credential, desired).await?;
        let record = CertificateRecord {
            current: Some(current),
            state: CertificateState::Valid,
            failures: 0,
            failing_since: None,
            renew_requested: false,
            despite_dns: false,
            pursued: known.value.digest.clone(),
            ..known.value.clone()
        };
        match self.inventory.roll_back(&known, &record).await {
            Ok(()) => {}
            Err(InventoryError::Conflict { .. }) => {
                return Err(Problem::conflict(format!(
                    "certificate `{name}` was changed at the same moment; look at it, and try again"
                )));
            }
            Err(error) => return Err(Problem::internal(&error)),
        }
        tracing::warn!(certificate = %name, serial = credential.leaf().serial, "rolled back to the version before");
        self.serves(name).await?;
        self.certificate(name).await
    }
}

impl ControlPlane {
    /// `name`, and where it has keys of two kinds the other one too; each of them has a spare.
    async fn with_spares(&self, name: &CertificateName) -> Result<Vec<CertificateName>, Problem> {
        let desired = self.desired();
        let is_primary = |other: &CertificateName| {
            let mut spares = desired.iter().filter_map(|desired| desired.spare_of.as_ref());
            spares.any(|primary| primary == other)
        };
        let companions = name.companions().into_iter().filter(is_primary);
        if is_primary(name) {
            return Ok([name.clone()].into_iter().chain(companions).collect());
        }
        let record = self.record(name).await?.value;
        Err(Problem::conflict(match record.spare_of {
            Some(primary) => format!("`{name}` is the spare of `{primary}`; it is activated by that name"),
            None => {
                format!("certificate `{name}` has no spare; give it a `spare_issuer` in the configuration")
            }
        }))
    }

    /// What is to be served as `name`; refuses what is worse than what it would replace.
    async fn may_be_served(
        &self,
        name: &CertificateName,
        serve: api::Served,
    ) -> Result<CertificateRecord, Problem> {
        let desired = self.desired();
        let of_spare = desired
            .iter()
            .find(|desired| desired.spare_of.as_ref() == Some(name));
        let wanted = match serve {
            api::Served::Primary => name.clone(),
            api::Served::Spare => of_spare.map_or_else(|| name.clone(), |desired| desired.name.clone()),
        };
        let record = self.inventory.certificate(&wanted).await;
        let record = record.map_err(|error| Problem::internal(&error))?;
        let record = record.map_or_else(|| CertificateRecord::wanted(wanted.clone()), |known| known.value);
        let refused = |reason: String| Problem::conflict(format!("`{wanted}` cannot be served: {reason}"));
        if let Some(reason) = renewal::weakness(&record, self.clock.now()) {
            return Err(refused(reason));
        }
        if let (Some(current), Some(spare)) = (&record.current, of_spare)
            && let Some(missing) = spare.domains.iter().find(|domain| !current.leaf.holds(domain))
        {
            return Err(refused(format!("it is not valid for `{missing}` yet")));
        }
        Ok(record)
    }

    /// Waits until what the store says of `name` is served.
    async fn serves(&self, name: &CertificateName) -> Result<(), Problem> {
        let mut looks = tokio::time::interval(LOOK);
        for _ in 0..LOOKS {
            looks.tick().await;
            let wanted = self.inventory.served(name).await;
            let wanted = wanted.map_err(|error| Problem::internal(&error))?;
            let published = self.data_plane.published.load();
            let served = published
                .get(name)
                .next()
                .map(|served| &served.leaf().fingerprint);
            // What is not loaded is read from the store by whoever asks for it.
            if served == wanted.as_ref() || served.is_none() {
                return Ok(());
            }
        }
        Err(Problem::unavailable(format!(
            "certificate `{name}`: the change is written, but not yet served; `certgate status` says why"
        )))
    }

    async fn record(&self, name: &CertificateName) -> Result<Versioned<CertificateRecord>, Problem> {
        let known = self.inventory.certificate(name).await;
        known.map_err(|error| Problem::internal(&error))?.ok_or_else(|| {
            Problem::not_found(format!(
                "there is no certificate `{name}`; `certgate cert list` shows those there are"
            ))
        })
    }

    /// The version before the present one, where it can be used.
    async fn previous(&self, name: &CertificateName) -> Result<Option<Credential>, Problem> {
        match self.inventory.previous_credential(name).await {
            Ok(None) | Err(InventoryError::Credential { .. }) => Ok(None),
            Ok(Some(pem)) => Ok(Credential::from_pem(&pem).ok()),
            Err(error) => Err(Problem::internal(&error)),
        }
    }

    /// What the record says of `credential`, the version before, once it is back; or why it cannot be.
    async fn gone_back_to(
        &self,
        record: &CertificateRecord,
        credential: &Credential,
        desired: Option<&DesiredCertificate>,
    ) -> Result<CurrentCertificate, Problem> {
        let (name, now, leaf) = (&record.name, self.clock.now(), credential.leaf());
        let refused = |reason: String| {
            Problem::conflict(format!(
                "certificate `{name}` cannot go back to its previous version: {reason}"
            ))
        };
        let domains = desired.map_or(&[][..], |desired| &desired.domains);
        let fits = credential.check(domains, now);
        fits.map_err(|error| refused(error.to_string()))?;
        let past = self.inventory.past_versions(name).await;
        let past = past.map_err(|error| Problem::internal(&error))?;
        let mut past = past.into_iter().map(|past| past.certificate);
        let known = past.find(|past| past.leaf.fingerprint == leaf.fingerprint);
        let issuer = record.current.as_ref().map(|current| current.issuer.clone());
        let known = known.unwrap_or_else(|| CurrentCertificate {
            leaf: leaf.clone(),
            issuer: issuer.unwrap_or_default(),
            obtained_at: leaf.not_before,
            renew_at: None,
            suggested: None,
            ask_at: None,
            revoked: None,
        });
        if let Some(reason) = known.revoked {
            return Err(refused(format!("it was revoked ({reason})")));
        }
        let renew_at = renewal::after_rollback(leaf, known.obtained_at, now);
        Ok(CurrentCertificate {
            obtained_at: now,
            renew_at: (record.source == Source::Issued).then_some(renew_at),
            suggested: None,
            ask_at: None,
            ..known
        })
    }
}

fn version(state: &str, current: &CurrentCertificate) -> api::CertificateVersion {
    let leaf = &current.leaf;
    api::CertificateVersion {
        state: state.to_owned(),
        issuer: current.issuer.clone(),
        serial: leaf.serial.clone(),
        fingerprint: leaf.fingerprint.clone(),
        key: leaf.key.clone(),
        obtained_at: current.obtained_at,
        not_after: leaf.not_after,
        replaced_at: None,
        revoked: current.revoked,
    }
}

const LOOK: Duration = Duration::from_millis(5);
/// Some five seconds of them: a swap takes a moment.
const LOOKS: u32 = 1000;
