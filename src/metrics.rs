//! Every metric of the process, under the names of the reference; text in Prometheus' format 0.0.4.
//!
//! What is counted for each connection goes through a [`ListenerMetrics`], which holds its counters: nothing is
//! looked up by name on the data path.

mod crl;
mod listener;
mod on_demand;
mod telling;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Timestamp;

use self::crl::CrlFamilies;
use self::listener::ListenerFamilies;
pub use self::listener::{Direction, Established, Limit, ListenerMetrics, Outcome};
use self::on_demand::OnDemandFamilies;
pub use self::on_demand::OnDemandMetrics;
use self::telling::TellingFamilies;

/// The HTTP content type of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    listeners: Mutex<HashMap<Arc<str>, Arc<ListenerMetrics>>>,
    listener_families: ListenerFamilies,
    acme_orders: Family<IssuerResult, Counter>,
    backend_up: Family<ServerLabels, Gauge>,
    ca_bundle_ok: Family<CaBundleLabel, Gauge>,
    certificate_not_after: Family<CertificateLabel, Gauge<i64, AtomicI64>>,
    certificate_renewals: Family<CertificateResult, Counter>,
    crls: CrlFamilies,
    dns_check_ok: Family<DnsCheckLabels, Gauge>,
    domain_state: Family<DomainStateLabels, Gauge>,
    spare_active: Family<CertificateLabel, Gauge>,
    spare_not_after: Family<CertificateLabel, Gauge<i64, AtomicI64>>,
    on_demand: OnDemandFamilies,
    store_revision: Gauge<u64, AtomicU64>,
    telling: TellingFamilies,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("certgate");
        let listener_families = ListenerFamilies::register(&mut registry);
        let telling = TellingFamilies::register(&mut registry);
        let acme_orders = Family::default();
        registry.register(
            "acme_orders",
            "ACME orders by how they ended",
            acme_orders.clone(),
        );
        let backend_up = Family::default();
        registry.register(
            "backend_up",
            "1 while new connections go to the server, 0 while it rests after failures",
            backend_up.clone(),
        );
        let ca_bundle_ok = Family::default();
        registry.register(
            "ca_bundle_ok",
            "1 when clients are verified by what the files of the CA bundle hold, 0 when by what they held last, or not at all",
            ca_bundle_ok.clone(),
        );
        let certificate_not_after = Family::default();
        registry.register(
            "certificate_not_after_timestamp_seconds",
            "End of the validity of the certificate in use, seconds since 1970",
            certificate_not_after.clone(),
        );
        let certificate_renewals = Family::default();
        registry.register(
            "certificate_renewals",
            "Attempts to obtain a certificate by how they ended",
            certificate_renewals.clone(),
        );
        let crls = CrlFamilies::register(&mut registry);
        let dns_check_ok = Family::default();
        registry.register(
            "dns_check_ok",
            "1 when the last DNS check of the name was good, 0 when it was not",
            dns_check_ok.clone(),
        );
        let domain_state = Family::default();
        registry.register(
            "domain_state",
            "1 for the state that the name is in, 0 for the others",
            domain_state.clone(),
        );
        let spare_active = Family::default();
        registry.register(
            "spare_active",
            "1 while the spare of the certificate is served in its place, 0 while it is not",
            spare_active.clone(),
        );
        let spare_not_after = Family::default();
        registry.register(
            "spare_not_after_timestamp_seconds",
            "End of the validity of the spare of the certificate, seconds since 1970",
            spare_not_after.clone(),
        );
        let on_demand = OnDemandFamilies::register(&mut registry);
        let store_revision = Gauge::default();
        registry.register(
            "store_revision",
            "Revision of the last change seen in the store",
            store_revision.clone(),
        );
        Self {
            registry,
            listeners: Mutex::default(),
            listener_families,
            acme_orders,
            backend_up,
            ca_bundle_ok,
            certificate_not_after,
            certificate_renewals,
            crls,
            dns_check_ok,
            domain_state,
            spare_active,
            spare_not_after,
            on_demand,
            store_revision,
            telling,
        }
    }

    /// Everything as text, of the type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut open_metrics = String::new();
        prometheus_client::encoding::text::encode(&mut open_metrics, &self.registry)
            .expect("writing to a String cannot fail");
        prometheus_text(&open_metrics)
    }

    /// The counters of the listener `name`; the same ones on every call.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = listeners.get(name) {
            return found.clone();
        }
        let name: Arc<str> = name.into();
        let made = Arc::new(self.listener_families.resolve(&name));
        listeners.insert(name, made.clone());
        made
    }

    /// The counters of certificates on demand of the listener `name`.
    pub fn on_demand(&self, name: &Arc<str>) -> OnDemandMetrics {
        self.on_demand.resolve(name)
    }

    /// Whether new connections go to `server` of `server_group`.
    pub fn backend_up(&self, server_group: &str, server: &str, up: bool) {
        let labels = ServerLabels {
            server_group: server_group.to_owned(),
            server: server.to_owned(),
        };
        self.backend_up.get_or_create(&labels).set(up.into());
    }

    /// An ACME order at `issuer` ended with `result`: `valid`, or a word for why not.
    pub fn acme_order_ended(&self, issuer: &str, result: &str) {
        let labels = IssuerResult {
            issuer: issuer.to_owned(),
            result: result.to_owned(),
        };
        self.acme_orders.get_or_create(&labels).inc();
    }

    /// The certificate in use under `certificate` is valid until `not_after`.
    pub fn certificate_not_after(&self, certificate: &str, not_after: Timestamp) {
        self.certificate_not_after
            .get_or_create(&CertificateLabel::of(certificate))
            .set(not_after.unix_seconds());
    }

    /// The CA bundles in use, and whether each is what its files are. Others are forgotten.
    pub fn ca_bundles<'a>(&self, in_use: impl Iterator<Item = (&'a str, bool)>) {
        self.ca_bundle_ok.clear();
        for (ca_bundle, ok) in in_use {
            let labels = CaBundleLabel {
                ca_bundle: ca_bundle.to_owned(),
            };
            self.ca_bundle_ok.get_or_create(&labels).set(ok.into());
        }
    }

    /// An attempt to obtain `certificate` ended with `result`: `ok`, or the class of the failure.
    pub fn certificate_renewed(&self, certificate: &str, result: &str) {
        let labels = CertificateResult {
            certificate: certificate.to_owned(),
            result: result.to_owned(),
        };
        self.certificate_renewals.get_or_create(&labels).inc();
    }

    /// Drops what is said of a certificate that is no more, so that no alarm rings for it.
    pub fn forget_certificate(&self, certificate: &str) {
        self.certificate_not_after
            .remove(&CertificateLabel::of(certificate));
    }

    /// Whether the spare of `certificate` is served in its place, and until when it is valid; absent where there is none.
    pub fn spare(&self, certificate: &str, is_active: bool, not_after: Option<Timestamp>) {
        let label = CertificateLabel::of(certificate);
        self.spare_active.get_or_create(&label).set(is_active.into());
        match not_after {
            Some(not_after) => {
                let gauge = self.spare_not_after.get_or_create(&label);
                gauge.set(not_after.unix_seconds());
            }
            None => drop(self.spare_not_after.remove(&label)),
        }
    }

    /// Drops what is said of the spare of a certificate that no longer has one.
    pub fn forget_spare(&self, certificate: &str) {
        let label = CertificateLabel::of(certificate);
        self.spare_active.remove(&label);
        self.spare_not_after.remove(&label);
    }

    /// Drops what was counted of attempts to obtain a certificate that is no more.
    pub fn forget_renewals(&self, certificate: &str) {
        for result in ["failed", "obtained"] {
            self.certificate_renewals.remove(&CertificateResult {
                certificate: certificate.to_owned(),
                result: result.to_owned(),
            });
        }
    }

    /// The last DNS check of `domain`, a name of `certificate`.
    pub fn dns_checked(&self, certificate: &str, domain: &str, ok: bool) {
        let labels = DnsCheckLabels {
            certificate: certificate.to_owned(),
            domain: domain.to_owned(),
        };
        self.dns_check_ok.get_or_create(&labels).set(ok.into());
    }

    /// The states that `domain`, a name of `certificate`, can be in, and whether it is.
    pub fn domain_state(&self, certificate: &str, domain: &str, states: &[(&'static str, bool)]) {
        for (state, is_in) in states {
            let labels = DomainStateLabels::of(certificate, domain, state);
            self.domain_state.get_or_create(&labels).set((*is_in).into());
        }
    }

    /// Drops what is said of a name that is no longer one of `certificate`.
    pub fn forget_domain(&self, certificate: &str, domain: &str, states: &[&'static str]) {
        self.dns_check_ok.remove(&DnsCheckLabels {
            certificate: certificate.to_owned(),
            domain: domain.to_owned(),
        });
        for state in states {
            self.domain_state
                .remove(&DomainStateLabels::of(certificate, domain, state));
        }
    }

    /// The revision of the last change seen in the store.
    pub fn store_revision(&self, revision: u64) {
        self.store_revision.set(revision);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// OpenMetrics names a counter without its `_total`, and then the gauge `certgate_connections` and the counter
/// `certgate_connections_total` would be one name with two types; format 0.0.4 names it as its samples are named.
fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(held) = line.strip_prefix("# HELP ") {
            help = held.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                text.push_str(&format!("# HELP {name}{total} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{total} {kind}\n"));
        } else if line != "# EOF" {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CaBundleLabel {
    ca_bundle: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CertificateLabel {
    certificate: String,
}

impl CertificateLabel {
    fn of(certificate: &str) -> Self {
        Self {
            certificate: certificate.to_owned(),
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CertificateResult {
    certificate: String,
    result: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DomainStateLabels {
    certificate: String,
    domain: String,
    state: String,
}

impl DomainStateLabels {
    fn of(certificate: &str, domain: &str, state: &str) -> Self {
        Self {
            certificate: certificate.to_owned(),
            domain: domain.to_owned(),
            state: state.to_owned(),
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DnsCheckLabels {
    certificate: String,
    domain: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IssuerResult {
    issuer: String,
    result: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ServerLabels {
    server_group: String,
    server: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_reference_has_its_name() {
        let metrics = Metrics::new();
        let listener = metrics.listener("web");
        listener.opened();
        listener.opened();
        listener.ended(Outcome::Closed);
        listener.transferred(Direction::In, 5);
        listener.limited(Limit::MaxConnections);
        listener.client_certificate_rejected("expired");
        listener.client_certificate_observed("no-certificate");
        listener.expired_crl_accepted();
        listener.established(&Established {
            cipher_suite: rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
            resumed: false,
            seconds: 0.002,
        });
        metrics.backend_up("app", "127.0.0.1:1", true);
        metrics.ca_bundles([("partners", false)].into_iter());
        metrics.acme_order_ended("letsencrypt", "valid");
        metrics.certificate_not_after("www", Timestamp::from_unix_seconds(1_700_000_000));
        metrics.certificate_renewed("www", "ok");
        metrics.dns_checked("www", "www.example.com", false);
        metrics.store_revision(7);
        let text = metrics.encode();
        for line in [
            r#"certgate_acme_orders_total{issuer="letsencrypt",result="valid"} 1"#,
            r#"certgate_backend_up{server_group="app",server="127.0.0.1:1"} 1"#,
            r#"certgate_bytes_total{listener="web",direction="in"} 5"#,
            r#"certgate_ca_bundle_ok{ca_bundle="partners"} 0"#,
            r#"certgate_certificate_not_after_timestamp_seconds{certificate="www"} 1700000000"#,
            r#"certgate_certificate_renewals_total{certificate="www",result="ok"} 1"#,
            r#"certgate_client_certificate_rejections_total{listener="web",reason="expired"} 1"#,
            r#"certgate_client_certificate_observations_total{listener="web",verdict="no-certificate"} 1"#,
            r#"certgate_client_certificate_expired_crl_accepted_total{listener="web"} 1"#,
            r#"certgate_connections{listener="web"} 1"#,
            r#"certgate_connections_total{listener="web",result="closed"} 1"#,
            "# TYPE certgate_connections gauge",
            "# TYPE certgate_connections_total counter",
            r#"certgate_dns_check_ok{certificate="www",domain="www.example.com"} 0"#,
            r#"certgate_limited_connections_total{listener="web",limit="max_connections"} 1"#,
            r#"certgate_store_revision 7"#,
            r#"certgate_tls_handshake_seconds_count{listener="web"} 1"#,
            r#"certgate_tls_handshakes_total{listener="web",result="ok",version="TLSv1.3",cipher="TLS13_AES_128_GCM_SHA256",resumed="false"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.forget_certificate("www");
        assert!(!metrics.encode().contains("1700000000"));
    }
}
