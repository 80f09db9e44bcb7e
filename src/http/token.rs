//! The HTTP-01 challenges that are pending.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::HashMap;

/// Tokens and what is to be answered for each; read on every request without a lock.
#[derive(Default)]
pub struct TokenTable {
    key_authorizations: ArcSwap<HashMap<Arc<str>, Arc<str>>>,
}

impl TokenTable {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `token` with `key_authorization` (RFC 8555 §8.1) from now on.
    pub fn insert(&self, token: &str, key_authorization: &str) {
        let (token, answer) = (Arc::<str>::from(token), Arc::<str>::from(key_authorization));
        self.key_authorizations
            .rcu(|table| table.update(token.clone(), answer.clone()));
    }

    /// Answers `token` no longer.
    pub fn remove(&self, token: &str) {
        self.key_authorizations.rcu(|table| table.without(token));
    }

    /// The key authorization to answer `token` with.
    pub fn answer(&self, token: &str) -> Option<Arc<str>> {
        self.key_authorizations.load().get(token).cloned()
    }
}

impl std::fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenTable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_until_it_is_removed() {
        let tokens = TokenTable::new();
        tokens.insert("evaGxfADs6pSRb2LAv9IZ", "evaGxfADs6pSRb2LAv9IZ.9jg46WB3");
        tokens.insert("other", "other.9jg46WB3");
        assert_eq!(
            tokens.answer("evaGxfADs6pSRb2LAv9IZ").as_deref(),
            Some("evaGxfADs6pSRb2LAv9IZ.9jg46WB3")
        );
        tokens.remove("evaGxfADs6pSRb2LAv9IZ");
        assert_eq!(tokens.answer("evaGxfADs6pSRb2LAv9IZ"), None);
        assert_eq!(tokens.answer("other").as_deref(), Some("other.9jg46WB3"));
    }
}
