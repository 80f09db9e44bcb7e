//! Challenges: what the CA looks for, and who puts it where the CA looks.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use crate::config::ChallengeType;
use crate::name::{DnsName, NamePattern};

/// The challenges that can prove the right to each name, in the order in which to try them. For a name that is not in
/// here, all those that the issuer is configured for.
pub type ChallengeChoices = BTreeMap<NamePattern, Vec<ChallengeType>>;

/// One challenge of a CA (RFC 8555 §8), with everything that its answer is made of.
#[derive(Clone, Eq, PartialEq)]
pub struct Challenge {
    /// The name to be validated.
    pub domain: DnsName,
    /// How.
    pub kind: ChallengeType,
    /// The last part of the path that http-01 asks for; letters, digits, `-` and `_` only.
    pub token: String,
    /// The answer to http-01 (RFC 8555 §8.1).
    pub key_authorization: String,
    /// SHA-256 of the key authorization, which the certificate that answers tls-alpn-01 carries (RFC 8737 §3).
    pub digest: [u8; 32],
}

/// Those of the challenges of an order that are answered together.
pub struct Round {
    /// The challenges. The others come in rounds after this one has been cleared.
    pub challenges: Vec<Challenge>,
    /// Kept until then: other orders may wait for it. Its drop ends it.
    pub turn: Box<dyn Any + Send + Sync>,
}

/// Puts answers to challenges where a CA looks for them.
#[async_trait]
pub trait ChallengeSolver: Send + Sync {
    /// Which of `challenges`, all that an order has yet to answer, can be answered together; at least one, where there are
    /// any. Waits where another order is at what they need, in the order of coming, and for as long as the order can wait.
    ///
    /// # Errors
    /// The name that there can be no answer for, and why.
    async fn round(&self, challenges: &[Challenge]) -> Result<Round, (DnsName, SolveError)> {
        Ok(Round {
            challenges: challenges.to_vec(),
            turn: Box::new(()),
        })
    }

    /// Puts the answer in place. Two challenges of the same kind may be
    /// for the same name; the later one may be made to wait until the earlier one is cleared, for a certificate
    /// presents its challenges in the order of their names.
    ///
    /// # Errors
    /// [`SolveError`] when the answer cannot be given.
    async fn present(&self, challenge: &Challenge) -> Result<(), SolveError>;

    /// Returns once whoever the CA may ask gives the answer. It was presented before; all those of an order are, so that
    /// they are waited for together.
    ///
    /// # Errors
    /// [`SolveError`] says who does not give it.
    async fn in_force(&self, challenge: &Challenge) -> Result<(), SolveError> {
        let _ = challenge;
        Ok(())
    }

    /// Takes the answer away; also after a `present` that failed or was given up.
    async fn clear(&self, challenge: &Challenge);
}

/// Why an answer cannot be given.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct SolveError {
    /// The reason, for operators.
    pub reason: String,
}

impl fmt::Debug for Challenge {
    // The token and what is made of it are secret until the CA has asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({:?} for {})", self.kind, self.domain)
    }
}
