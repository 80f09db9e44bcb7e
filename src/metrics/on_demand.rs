//! What is counted of certificates on demand.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The counters of one listener.
#[derive(Clone, Debug)]
pub struct OnDemandMetrics {
    listener: Arc<str>,
    families: OnDemandFamilies,
}

impl OnDemandMetrics {
    /// A handshake asked for a name without a certificate: `obtained`, or why not.
    pub fn handshake(&self, result: &'static str) {
        self.families.handshakes.get_or_create(&self.labels(result)).inc();
    }

    /// The ask URL was asked: `allowed`, `denied` or `unanswered`.
    pub fn asked(&self, result: &'static str) {
        self.families.asks.get_or_create(&self.labels(result)).inc();
    }

    fn labels(&self, result: &'static str) -> Labels {
        Labels {
            listener: self.listener.to_string(),
            result,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct OnDemandFamilies {
    asks: Family<Labels, Counter>,
    handshakes: Family<Labels, Counter>,
}

impl OnDemandFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            asks: Family::default(),
            handshakes: Family::default(),
        };
        registry.register(
            "on_demand_asks",
            "Questions to the ask URL by what came of them",
            families.asks.clone(),
        );
        registry.register(
            "on_demand_handshakes",
            "Handshakes for names without a certificate by what became of them",
            families.handshakes.clone(),
        );
        families
    }

    pub(super) fn resolve(&self, listener: &Arc<str>) -> OnDemandMetrics {
        OnDemandMetrics {
            listener: listener.clone(),
            families: self.clone(),
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    listener: String,
    result: &'static str,
}
