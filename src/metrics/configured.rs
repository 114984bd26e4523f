//! What the configuration says that operators hold against what they see, and how its reloads went.

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, Opts, Registry};

use super::retain::retain;
use super::{Metrics, NO_ROUTE, counters, register};

/// Families that follow the configuration.
#[derive(Clone)]
pub(super) struct ConfigMetrics {
    /// `hooklatch_max_connections`: for `hooklatch_connections` to be held against.
    max_connections: IntGauge,
    /// `hooklatch_max_buffered_bytes`: for `hooklatch_buffered_bytes` to be held against.
    max_buffered_bytes: IntGauge,
    /// `hooklatch_tls_certificate_expiry_timestamp_seconds`: no series without a certificate.
    certificate_expiry: GaugeVec,
    /// `hooklatch_config_reloads_total`.
    reloads: IntCounterVec,
    /// `hooklatch_config_last_reload_successful`: 1 after start.
    reload_successful: IntGauge,
    /// `hooklatch_config_last_reload_success_timestamp_seconds`: also set by the load at start.
    reload_timestamp: Gauge,
}

/// What a configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured<'a> {
    /// `server.max_connections`.
    pub max_connections: u32,
    /// `server.buffered_bytes`.
    pub buffered_bytes: u64,
    /// The ends of the gateway's own certificates.
    pub certificates: Vec<Expiry<'a>>,
}

/// When a certificate of the gateway's own ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry<'a> {
    /// The route for whose upstream it is; `None` for that of the public listener.
    pub upstream: Option<&'a str>,
    /// Unix seconds.
    pub at: u64,
}

impl ConfigMetrics {
    /// `now` is the Unix time of the load that has just succeeded, in seconds.
    pub(super) fn new(registry: &Registry, now: f64) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let metrics = Self {
            max_connections: gauge("hooklatch_max_connections", "Connections that may be open (max_connections).")?,
            max_buffered_bytes: gauge(
                "hooklatch_max_buffered_bytes",
                "Bytes of bodies that may be held in memory (buffered_bytes).",
            )?,
            certificate_expiry: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "hooklatch_tls_certificate_expiry_timestamp_seconds",
                        "Unix time at which the gateway's own certificate, or the first of its chain, ends.",
                    ),
                    &["side", "route"],
                )?,
            )?,
            reloads: register(
                registry,
                counters(
                    "hooklatch_config_reloads_total",
                    "Reloads of the configuration after the start.",
                    &["result"],
                )?,
            )?,
            reload_successful: gauge(
                "hooklatch_config_last_reload_successful",
                "Whether the last load of the configuration succeeded.",
            )?,
            reload_timestamp: register(
                registry,
                Gauge::new(
                    "hooklatch_config_last_reload_success_timestamp_seconds",
                    "Unix time of the last load of the configuration that succeeded.",
                )?,
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
    /// Shows what the configuration says that runs from now on.
    pub fn configured(&self, configured: &Configured<'_>) {
        let metrics = &self.config;
        metrics.max_connections.set(configured.max_connections.into());
        metrics.max_buffered_bytes.set(i64::try_from(configured.buffered_bytes).unwrap_or(i64::MAX));
        for expiry in &configured.certificates {
            // Exact until the year 285 million.
            metrics.certificate_expiry.with_label_values(&expiry.labels()).set(expiry.at as f64);
        }
        retain(&metrics.certificate_expiry, |labels| {
            let of = |expiry: &Expiry<'_>| {
                let [side, route] = expiry.labels();
                labels.get("side") == Some(&side) && labels.get("route") == Some(&route)
            };
            configured.certificates.iter().any(of)
        });
    }

    /// Counts a reload that has replaced what ran; `now` is the Unix time in seconds.
    pub fn reloaded(&self, now: f64) {
        self.config.reloads.with_label_values(&["success"]).inc();
        self.config.reload_successful.set(1);
        self.config.reload_timestamp.set(now);
    }

    /// Counts a reload that has changed nothing.
    pub fn reload_failed(&self) {
        self.config.reloads.with_label_values(&["failure"]).inc();
        self.config.reload_successful.set(0);
    }
}
