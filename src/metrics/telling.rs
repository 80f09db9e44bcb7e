//! What is counted of hooks and exports.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;

#[derive(Debug)]
pub(super) struct TellingFamilies {
    deliveries: Family<HookResult, Counter>,
    waiting: Family<HookLabel, Gauge>,
    exports: Family<ExportResult, Counter>,
}

impl TellingFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let deliveries = Family::default();
        registry.register(
            "hook_deliveries",
            "Attempts to tell a hook by how they ended, and notices that were given up",
            deliveries.clone(),
        );
        let waiting = Family::default();
        registry.register(
            "hook_waiting",
            "Notices that the hook is yet to be told",
            waiting.clone(),
        );
        let exports = Family::default();
        registry.register(
            "exports",
            "Attempts to write a certificate as files and to run the command, by how they ended",
            exports.clone(),
        );
        Self {
            deliveries,
            waiting,
            exports,
        }
    }
}

impl Metrics {
    /// An attempt to tell `hook` ended with `result`: `delivered`, `failed`; or a notice was `given-up`.
    pub fn hook_told(&self, hook: &str, result: &'static str) {
        let hook = hook.to_owned();
        let labels = HookResult { hook, result };
        self.telling.deliveries.get_or_create(&labels).inc();
    }

    /// How many notices `hook` is yet to be told.
    pub fn hook_waiting(&self, hook: &str, waiting: usize) {
        let labels = HookLabel {
            hook: hook.to_owned(),
        };
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.telling.waiting.get_or_create(&labels).set(waiting);
    }

    /// An attempt to export `certificate` ended with `result`: `done`, `failed` or `given-up`.
    pub fn exported(&self, certificate: &str, result: &'static str) {
        let certificate = certificate.to_owned();
        let labels = ExportResult { certificate, result };
        self.telling.exports.get_or_create(&labels).inc();
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct HookResult {
    hook: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct HookLabel {
    hook: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ExportResult {
    certificate: String,
    result: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_its_metrics() {
        let metrics = Metrics::new();
        metrics.hook_told("pager", "given-up");
        metrics.hook_waiting("pager", 3);
        metrics.exported("www", "done");
        let text = metrics.encode();
        for line in [
            r#"certgate_exports_total{certificate="www",result="done"} 1"#,
            r#"certgate_hook_deliveries_total{hook="pager",result="given-up"} 1"#,
            r#"certgate_hook_waiting{hook="pager"} 3"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
