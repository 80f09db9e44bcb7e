//! Authorizations and their challenges (RFC 8555 §7.1.4, §7.5): the right to the names of an order.

mod presented;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use instant_acme::{AuthorizationStatus, ChallengeStatus, Order, OrderStatus};

use self::presented::Presented;

use crate::config::ChallengeType;
use crate::issuer::acme::during;
use crate::issuer::acme::pursuit::Pursuit;
use crate::issuer::error::challenge_name;
use crate::issuer::{Challenge, IssueError, Round, SolveError, Step, ValidationFailure};
use crate::name::{DnsName, NamePattern};

impl Pursuit<'_> {
    /// Proves the right to every name, and waits until the order is ready or further.
    pub(super) async fn authorize(&self, order: &mut Order) -> Result<(), IssueError> {
        let mut presented = Presented::new(self.issuer.solver.clone());
        let result = self.validate(order, &mut presented).await;
        presented.clear().await;
        result
    }

    /// In as many rounds as the answers need that cannot be given at once.
    async fn validate(&self, order: &mut Order, presented: &mut Presented) -> Result<(), IssueError> {
        loop {
            let pending = self.survey(order).await?;
            let Round { challenges, turn } = self.round(&pending).await?;
            presented.turn = Some(turn);
            for challenge in &challenges {
                self.present(challenge, presented).await?;
            }
            self.in_force(&challenges).await?;
            if let Err(error) = self.announce(order, &challenges).await {
                // The CA may have looked by itself, or because an earlier attempt told it to: then its refusal to be
                // told again is no failure.
                *order = self.look(order).await?;
                if order.state().status == OrderStatus::Pending
                    && !self.is_under_way(order, &challenges).await?
                {
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
            if challenges.len() >= pending.len() {
                break;
            }
            self.wait_for(order, &challenges).await?;
            presented.clear().await;
        }
        match order.poll_ready(&self.retries()).await {
            Ok(OrderStatus::Invalid) => Err(self.invalid(order).await),
            Ok(_) => Ok(()),
            Err(_) if order.state().status == OrderStatus::Invalid => Err(self.invalid(order).await),
            Err(error) => Err(self.waited("wait for the validation", error)),
        }
    }

    /// Those of `pending` that can be answered now, when it is this order's turn.
    async fn round(&self, pending: &[Challenge]) -> Result<Round, IssueError> {
        let mut round = self.issuer.solver.round(pending);
        let given = match round.as_mut().now_or_never() {
            Some(given) => given,
            None => {
                self.course.step(Step::WaitingForTurn { names: pending.len() });
                round.await
            }
        };
        given.map_err(|(domain, source)| {
            let of_domain = pending.iter().find(|challenge| challenge.domain == domain);
            let challenge = of_domain.map_or(ChallengeType::Dns01, |challenge| challenge.kind);
            not_presented(domain, challenge, source)
        })
    }

    /// Waits until the CA has looked for these answers, while others of the order are yet to be given.
    async fn wait_for(&self, order: &mut Order, challenges: &[Challenge]) -> Result<(), IssueError> {
        let mut pause = self.issuer.limits.first_poll;
        loop {
            tokio::time::sleep(pause).await;
            *order = self.look(order).await?;
            if order.state().status == OrderStatus::Invalid {
                return Err(self.invalid(order).await);
            }
            if !self.is_any_pending(order, challenges).await? {
                return Ok(());
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Whether the CA has yet to come to an end with one of these.
    async fn is_any_pending(&self, order: &mut Order, challenges: &[Challenge]) -> Result<bool, IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization.map_err(during(FETCH))?;
            if authorization.status == AuthorizationStatus::Pending
                && of(&authorization.challenges, challenges).is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
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
        // A name and its wildcard by their tokens: whoever waits for another with the same ones has them in this order, too.
        challenges.sort_by(|a, b| (&a.domain, &a.token).cmp(&(&b.domain, &b.token)));
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
        put.map_err(|source| not_presented(challenge.domain.clone(), challenge.kind, source))
    }

    /// Waits until all of the answers are where the CA looks.
    async fn in_force(&self, challenges: &[Challenge]) -> Result<(), IssueError> {
        let waits = challenges.iter().map(|challenge| async move {
            let waited = self.issuer.solver.in_force(challenge).await;
            waited.map_err(|source| not_presented(challenge.domain.clone(), challenge.kind, source))
        });
        try_join_all(waits).await.map(drop)
    }

    /// Tells the CA that it may look (RFC 8555 §7.5.1).
    async fn announce(&self, order: &mut Order, challenges: &[Challenge]) -> Result<(), IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(during(FETCH))?;
            let Some(challenge) = of(&authorization.challenges, challenges) else {
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

    /// Whether the CA is looking already, or has done so, for every one of these answers.
    async fn is_under_way(&self, order: &mut Order, challenges: &[Challenge]) -> Result<bool, IssueError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization.map_err(during(FETCH))?;
            let waits = |c: &instant_acme::Challenge| c.status == ChallengeStatus::Pending;
            if authorization.status == AuthorizationStatus::Pending
                && of(&authorization.challenges, challenges).is_some()
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

/// The one of `challenges` that is among `offered`, those of an authorization; by its token, for a name and its wildcard
/// have an authorization each.
fn of<'c>(offered: &[instant_acme::Challenge], challenges: &'c [Challenge]) -> Option<&'c Challenge> {
    let is_one = |c: &&Challenge| {
        let mut offered = offered.iter();
        offered.any(|other| other.token == c.token && other.r#type == wire(c.kind))
    };
    challenges.iter().find(is_one)
}

fn not_presented(domain: DnsName, challenge: ChallengeType, source: SolveError) -> IssueError {
    IssueError::NotPresented {
        domain,
        challenge,
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
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
