//! The entries of certificates that handshakes have asked for.

use crate::certificate::{CertificateName, CertificateNameError};
use crate::name::DnsName;

impl CertificateName {
    /// The entry of the certificate for `name`, where a handshake is the first to ask for it.
    ///
    /// # Errors
    /// [`CertificateNameError`] for a name of more than 118 octets.
    pub fn on_demand(name: &DnsName) -> Result<Self, CertificateNameError> {
        Self::parse(&format!("{ON_DEMAND_DIRECTORY}/{name}"))
    }

    /// Whether it is such an entry.
    pub fn is_on_demand(&self) -> bool {
        let rest = self.as_str().strip_prefix(ON_DEMAND_DIRECTORY);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// What stands before the slash in the names of such entries; no certificate directory may be called so.
pub const ON_DEMAND_DIRECTORY: &str = "on-demand";
