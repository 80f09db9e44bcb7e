//! What is told of CRLs: when they are due, and who lets clients in without them.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Timestamp;
use crate::metrics::Metrics;

#[derive(Debug)]
pub(super) struct CrlFamilies {
    next_update: Family<CrlLabels, Gauge<i64, AtomicI64>>,
    fails_open: Family<OpenLabels, Gauge>,
}

impl CrlFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let next_update = Family::default();
        registry.register(
            "crl_next_update_timestamp_seconds",
            "When the CRL is out of date, seconds since 1970; of several, the first",
            next_update.clone(),
        );
        let fails_open = Family::default();
        registry.register(
            "crl_fails_open",
            "1 while the listener lets clients of the CA in although the CRL is out of date; otherwise absent",
            fails_open.clone(),
        );
        Self {
            next_update,
            fails_open,
        }
    }
}

impl Metrics {
    /// The CRLs in use: CA bundle, issuer, and when the next one is due. Others are forgotten.
    pub fn crls<'a>(&self, in_use: impl Iterator<Item = (&'a str, &'a str, Timestamp)>) {
        self.crls.next_update.clear();
        for (ca_bundle, issuer, next_update) in in_use {
            let labels = CrlLabels {
                ca_bundle: ca_bundle.to_owned(),
                issuer: issuer.to_owned(),
            };
            let gauge = self.crls.next_update.get_or_create(&labels);
            let (known, next) = (gauge.get(), next_update.unix_seconds());
            gauge.set(if known == 0 { next } else { known.min(next) });
        }
    }

    /// The CRLs that are out of date, and listeners that let clients in all the same: listener, CA bundle, issuer. Others are
    /// forgotten.
    pub fn crls_fail_open<'a>(&self, open: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
        self.crls.fails_open.clear();
        for (listener, ca_bundle, issuer) in open {
            let labels = OpenLabels {
                listener: listener.to_owned(),
                ca_bundle: ca_bundle.to_owned(),
                issuer: issuer.to_owned(),
            };
            self.crls.fails_open.get_or_create(&labels).set(1);
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CrlLabels {
    ca_bundle: String,
    issuer: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OpenLabels {
    listener: String,
    ca_bundle: String,
    issuer: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crls_have_their_metrics_until_they_are_forgotten() {
        let metrics = Metrics::new();
        let due = Timestamp::from_unix_seconds;
        let crls = [("partners", "CN=a", due(9)), ("partners", "CN=a", due(8))];
        metrics.crls(crls.into_iter());
        metrics.crls_fail_open([("web", "partners", "CN=a")].into_iter());
        let text = metrics.encode();
        for line in [
            r#"certgate_crl_next_update_timestamp_seconds{ca_bundle="partners",issuer="CN=a"} 8"#,
            r#"certgate_crl_fails_open{listener="web",ca_bundle="partners",issuer="CN=a"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.crls([].into_iter());
        metrics.crls_fail_open([].into_iter());
        assert!(!metrics.encode().contains("partners"));
    }
}
