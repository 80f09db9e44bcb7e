//! The look at DNS before an order.

use std::sync::Arc;

use async_trait::async_trait;

use crate::certificate::DesiredCertificate;
use crate::config::DnsChecks;
use crate::gateway::look::Look;
use crate::gateway::lookout::Lookout;
use crate::gateway::on_demand::{Asker, may_be_renewed};
use crate::inventory::InventoryError;
use crate::renewal::{Candidates, DnsGate, DnsVerdict, Refusal};

/// The look at DNS before an order from a CA of the world; a CA of our own does not look. What was obtained on demand is
/// asked about as well before it is renewed.
pub(super) struct Gate {
    pub(super) lookout: Arc<Lookout>,
    pub(super) asker: Arc<Asker>,
}

#[async_trait]
impl DnsGate for Gate {
    async fn check(&self, desired: &DesiredCertificate, candidates: &Candidates) -> DnsVerdict {
        let lookout = &self.lookout;
        if desired.name.is_on_demand() && lookout.has_certificate(&desired.name).await {
            let config = lookout.config.load_full();
            if let Err(reason) = may_be_renewed(&config, &self.asker, desired).await {
                return DnsVerdict::No(Refusal::unknown(reason));
            }
        }
        lookout.order(desired, lookout.check(desired, candidates).await)
    }
}

impl Lookout {
    /// What a look at the names of `desired` means for an order.
    pub(super) fn order(
        &self,
        desired: &DesiredCertificate,
        look: Result<Look, InventoryError>,
    ) -> DnsVerdict {
        let look = match look {
            Ok(look) => look,
            Err(error) => return DnsVerdict::No(Refusal::unknown(error.to_string())),
        };
        let (certificate, challenges) = (&desired.name, look.challenges());
        for (issuer, reason) in &look.passed_over {
            tracing::warn!(%certificate, reason, "`{}` is asked: DNS is against `{issuer}`", look.issuer);
        }
        let issuer = look.issuer;
        let Some(against) = look.against else {
            return DnsVerdict::Go { issuer, challenges };
        };
        if self.config.load().dns_checks(certificate).0 == DnsChecks::Advisory {
            let reason = against.reason;
            tracing::warn!(%certificate, reason, "ordered all the same: `dns_checks` is advisory");
            return DnsVerdict::Go { issuer, challenges };
        }
        DnsVerdict::No(Refusal {
            reason: against.reason,
            remedy: against.remedy,
            until: against.until,
            is_definite: against.is_definite,
        })
    }
}
