//! The calendar: what will be asked of which CA, and when.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Query, State};
use hyper::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::accounts::RateLimit;
use crate::admin::route::Route;
use crate::admin::{Client, ClientError, Operations, Problem};
use crate::certificate::CertificateName;
use crate::clock::Timestamp;

/// `GET /v1/plan`: what will be asked of CAs, as far as everything works.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Plan {
    /// The gateway's time.
    pub now: Timestamp,
    /// Nothing after this was looked at.
    pub until: Timestamp,
    /// Each issuer that is asked for something, sorted by name.
    pub issuers: Vec<IssuerPlan>,
    /// Each day and issuer with something to do, in the order of time.
    pub days: Vec<PlannedDay>,
    /// How many steps there are in all.
    pub steps_in_all: usize,
    /// The first of them, in the order of time.
    pub steps: Vec<PlannedStep>,
    /// How many certificates are due, and not asked for.
    pub held_back_in_all: usize,
    /// The first of them, in the order of time. They are in no step and in no count.
    pub held_back: Vec<HeldBack>,
    /// What an operator should do something about.
    pub warnings: Vec<String>,
}

/// What one issuer will be asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IssuerPlan {
    /// The issuer.
    pub issuer: String,
    /// Orders of names that it has signed no certificate for.
    pub orders: usize,
    /// Renewals.
    pub renewals: usize,
    /// The hour with the most of both.
    pub busiest_hour: Timestamp,
    /// How many are in it.
    pub busiest_hour_count: usize,
    /// When the last name that has no certificate yet is begun with; absent where there is none.
    pub all_begun_at: Option<Timestamp>,
    /// What is left now of the limits of which something was used, the scarcest first; 100 at most.
    pub rate_limits: Vec<RateLimit>,
}

/// A day in UTC at one issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PlannedDay {
    /// Its beginning.
    pub day: Timestamp,
    /// The issuer.
    pub issuer: String,
    /// Orders of names that it has signed no certificate for.
    pub orders: usize,
    /// Renewals.
    pub renewals: usize,
    /// How many of both are in its busiest hour.
    pub busiest_hour_count: usize,
    /// How many had to wait for a limit, or for others.
    pub waited: usize,
}

/// A certificate is to be obtained.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PlannedStep {
    /// When that is begun.
    pub at: Timestamp,
    /// The certificate.
    pub certificate: CertificateName,
    /// Who is asked.
    pub issuer: String,
    /// Why.
    pub reason: String,
    /// What it is to the CA's limits: `new`, `same-names` or `replacement`.
    pub order: String,
    /// When it is due, where it has to wait.
    pub due_at: Option<Timestamp>,
    /// The scarcest limit that it needs, where it needs one.
    pub limit: Option<String>,
    /// How many are left of it before.
    pub left: Option<u32>,
    /// Of how many.
    pub allowed: Option<u32>,
}

/// A certificate is due, and not asked for until what is wrong is put right.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct HeldBack {
    /// When it is looked at next, or would be begun.
    pub at: Timestamp,
    /// The certificate.
    pub certificate: CertificateName,
    /// Who would be asked.
    pub issuer: String,
    /// What is wrong.
    pub reason: String,
    /// The records to change, in zone-file form.
    pub remedy: Vec<String>,
}

/// What a running gateway can be asked of the time to come.
#[async_trait]
pub trait CalendarOperations: Send + Sync + 'static {
    /// What will be asked of CAs within `days`; of `certificate` only, where one is named.
    async fn plan(&self, days: u16, certificate: Option<&CertificateName>) -> Result<Plan, Problem>;
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/plan",
            "What will be asked of which CA and when, with what is left of its limits",
            plan,
        )
        .query::<PlanQuery>()
        .answers::<Plan>()
        .refuses(&[404]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlanQuery {
    /// How far to look.
    #[serde(default = "PlanQuery::usual")]
    #[schemars(range(min = 1, max = 366))]
    days: u16,
    /// Only this certificate, among all the others.
    certificate: Option<CertificateName>,
}

impl PlanQuery {
    fn usual() -> u16 {
        90
    }
}

async fn plan(
    State(operations): State<Arc<dyn Operations>>,
    Query(query): Query<PlanQuery>,
) -> Result<Json<Plan>, Problem> {
    if !(1..=366).contains(&query.days) {
        return Err(Problem::bad_request(format!(
            "`days` is {}; 1 to 366 are allowed",
            query.days
        )));
    }
    operations
        .plan(query.days, query.certificate.as_ref())
        .await
        .map(Json)
}

impl Client {
    /// `GET /v1/plan`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan(&self, days: u16, certificate: Option<&CertificateName>) -> Result<Plan, ClientError> {
        let certificate = certificate.map_or_else(String::new, |name| {
            format!("&certificate={}", crate::admin::client::encoded(name.as_str()))
        });
        let path = format!("/v1/plan?days={days}{certificate}");
        self.call(Method::GET, &path, None::<&()>).await
    }
}
