//! What an attempt costs of the limits of its CA.

use crate::issuer::ledger::Bucket;

/// How much of what was taken for an attempt is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::renewal) enum Cost {
    /// Nothing: no order was placed.
    Nothing,
    /// An order, and the account that it was placed with; no certificate came of it.
    Order,
    /// All of it: there is a certificate, or there may still be one.
    All,
}

impl Cost {
    /// Whether `bucket` has paid a part of it.
    pub(super) fn includes(self, bucket: &Bucket) -> bool {
        match self {
            Self::Nothing => false,
            // An order counts from when it is placed, whatever comes of it.
            Self::Order => matches!(
                bucket,
                Bucket::Orders | Bucket::Registrations | Bucket::RegistrationsNearby
            ),
            Self::All => true,
        }
    }
}
