//! Authorizations and their challenges (RFC 8555 §7.1.4, §7.5): the right to the names of an order.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use instant_acme::{AuthorizationStatus, ChallengeStatus, Order, OrderStatus};

use crate::config::ChallengeType;
use crate::issuer::acme::during;
use crate::issuer::acme::pursuit::Pursuit;
use crate::issuer::error::challenge_name;
use crate::issuer::{Challenge, ChallengeSolver, IssueError, SolveError, Step, ValidationFailure};
use crate::name::{DnsName, NamePattern};

impl Pursuit<'_> {
    /// Proves the right to every name, and waits until the order is ready or further.
    pub(super) async fn authorize(&self, order: &mut Order) -> Result<(), IssueError> {
        let mut presented = Presented {
            solver: self.issuer.solver.clone(),
            challenges: Vec::new(),
        };
        let result = self.validate(order, &mut presented).await;
        presented.clear().await;
        result
    }

    async fn validate(&self, order: &mut Order, presented: &mut Presented) -> Result<(), IssueError> {
        let challenges = self.survey(order).await?;
        for challenge in &challenges {
            self.present(challenge, presented).await?;
        }
        self.in_force(&challenges).await?;
        if let Err(error) = self.announce(order, &challenges).await {
            // The CA may have looked by itself, or because an earlier attempt told it to: then its refusal to be
            // told again is no failure.
            *order = self.look(order).await?;
            if order.state().status == OrderStatus::Pending && !self.is_under_way(order).await? {
                return Err(error);
            }
        }
        self.course.step(Step::WaitingForValidation {
            domains: challenges
                .iter()
                .map(|challenge| (challenge.domain.clone(), challenge.kind))
                .collect(),
        });
        if order.state().status != OrderStatus::Pending {
            return Ok(());
        }
        match order.poll_ready(&self.retries()).await {
            Ok(OrderStatus::Invalid) => Err(self.invalid(order).await),
            Ok(_) => Ok(()),
            Err(_) if order.state().status == OrderStatus::Invalid => Err(self.invalid(order).await),
            Err(error) => Err(self.waited("wait for the validation", error)),
        }
    }

    /// The challenges to answer, in the order of their names. Names that the CA takes as validated need none.
    async fn survey(&self, order: &mut Order) -> Result<Vec<Challenge>, IssueError> {
        let mut challenges = Vec::new();
        let mut authorizations = order.authorizations();
        let mut spoilt = false;
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(during(FETCH))?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                _ => {
                    spoilt = true;
                    continue;
                }
            }
            let domain = self.wanted(&authorization.identifier().to_string())?;
            let offers =
                |kind: ChallengeType| authorization.challenges.iter().any(|c| c.r#type == wire(kind));
            let configured = self.challenges(&authorization.identifier().to_string());
            let Some(kind) = configured.iter().copied().find(|kind| offers(*kind)) else {
                return Err(IssueError::NoUsableChallenge {
                    domain: authorization.identifier().to_string(),
                    offered: authorization
                        .challenges
                        .iter()
                        .map(|c| type_name(&c.r#type))
                        .collect(),
                    configured,
                });
            };
            if let Some(handle) = authorization.challenge(wire(kind)) {
                challenges.push(challenge(domain, kind, &handle)?);
            }
        }
        if spoilt {
            return Err(self.invalid(order).await);
        }
        challenges.sort_by(|a, b| a.domain.cmp(&b.domain));
        Ok(challenges)
    }

    /// The challenges to try for an identifier, the one that failed last time at the end.
    fn challenges(&self, identifier: &str) -> Vec<ChallengeType> {
        let pattern = NamePattern::parse(identifier).ok();
        let choice = pattern
            .as_ref()
            .and_then(|pattern| self.request.challenges.get(pattern));
        let mut challenges = self.issuer.challenges(self.name(), choice);
        if pattern.is_some_and(|pattern| pattern.address().is_some()) {
            // Whatever the CA offers (RFC 8738 §7).
            challenges.retain(|challenge| *challenge != ChallengeType::Dns01);
        }
        challenges
    }

    /// A CA may ask about nothing but the names of the order: what is answered for others would be given away.
    fn wanted(&self, identifier: &str) -> Result<DnsName, IssueError> {
        let domains = &self.request.desired.domains;
        let asked = named(identifier).filter(|name| domains.iter().any(|wanted| wanted.base() == name));
        asked.ok_or_else(|| IssueError::Garbled {
            doing: FETCH,
            reason: format!("it wants to validate {identifier:?}, which the order does not hold"),
        })
    }

    async fn present(&self, challenge: &Challenge, presented: &mut Presented) -> Result<(), IssueError> {
        self.course.step(Step::Presenting {
            domain: challenge.domain.clone(),
            challenge: challenge.kind,
        });
        presented.challenges.push(challenge.clone());
        let put = self.issuer.solver.present(challenge).await;
        put.map_err(|source| not_presented(challenge, source))
    }

    /// Waits until all of the answers are where the CA looks.
    async fn in_force(&self, challenges: &[Challenge]) -> Result<(), IssueError> {
        let waits = challenges.iter().map(|challenge| async move {
            let waited = self.issuer.solver.in_force(challenge).await;
            waited.map_err(|source| not_presented(challenge, source))
        });
        try_join_all(waits).await.map(drop)
    }

    /// Tells the CA that it may look (RFC 8555 §7.5.1).
    async fn announce(&self, order: &mut Order, challenges: &[Challenge]) -> Result<(), IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(during(FETCH))?;
            // By its token: a name and its wildcard have an authorization each.
            let is_here = |c: &&Challenge| {
                let mut offered = authorization.challenges.iter();
                offered.any(|other| other.token == c.token && other.r#type == wire(c.kind))
            };
            let Some(challenge) = challenges.iter().find(is_here) else {
                continue;
            };
            let Some(mut handle) = authorization.challenge(wire(challenge.kind)) else {
                continue;
            };
            if handle.status == ChallengeStatus::Pending {
                handle
                    .set_ready()
                    .await
                    .map_err(during("have a challenge validated"))?;
            }
        }
        Ok(())
    }

    /// Whether the CA is looking already, or has done so, for every name.
    async fn is_under_way(&self, order: &mut Order) -> Result<bool, IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization.map_err(during(FETCH))?;
            let waits = |c: &instant_acme::Challenge| c.status == ChallengeStatus::Pending;
            if authorization.status == AuthorizationStatus::Pending
                && authorization.challenges.iter().all(waits)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Why the order is invalid: most CAs say so at the challenges only, and what is known of those is from before.
    pub(super) async fn invalid(&self, order: &mut Order) -> IssueError {
        let problem = order.state().error.clone().map(Box::new);
        let mut failures = Vec::new();
        if let Ok(mut order) = self.look(order).await {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let Ok(authorization) = authorization else {
                    continue;
                };
                let domain = authorization.identifier().to_string();
                let failed = authorization
                    .challenges
                    .iter()
                    .filter(|challenge| challenge.error.is_some());
                failures.extend(failed.map(|challenge| ValidationFailure {
                    domain: domain.clone(),
                    challenge: type_name(&challenge.r#type),
                    problem: challenge.error.clone(),
                }));
            }
        }
        IssueError::OrderInvalid {
            order: order.url().to_owned(),
            failures,
            problem,
        }
    }

    async fn look(&self, order: &Order) -> Result<Order, IssueError> {
        let looked = self.session.account.order(order.url().to_owned()).await;
        looked.map_err(during("look at the order"))
    }
}

