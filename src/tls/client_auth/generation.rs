//! What a session was made under: it is resumed under nothing else.

use std::fmt;

use aws_lc_rs::digest;

use crate::certificate::CaBundle;
use crate::config::ListenerConfig;

/// A value of its own for each listener and each way in which it has authenticated clients: mode, CA certificates,
/// CRLs, allow list. A ticket is good for the generation it was made in, and no other.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct AuthenticationGeneration([u8; 32]);

impl AuthenticationGeneration {
    pub(in crate::tls) fn of(listener: &ListenerConfig, bundle: Option<&CaBundle>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut add = |part: &[u8]| {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        };
        add(listener.name.as_bytes());
        add(listener.authentication.word().as_bytes());
        if let Some(bundle) = bundle.filter(|_| listener.authentication.client_ca().is_some()) {
            add(&bundle.digest());
            add(&bundle.revocation().digest());
            add(format!("{:?}", listener.expired_crl).as_bytes());
            add(format!("{:?}", listener.allow_clients).as_bytes());
        }
        let mut value = [0; 32];
        value.copy_from_slice(context.finish().as_ref());
        Self(value)
    }
}

/// The beginning, as much as people compare.
impl fmt::Display for AuthenticationGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuthenticationGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
