//! The limits and certificates of the configuration, against which operators compare other metrics, and the configuration's
//! reloads.

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge};

use super::families::{Families, Labels, retain};
use super::{Metrics, NO_ROUTE};

/// The families about the configuration.
#[derive(Clone)]
pub(super) struct ConfigMetrics {
    /// `hooklatch_max_connections`: the limit of `hooklatch_connections`.
    max_connections: IntGauge,
    /// `hooklatch_max_buffered_bytes`: the limit of `hooklatch_buffered_bytes`.
    max_buffered_bytes: IntGauge,
    /// `hooklatch_tls_certificate_expiry_timestamp_seconds`: one series for each certificate.
    certificate_expiry: GaugeVec,
    /// `hooklatch_config_reloads_total`.
    reloads: IntCounterVec,
    /// `hooklatch_config_last_reload_successful`: 1 after start.
    reload_successful: IntGauge,
    /// `hooklatch_config_last_reload_success_timestamp_seconds`: the load at start counts, too.
    reload_timestamp: Gauge,
}

/// The values of a configuration that metrics show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured<'a> {
    /// `server.max_connections`.
    pub max_connections: u32,
    /// `server.buffered_bytes`.
    pub buffered_bytes: u64,
    /// The expiry of each of the gateway's own certificates.
    pub certificates: Vec<Expiry<'a>>,
}

/// When one of the gateway's own certificates expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry<'a> {
    /// The route whose upstream asks for the certificate; `None` for the certificate of the public listener.
    pub upstream: Option<&'a str>,
    /// The time, in Unix seconds.
    pub at: u64,
}

impl ConfigMetrics {
    /// `now` is the Unix time of the load that has just succeeded, in seconds.
    pub(super) fn new(families: &mut Families, now: f64) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            max_connections: families
                .int_gauge("hooklatch_max_connections", "Connections that may be open (max_connections).")?,
            max_buffered_bytes: families.int_gauge(
                "hooklatch_max_buffered_bytes",
                "Bytes of bodies that may be held in memory (buffered_bytes).",
            )?,
            certificate_expiry: families.gauges(
                "hooklatch_tls_certificate_expiry_timestamp_seconds",
                "Unix time at which the gateway's own certificate, or the first of its chain, ends.",
                &["side", "route"],
            )?,
            reloads: families.counters(
                "hooklatch_config_reloads_total",
                "Reloads of the configuration after the start.",
                &["result"],
            )?,
            reload_successful: families.int_gauge(
                "hooklatch_config_last_reload_successful",
                "Whether the last load of the configuration succeeded.",
            )?,
            reload_timestamp: families.gauge(
                "hooklatch_config_last_reload_success_timestamp_seconds",
                "Unix time of the last load of the configuration that succeeded.",
            )?,
        };
        metrics.reloads.with_label_values(&["success"]);
        metrics.reloads.with_label_values(&["failure"]);
        metrics.reload_successful.set(1);
        metrics.reload_timestamp.set(now);
        Ok(metrics)
    }
}

impl Expiry<'_> {
    fn labels(&self) -> [&str; 2] {
        self.upstream.map_or(["server", NO_ROUTE], |route| ["upstream", route])
    }
}

impl Metrics {
    /// Shows the values of the configuration that runs from now on.
    pub fn configured(&self, configured: &Configured<'_>) {
        let metrics = &self.config;
        metrics.max_connections.set(configured.max_connections.into());
        metrics.max_buffered_bytes.set(i64::try_from(configured.buffered_bytes).unwrap_or(i64::MAX));
        for expiry in &configured.certificates {
            // Exact until the year 285 million.
            metrics.certificate_expiry.with_label_values(&expiry.labels()).set(expiry.at as f64);
        }
        retain(&metrics.certificate_expiry, &|_: &str, labels: &Labels<'_>| {
            let of = |expiry: &Expiry<'_>| {
                let [side, route] = expiry.labels();
                labels.get("side") == Some(&side) && labels.get("route") == Some(&route)
            };
            configured.certificates.iter().any(of)
        });
    }

    /// Counts a reload that has succeeded. `now` is the Unix time in seconds.
    pub fn reloaded(&self, now: f64) {
        self.config.reloads.with_label_values(&["success"]).inc();
        self.config.reload_successful.set(1);
        self.config.reload_timestamp.set(now);
    }

    /// Whether the last load of the configuration succeeded, and the Unix time in seconds of the last one that did.
    pub fn last_reload(&self) -> (bool, f64) {
        (self.config.reload_successful.get() == 1, self.config.reload_timestamp.get())
    }

    /// Counts a reload that has failed; the old configuration still runs.
    pub fn reload_failed(&self) {
        self.config.reloads.with_label_values(&["failure"]).inc();
        self.config.reload_successful.set(0);
    }
}
