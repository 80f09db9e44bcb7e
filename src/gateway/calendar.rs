//! The calendar that the admin API shows.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::admin::{CalendarOperations, Problem, api};
use crate::certificate::{CertificateName, DesiredCertificate};
use crate::clock::Timestamp;
use crate::config::{Config, IssuerConfig};
use crate::gateway::control_plane::ControlPlane;
use crate::inventory::{CertificateRecord, CertificateState};
use crate::issuer::ledger::OrderKind;
use crate::renewal::{Forecast, HeldBack, Hindrance, Jitter, Present, Step, forecast};

#[async_trait]
impl CalendarOperations for ControlPlane {
    async fn plan(&self, days: u16, certificate: Option<&CertificateName>) -> Result<api::Plan, Problem> {
        let present = self.present().await?;
        if let Some(name) = certificate
            && !present.desired.iter().any(|desired| desired.name == *name)
        {
            return Err(Problem::not_found(format!(
                "there is no certificate `{name}` that is obtained from an issuer"
            )));
        }
        let now = present.now;
        let end = now + DAY * u32::from(days);
        // For many certificates this takes seconds, and others wait for this thread.
        let forecast = tokio::task::spawn_blocking(move || forecast(present, end, Jitter::new(0)));
        let forecast = forecast.await.map_err(|error| Problem::internal(&error))?;
        let forecast = match certificate {
            Some(name) => only(forecast, name),
            None => forecast,
        };
        let mut plan = shown(forecast, now, end);
        for issuer in &mut plan.issuers {
            issuer.rate_limits = self.used_limits(&issuer.issuer).await?;
        }
        Ok(plan)
    }
}

impl ControlPlane {
    /// Everything that decides about the time to come.
    async fn present(&self) -> Result<Present, Problem> {
        let config = self.config.load_full();
        let desired = self.desired().to_vec();
        let mut records: Vec<CertificateRecord> = Vec::new();
        self.inventory
            .visit_certificates(|record| records.push(record))
            .await
            .map_err(|error| Problem::internal(&error))?;
        let mut ledgers = BTreeMap::new();
        for (name, issuer) in self.issuers.load_full().iter() {
            let ledger = issuer.ledger().await.map_err(|error| Problem::internal(&error))?;
            ledgers.extend(ledger.map(|ledger| (name.clone(), ledger)));
        }
        Ok(Present {
            now: self.clock.now(),
            hindrances: self.hindrances(&desired, &records),
            records: self.lookout.as_found(&desired, records),
            desired,
            ledgers,
            lifetimes: lifetimes(&config),
        })
    }

    /// What keeps certificates from being asked for: what stopped the last attempt, or would stop the next by what was
    /// seen in DNS last.
    fn hindrances(
        &self,
        desired: &[DesiredCertificate],
        records: &[CertificateRecord],
    ) -> BTreeMap<CertificateName, Hindrance> {
        let mut hindrances = self.lookout.hindrances();
        let desired: BTreeMap<_, _> = desired.iter().map(|desired| (&desired.name, desired)).collect();
        for record in records {
            let Some(desired) = desired.get(&record.name) else {
                continue;
            };
            match &record.state {
                // It will be ordered whatever DNS says.
                _ if record.despite_dns => drop(hindrances.remove(&record.name)),
                CertificateState::Blocked { reason, remedy, .. } if record.pursued == desired.digest() => {
                    let hindrance = Hindrance {
                        reason: reason.clone(),
                        remedy: remedy.clone(),
                    };
                    hindrances.insert(record.name.clone(), hindrance);
                }
                _ => {}
            }
        }
        hindrances
    }

    /// What is left of an issuer's limits; nothing where it is no longer there.
    async fn used_limits(&self, issuer: &str) -> Result<Vec<api::RateLimit>, Problem> {
        let config = self.config.load_full();
        let Some(IssuerConfig::Acme(_)) = config.issuers.get(issuer) else {
            return Ok(Vec::new());
        };
        let mut limits = self.rate_limits(issuer).await?;
        limits.truncate(SHOWN_LIMITS);
        Ok(limits)
    }
}

/// What the configuration says of how long certificates are valid.
fn lifetimes(config: &Config) -> BTreeMap<String, Duration> {
    let local = config.issuers.iter().filter_map(|(name, issuer)| match issuer {
        IssuerConfig::LocalCa(local) => Some((name.clone(), local.certificate_lifetime)),
        IssuerConfig::Acme(_) => None,
    });
    local.collect()
}

