//! Placing an order (RFC 8555 §7.4): the intent before, the URL after.

use std::collections::{BTreeMap, BTreeSet};

use instant_acme::{CertificateIdentifier, Identifier, NewOrder, Order};
use rustls::pki_types::PrivateKeyDer;

use crate::certificate::{DesiredCertificate, PrivateKey};
use crate::inventory::OrderRecord;
use crate::issuer::acme::directory::Directory;
use crate::issuer::acme::during;
use crate::issuer::acme::pursuit::Pursuit;
use crate::issuer::ledger::OrderKind;
use crate::issuer::{IssueError, Step};

impl Pursuit<'_> {
    /// Writes that an order is about to be placed, and the key that it is for.
    pub(super) async fn intend(&self) -> Result<OrderRecord, IssueError> {
        let key = match self.kept_key().await? {
            Some(key) => key,
            None => self.new_key().await?,
        };
        let record = OrderRecord {
            issuer: self.issuer.name.clone(),
            account_url: self.session.account.id().to_owned(),
            order_url: None,
            key,
            digest: self.request.desired.digest(),
            created_at: self.issuer.clock.now(),
        };
        self.save(&record).await?;
        Ok(record)
    }

    /// The key of the present certificate, where it is to be kept and was not revoked.
    async fn kept_key(&self) -> Result<Option<PrivateKey>, IssueError> {
        let DesiredCertificate {
            reuse_key, key_type, ..
        } = self.request.desired;
        if !reuse_key {
            return Ok(None);
        }
        let inventory = &self.issuer.inventory;
        let record = inventory.certificate(self.name()).await?;
        let current = record.and_then(|record| record.value.current);
        if !current.is_some_and(|current| current.leaf.key == key_type.label() && current.revoked.is_none()) {
            return Ok(None);
        }
        let pem = inventory.credential(self.name()).await?;
        Ok(pem.and_then(|pem| match pem.key() {
            PrivateKeyDer::Pkcs8(key) => Some(PrivateKey::from_pkcs8(key.secret_pkcs8_der().to_vec())),
            _ => None,
        }))
    }

    async fn new_key(&self) -> Result<PrivateKey, IssueError> {
        let key_type = self.request.desired.key_type;
        let generated = tokio::task::spawn_blocking(move || PrivateKey::generate(key_type)).await;
        Ok(generated.map_err(|error| IssueError::Garbled {
            doing: "make a key",
            reason: error.to_string(),
        })??)
    }

    /// Has the CA place the order for the intent in `record`.
    pub(super) async fn place(&self, record: OrderRecord) -> Result<(Order, PrivateKey), IssueError> {
        self.course.step(Step::PlacingOrder);
        match self.placed(&record).await {
            Ok(order) => self.note(record, order).await,
            Err(error) => {
                // A clear no leaves nothing behind. After anything else there may be an order to be found.
                self.account_for(&error, error.is_clear_no()).await?;
                if error.is_clear_no() {
                    self.end_journal().await?;
                }
                Err(error)
            }
        }
    }

    async fn placed(&self, record: &OrderRecord) -> Result<Order, IssueError> {
        let identifiers = identifiers(self.request.desired);
        let profile = self.profile().await?;
        let order = || match &profile {
            Some(profile) => NewOrder::new(&identifiers).profile(profile),
            None => NewOrder::new(&identifiers),
        };
        if let Some(replaced) = self.replaced().await? {
            match self.new_order(&order().replaces(replaced)).await {
                Err(error) if error.may_be_for_what_is_replaced() => {
                    let name = self.name();
                    tracing::info!(certificate = %name, %error, "the order is placed again, as one that replaces nothing");
                    // A CA that has no notion of it may have placed the one before.
                    if !error.is_clear_no()
                        && let Some(order) = self.find_placed(record).await?
                    {
                        return Ok(order);
                    }
                }
                done => return done,
            }
        }
        self.spend(self.kind().await?).await?;
        self.new_order(&order()).await
    }

    /// What an order that replaces nothing is to the CA's rate limits.
    async fn kind(&self) -> Result<OrderKind, IssueError> {
        let known = self.issuer.inventory.certificate(self.name()).await?;
        let current = known.and_then(|known| known.value.current);
        let wanted: BTreeSet<_> = self.request.desired.domains.iter().collect();
        let is_same = current.is_some_and(|current| {
            current.issuer == self.issuer.name && current.leaf.names.iter().collect::<BTreeSet<_>>() == wanted
        });
        Ok(if is_same {
            OrderKind::SameNames
        } else {
            OrderKind::New
        })
    }

    async fn new_order(&self, wanted: &NewOrder<'_>) -> Result<Order, IssueError> {
        let placed = self.session.account.new_order(wanted).await;
        placed.map_err(during("place the order"))
    }

    /// The configured profile, which a CA that does not have it might take for none.
    async fn profile(&self) -> Result<Option<String>, IssueError> {
        let Some(wanted) = &self.issuer.config.profile else {
            return Ok(None);
        };
        let profiles = &self.directory().await?.meta.profiles;
        match profiles.contains_key(wanted) {
            true => Ok(Some(wanted.clone())),
            false => Err(IssueError::NoSuchProfile {
                wanted: wanted.clone(),
                offered: profiles.keys().cloned().collect(),
            }),
        }
    }

    async fn directory(&self) -> Result<&Directory, IssueError> {
        let directory = self.session.directory().await;
        directory.map_err(|failure| failure.during("read the CA's directory"))
    }

    /// The certificate that this order replaces, as the CA knows it (RFC 9773 §5); none where the CA does not ask.
    async fn replaced(&self) -> Result<Option<CertificateIdentifier<'static>>, IssueError> {
        let Some(replaced) = self.request.replaces else {
            return Ok(None);
        };
        let directory = self.directory().await?;
        let identifier = CertificateIdentifier::try_from(replaced).ok();
        Ok(identifier
            .filter(|_| directory.renewal_info.is_some())
            .map(CertificateIdentifier::into_owned))
    }

    /// Writes down where the order is.
    pub(super) async fn note(
        &self,
        record: OrderRecord,
        order: Order,
    ) -> Result<(Order, PrivateKey), IssueError> {
        let record = OrderRecord {
            order_url: Some(order.url().to_owned()),
            ..record
        };
        self.save(&record).await?;
        Ok((order, record.key))
    }
}

/// What an order is placed for (RFC 8555 §7.1.3, RFC 8738 §3), each name once.
pub(super) fn identifiers(desired: &DesiredCertificate) -> Vec<Identifier> {
    let names: BTreeMap<_, _> = desired
        .domains
        .iter()
        .map(|domain| {
            let text = domain.to_string();
            let identifier = match domain.address() {
                Some(address) => Identifier::Ip(address),
                None => Identifier::Dns(text.clone()),
            };
            (text, identifier)
        })
        .collect();
    names.into_values().collect()
}
