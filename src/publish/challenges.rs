//! Answers to challenges, put where listeners find them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::cause::with_causes;
use crate::config::ChallengeType;
use crate::http::TokenTable;
use crate::issuer::{Challenge, ChallengeSolver, SolveError};
use crate::name::DnsName;
use crate::tls::ChallengeTable;

/// Solves http-01 and tls-alpn-01 on the gateway's own listeners. An answer is in force when `present` returns.
pub struct PublishedChallenges {
    tls_alpn: Arc<ChallengeTable>,
    http: Arc<TokenTable>,
    /// Whose answer stands for a name: tls-alpn-01 has room for one.
    claims: Mutex<HashMap<DnsName, String>>,
    freed: Notify,
}

impl PublishedChallenges {
    /// A solver over the tables that listeners answer from.
    pub fn new(tls_alpn: Arc<ChallengeTable>, http: Arc<TokenTable>) -> Self {
        Self {
            tls_alpn,
            http,
            claims: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<DnsName, String>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other challenge for the name is pending.
    async fn claim(&self, challenge: &Challenge) {
        loop {
            // Before the look: what is freed after it is not missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut claims = self.claims();
                let holder = claims
                    .entry(challenge.domain.clone())
                    .or_insert_with(|| challenge.token.clone());
                if *holder == challenge.token {
                    return;
                }
            }
            freed.await;
        }
    }
}

#[async_trait]
impl ChallengeSolver for PublishedChallenges {
    async fn present(&self, challenge: &Challenge) -> Result<(), SolveError> {
        match challenge.kind {
            ChallengeType::Dns01 => Err(SolveError {
                reason: "dns-01 is answered by the name's zone, and no listener can".to_owned(),
            }),
            ChallengeType::Http01 => {
                self.http.insert(&challenge.token, &challenge.key_authorization);
                Ok(())
            }
            ChallengeType::TlsAlpn01 => {
                self.claim(challenge).await;
                let inserted = self.tls_alpn.insert(&challenge.domain, &challenge.digest);
                inserted.map_err(|error| SolveError {
                    reason: with_causes(&error),
                })
            }
        }
    }

    async fn clear(&self, challenge: &Challenge) {
        match challenge.kind {
            ChallengeType::Dns01 => {}
            ChallengeType::Http01 => self.http.remove(&challenge.token),
            ChallengeType::TlsAlpn01 => {
                let mut claims = self.claims();
                if claims.get(&challenge.domain) == Some(&challenge.token) {
                    claims.remove(&challenge.domain);
                    self.tls_alpn.remove(&challenge.domain);
                    self.freed.notify_waiters();
                }
            }
        }
    }
}
