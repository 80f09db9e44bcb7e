//! What is forgotten of a certificate that is wanted no more: everything, where there never was one. What CAs were found to
//! want is kept for as long as it counts, so that to want it again is no way around a pause.

use std::time::Duration;

use crate::certificate::CertificateName;
use crate::clock::Timestamp;
use crate::inventory::{CertificateRecord, CertificateState, Inventory, InventoryError, Source};
use crate::renewal::attempt::lease_name;
use crate::renewal::plan::sane;

/// What has become of the record of a certificate that is wanted no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unwanted {
    /// Nothing of it is there.
    Gone,
    /// It stays: there is a certificate.
    Kept,
    /// It stays until then.
    Until(Timestamp),
    /// An attempt is under way; what comes of it decides.
    Busy,
}

/// The end of the last pause that `record` tells of, at `now` at the earliest; `None` for one that is not forgotten by itself,
/// because a certificate is served by it.
pub fn forgotten_at(record: &CertificateRecord, now: Timestamp) -> Option<Timestamp> {
    if record.source != Source::Issued || record.current.is_some() || record.stand_in.is_some() {
        return None;
    }
    let after_failure = match &record.state {
        CertificateState::BackingOff { next_attempt: at, .. }
        | CertificateState::Stopped { next_check: at, .. } => Some(*at),
        // To ask DNS again costs nobody anything.
        _ => None,
    };
    let rests = record.setbacks.values().map(|setback| setback.rests_until);
    let pauses = record
        .held_until
        .values()
        .copied()
        .chain(rests)
        .chain(after_failure);
    Some(pauses.map(|until| sane(until, now)).fold(now, Timestamp::max))
}

/// Forgets `name`, which is wanted no more, with its order, where nothing is worth keeping of it at `now`. Durable on return.
///
/// # Errors
/// The store's. A record that cannot be read stays.
pub async fn forget_unwanted(
    inventory: &Inventory,
    name: &CertificateName,
    now: Timestamp,
) -> Result<Unwanted, InventoryError> {
    let look = async || match inventory.certificate(name).await {
        Err(error @ InventoryError::Store { .. }) => Err(error),
        Err(_) => Ok(Err(Unwanted::Kept)),
        Ok(None) => Ok(Ok(None)),
        Ok(Some(known)) => Ok(match forgotten_at(&known.value, now) {
            None => Err(Unwanted::Kept),
            Some(at) if at > now => Err(Unwanted::Until(at)),
            Some(_) => Ok(Some(known)),
        }),
    };
    // Most are kept, and a lease costs a write.
    if let Err(fate) = look().await? {
        return Ok(fate);
    }
    let Some(lease) = inventory.lease(&lease_name(name), LEASE_TTL).await? else {
        return Ok(Unwanted::Busy);
    };
    let forgotten = async {
        match look().await? {
            Err(fate) => Ok(fate),
            Ok(None) => Ok(Unwanted::Gone),
            Ok(Some(known)) => match inventory.remove_unobtained(&known, &lease).await {
                Ok(()) => Ok(Unwanted::Gone),
                // Somebody has just changed it, or there is a key: the next look tells.
                Err(InventoryError::Conflict { .. }) => Ok(Unwanted::Busy),
                Err(error) => Err(error),
            },
        }
    };
    let forgotten = forgotten.await;
    inventory.release_lease(lease).await?;
    forgotten
}

const LEASE_TTL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certgate_store::{Expect, MemoryStore, Store};

    use super::*;
    use crate::certificate::KeyType;
    use crate::certificate::PrivateKey;
    use crate::inventory::{OrderRecord, Setback, StandIn};

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000)
    }

    fn wanted() -> CertificateRecord {
        CertificateRecord::wanted(CertificateName::parse("www").unwrap())
    }

    #[test]
    fn what_was_never_obtained_is_forgotten_after_the_last_pause_and_nothing_else_is() {
        let in_ = |seconds| now() + Duration::from_secs(seconds);
        let backing_off = |seconds| CertificateState::BackingOff {
            error: "no answer".to_owned(),
            next_attempt: in_(seconds),
        };
        let setback = |seconds| Setback {
            failures: 1,
            last: now(),
            rests_until: in_(seconds),
            is_hopeless: true,
        };
        let blocked = CertificateState::Blocked {
            reason: "no A record".to_owned(),
            remedy: Vec::new(),
            checks: 1,
            waiting_since: None,
            next_check: in_(3_600),
        };
        let held = |seconds| [("ca".to_owned(), in_(seconds))].into();
        let stand_in = StandIn {
            since: now(),
            by_operator: false,
            reason: "there is none yet".to_owned(),
        };
        let far = 400 * 86_400;
        for (record, expected) in [
            (wanted(), Some(0)),
            (
                CertificateRecord {
                    state: blocked,
                    ..wanted()
                },
                Some(0),
            ),
            (
                CertificateRecord {
                    state: backing_off(60),
                    ..wanted()
                },
                Some(60),
            ),
            (
                CertificateRecord {
                    held_until: held(7_200),
                    state: backing_off(60),
                    ..wanted()
                },
                Some(7_200),
            ),
            (
                CertificateRecord {
                    setbacks: [("other".to_owned(), setback(86_400))].into(),
                    ..wanted()
                },
                Some(86_400),
            ),
            // Written under a clock that was far ahead.
            (
                CertificateRecord {
                    held_until: held(far),
                    ..wanted()
                },
                Some(0),
            ),
            (
                CertificateRecord {
                    stand_in: Some(stand_in),
                    ..wanted()
                },
                None,
            ),
            (
                CertificateRecord {
                    source: Source::Imported,
                    ..wanted()
                },
                None,
            ),
        ] {
            assert_eq!(forgotten_at(&record, now()), expected.map(in_), "{record:?}");
        }
    }

    #[tokio::test]
    async fn its_order_goes_with_it_and_not_while_an_attempt_is_under_way() {
        let store = Arc::new(MemoryStore::new());
        let (inventory, record) = (Inventory::new(store.clone()), wanted());
        let name = &record.name;
        let attempt = inventory
            .lease(&lease_name(name), LEASE_TTL)
            .await
            .unwrap()
            .unwrap();
        inventory
            .save_certificate(&record, Expect::Absent, Some(&attempt))
            .await
            .unwrap();
        let order = OrderRecord {
            issuer: "ca".to_owned(),
            account_url: "https://ca.example/account/1".to_owned(),
            order_url: None,
            key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
            digest: String::new(),
            created_at: now(),
        };
        inventory.save_order(name, &order, &attempt).await.unwrap();
        let forget = async || forget_unwanted(&inventory, name, now()).await.unwrap();
        assert_eq!(forget().await, Unwanted::Busy);
        assert!(inventory.certificate(name).await.unwrap().is_some());

        inventory.release_lease(attempt).await.unwrap();
        assert_eq!(forget().await, Unwanted::Gone);
        assert!(store.list("").await.unwrap().entries.is_empty());
        assert_eq!(forget().await, Unwanted::Gone);
        let next = inventory.lease(&lease_name(name), LEASE_TTL).await.unwrap();
        assert!(next.is_some(), "whoever wants it again can begin at once");
    }
}