/// The answers that are in place. Taken away on every path, also when the attempt is given up half-way.
struct Presented {
    solver: Arc<dyn ChallengeSolver>,
    challenges: Vec<Challenge>,
}

impl Presented {
    async fn clear(&mut self) {
        let cleared = self
            .challenges
            .iter()
            .map(|challenge| self.solver.clear(challenge));
        join_all(cleared).await;
        self.challenges.clear();
    }
}

impl Drop for Presented {
    fn drop(&mut self) {
        if self.challenges.is_empty() {
            return;
        }
        // Without a runtime the process is ending, and the answers with it. What is spawned is no guard itself: a
        // runtime that is ending drops it at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (solver, challenges) = (self.solver.clone(), std::mem::take(&mut self.challenges));
            runtime.spawn(async move {
                join_all(challenges.iter().map(|challenge| solver.clear(challenge))).await;
            });
        }
    }
}

fn not_presented(challenge: &Challenge, source: SolveError) -> IssueError {
    IssueError::NotPresented {
        domain: challenge.domain.clone(),
        challenge: challenge.kind,
        source: Arc::new(source),
    }
}

/// The name that an identifier is about.
fn named(identifier: &str) -> Option<DnsName> {
    let bare = identifier.strip_prefix("*.").unwrap_or(identifier);
    NamePattern::parse(bare).ok().map(|name| name.base().clone())
}

fn challenge(
    domain: DnsName,
    kind: ChallengeType,
    handle: &instant_acme::ChallengeHandle<'_>,
) -> Result<Challenge, IssueError> {
    let garbled = |reason: String| IssueError::Garbled { doing: FETCH, reason };
    // A token is part of a path and of a file name elsewhere (RFC 8555 §8.3, §11.4).
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if handle.token.is_empty() || handle.token.len() > MAX_TOKEN || !handle.token.chars().all(sound) {
        return Err(garbled(format!(
            "the challenge for {domain} has a token that is not base64url"
        )));
    }
    let authorization = handle.key_authorization();
    let digest = <[u8; 32]>::try_from(authorization.digest().as_ref());
    Ok(Challenge {
        kind,
        token: handle.token.clone(),
        key_authorization: authorization.as_str().to_owned(),
        digest: digest.map_err(|_| garbled("SHA-256 of 32 bytes was expected".to_owned()))?,
        domain,
    })
}

fn wire(kind: ChallengeType) -> instant_acme::ChallengeType {
    match kind {
        ChallengeType::Dns01 => instant_acme::ChallengeType::Dns01,
        ChallengeType::Http01 => instant_acme::ChallengeType::Http01,
        ChallengeType::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
    }
}

fn type_name(kind: &instant_acme::ChallengeType) -> String {
    match kind {
        instant_acme::ChallengeType::Http01 => challenge_name(ChallengeType::Http01).to_owned(),
        instant_acme::ChallengeType::TlsAlpn01 => challenge_name(ChallengeType::TlsAlpn01).to_owned(),
        instant_acme::ChallengeType::Dns01 => "dns-01".to_owned(),
        instant_acme::ChallengeType::DeviceAttest01 => "device-attest-01".to_owned(),
        instant_acme::ChallengeType::Unknown(name) => {
            name.chars().filter(|c| !c.is_control()).take(40).collect()
        }
        _ => "one unknown here".to_owned(),
    }
}

const FETCH: &str = "fetch the authorizations";
const MAX_TOKEN: usize = 256;