fn only(mut forecast: Forecast, name: &CertificateName) -> Forecast {
    forecast.steps.retain(|step| step.certificate == *name);
    forecast.held_back.retain(|held| held.certificate == *name);
    forecast.unserved.retain(|unserved| unserved == name);
    forecast.late.retain(|(_, late)| late == name);
    forecast
}

fn shown(forecast: Forecast, now: Timestamp, until: Timestamp) -> api::Plan {
    let warnings = warnings(&forecast, now, until);
    let mut hours = BTreeMap::<(&str, i64), usize>::new();
    let mut days = BTreeMap::<(i64, &str), api::PlannedDay>::new();
    let mut issuers = BTreeMap::<&str, api::IssuerPlan>::new();
    for step in &forecast.steps {
        let (hour, day) = (
            step.at.unix_seconds().div_euclid(3_600),
            step.at.unix_seconds().div_euclid(86_400),
        );
        let in_hour = hours.entry((&step.issuer, hour)).or_default();
        *in_hour += 1;
        let of_day = days
            .entry((day, &step.issuer))
            .or_insert_with(|| api::PlannedDay {
                day: Timestamp::from_unix_seconds(day * 86_400),
                issuer: step.issuer.clone(),
                orders: 0,
                renewals: 0,
                busiest_hour_count: 0,
                waited: 0,
            });
        let of_issuer = issuers.entry(&step.issuer).or_insert_with(|| api::IssuerPlan {
            issuer: step.issuer.clone(),
            orders: 0,
            renewals: 0,
            busiest_hour: step.at,
            busiest_hour_count: 0,
            all_begun_at: None,
            rate_limits: Vec::new(),
        });
        match step.order {
            OrderKind::New => {
                of_day.orders += 1;
                of_issuer.orders += 1;
                of_issuer.all_begun_at = Some(step.at);
            }
            OrderKind::Replacement | OrderKind::SameNames => {
                of_day.renewals += 1;
                of_issuer.renewals += 1;
            }
        }
        of_day.waited += usize::from(step.due_at.is_some());
        of_day.busiest_hour_count = of_day.busiest_hour_count.max(*in_hour);
        if *in_hour > of_issuer.busiest_hour_count {
            of_issuer.busiest_hour_count = *in_hour;
            of_issuer.busiest_hour = Timestamp::from_unix_seconds(hour * 3_600);
        }
    }
    api::Plan {
        now,
        until,
        issuers: issuers.into_values().collect(),
        days: days.into_values().collect(),
        steps_in_all: forecast.steps.len(),
        steps: forecast.steps.iter().take(SHOWN_STEPS).map(planned).collect(),
        held_back_in_all: forecast.held_back.len(),
        held_back: forecast
            .held_back
            .into_iter()
            .take(SHOWN_STEPS)
            .map(held_back)
            .collect(),
        warnings,
    }
}

fn planned(step: &Step) -> api::PlannedStep {
    let limit = step.limit.as_ref();
    api::PlannedStep {
        at: step.at,
        certificate: step.certificate.clone(),
        issuer: step.issuer.clone(),
        reason: step.reason.to_string(),
        order: step.order.to_string(),
        due_at: step.due_at,
        limit: limit.map(|limit| limit.limit.clone()),
        left: limit.map(|limit| limit.left),
        allowed: limit.map(|limit| limit.allowed),
    }
}

fn held_back(held: HeldBack) -> api::HeldBack {
    api::HeldBack {
        at: held.at,
        certificate: held.certificate,
        issuer: held.issuer,
        reason: held.hindrance.reason,
        remedy: held.hindrance.remedy,
    }
}

fn warnings(forecast: &Forecast, now: Timestamp, until: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((at, first)) = forecast.late.first() {
        let when = match *at <= now {
            true => "should have been replaced by",
            false => "should be replaced by",
        };
        let more = match forecast.late.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more with it"),
        };
        warnings.push(format!(
            "certificate `{first}` {when} {at}, with a third of its lifetime left (a quarter, where its CA suggests to renew so \
             late), and will not be in time{more}; have another issuer sign some, or ask the CA for higher limits"
        ));
    }
    if let Some(first) = forecast.unserved.first() {
        let count = forecast.unserved.len();
        warnings.push(format!(
            "{count} of the names that have no certificate, `{first}` among them, are not begun with before {until}"
        ));
    }
    warnings
}

const DAY: Duration = Duration::from_secs(86_400);
const SHOWN_STEPS: usize = 1_000;
const SHOWN_LIMITS: usize = 100;
