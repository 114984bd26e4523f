//! The metrics that Prometheus scrapes: one [`Metrics`] over a registry of its own.
//!
//! Label values come from the configuration and from closed lists, never from a request. Every series of a route is made
//! together with the route, so that it exists at 0. Each stage then holds handles, and no request looks up a label.
//!
//! A new family is made by `Families` in the file of its subject; its series follow reloads by themselves.
//!
//! Metric types and naming: <https://prometheus.io/docs/practices/naming/>.

mod configured;
mod deliveries;
mod families;
#[cfg(target_os = "linux")]
mod process;
mod queue;
mod records;
mod retain;
mod spans;
mod times;
mod upstream;

use std::sync::Arc;

use prometheus::{Encoder, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Opts, TextEncoder};

pub use crate::config::NO_ROUTE;
pub use configured::{Configured, Expiry};
pub use deliveries::ObserveMetrics;
pub use queue::{QueueMetrics, StoreMetrics};
pub use records::RecordMetrics;
pub use retain::RouteLabels;
pub use spans::SpanMetrics;
pub use times::Times;
pub use upstream::{UpstreamMetrics, UpstreamResult};

use crate::reject::{Outcome, Reject};
use configured::ConfigMetrics;
use deliveries::DeliveryFamilies;
use families::Families;
#[cfg(target_os = "linux")]
use process::ProcessMetrics;
use queue::QueueFamilies;
use upstream::UpstreamFamilies;

/// All metric families of the gateway. Clones share the series.
#[derive(Clone)]
pub struct Metrics {
    families: Arc<Families>,
    deliveries: DeliveryFamilies,
    upstreams: UpstreamFamilies,
    queues: QueueFamilies,
    /// The store.
    pub store: StoreMetrics,
    /// What was not kept.
    pub records: RecordMetrics,
    /// `hooklatch_in_flight_requests`: deliveries whose responses have not been sent in full.
    pub in_flight: IntGauge,
    /// `hooklatch_connections`: open connections from senders.
    pub connections: IntGauge,
    /// `hooklatch_handshake_failures_total`: connections that ended before they could carry a request.
    handshake_failures: IntCounterVec,
    /// `hooklatch_buffered_bytes`: bytes of bodies held in memory.
    pub buffered_bytes: IntGauge,
    /// `hooklatch_log_dropped_total`: lines of the log that were lost: stderr was not read, or could not be written.
    pub log_dropped: IntCounter,
    /// The spans of traced deliveries.
    pub spans: SpanMetrics,
    /// The values of the configuration, and its reloads.
    config: ConfigMetrics,
}

/// The handles of one route, by stage.
#[derive(Clone)]
pub struct RouteMetrics {
    /// For the observing stage.
    pub observe: ObserveMetrics,
    /// For the verifying stage: the time that the check took.
    pub verification_duration: Histogram,
    /// For the verifying stage: the time of each secret's last match, in the order of the configuration.
    pub last_match: Vec<Gauge>,
    /// For the stage that reads bodies.
    pub body_bytes: Histogram,
    /// For the forwarding stage.
    pub upstream: UpstreamMetrics,
    /// Replays that people have asked for.
    pub replays: IntCounter,
    /// For the dispatcher of the queue; `None` on a route without one.
    pub queue: Option<QueueMetrics>,
}

/// What a route does beside forwarding: it decides how its deliveries can end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteKind {
    /// It answers challenges.
    pub challenges: bool,
    /// It has a queue.
    pub queue: bool,
    /// It recognises duplicates.
    pub dedupe: bool,
}

impl RouteKind {
    /// Whether a delivery of such a route can end so.
    pub const fn allows(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Forwarded | Outcome::UpstreamError => !self.queue,
            Outcome::Accepted => self.queue,
            Outcome::Duplicate => self.dedupe,
            Outcome::Challenge => self.challenges,
            Outcome::Rejected => true,
        }
    }
}

/// Counts one more on a gauge until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(IntGauge);

/// Counts connections that ended before they could carry a request.
#[derive(Clone)]
pub struct HandshakeMetrics {
    /// Connections whose PROXY protocol header failed.
    pub proxy: IntCounter,
    /// Connections whose TLS handshake failed.
    pub tls: IntCounter,
}

impl Metrics {
    /// Registers all families. `now` is the Unix time of the load that has just succeeded, in seconds.
    ///
    /// # Errors
    /// A family that the registry refuses, which only a mistake in this module can cause.
    pub fn new(now: f64) -> Result<Self, prometheus::Error> {
        let mut families = Families::default();
        let deliveries = DeliveryFamilies::new(&mut families)?;
        let upstreams = UpstreamFamilies::new(&mut families)?;
        let queues = QueueFamilies::new(&mut families)?;
        let store = StoreMetrics::new(&mut families)?;
        let records = RecordMetrics::new(&mut families)?;
        let spans = SpanMetrics::new(&mut families)?;
        let config = ConfigMetrics::new(&mut families, now)?;
        let in_flight = families.int_gauge("hooklatch_in_flight_requests", "Deliveries being worked on.")?;
        let connections = families.int_gauge("hooklatch_connections", "Open connections from senders.")?;
        let buffered_bytes = families.int_gauge("hooklatch_buffered_bytes", "Bytes of bodies held in memory.")?;
        let log_dropped = families.register(IntCounter::new(
            "hooklatch_log_dropped_total",
            "Lines of the log that were lost: stderr was not read, or could not be written.",
        )?)?;
        let handshake_failures = families.counters(
            "hooklatch_handshake_failures_total",
            "Connections that ended at their PROXY protocol header or TLS handshake.",
            &["protocol"],
        )?;
        let build = Opts::new("hooklatch_build_info", "The version that runs.")
            .const_label("version", crate::VERSION)
            .const_label("revision", crate::REVISION);
        families.register(IntGauge::with_opts(build)?)?.set(1);
        #[cfg(target_os = "linux")]
        families.registry().register(Box::new(ProcessMetrics::new()))?;
        let families = Arc::new(families);
        let metrics = Self {
            families,
            deliveries,
            upstreams,
            queues,
            store,
            records,
            in_flight,
            connections,
            handshake_failures,
            buffered_bytes,
            log_dropped,
            spans,
            config,
        };
        // The threads take these handles after they have started; the series must exist before that.
        metrics.handshakes();
        Ok(metrics)
    }

    /// The handles of one route; makes its series. `reasons` are those that the route's configuration makes possible;
    pub fn route(
        &self,
        route: &str,
        scheme: &str,
        secrets: &[String],
        reasons: &[Reject],
        kind: RouteKind,
    ) -> RouteMetrics {
        let deliveries = &self.deliveries;
        RouteMetrics {
            observe: deliveries.observe(route, scheme, reasons, kind),
            verification_duration: deliveries.verification_duration.with_label_values(&[scheme]),
            last_match: secrets
                .iter()
                .map(|secret| deliveries.secret_last_match.with_label_values(&[route, secret.as_str()]))
                .collect(),
            body_bytes: deliveries.body_bytes.with_label_values(&[route]),
            upstream: self.upstreams.route(route),
            replays: deliveries.replays.with_label_values(&[route]),
            queue: kind.queue.then(|| self.queues.route(route)),
        }
    }

    /// The gauges of the upstreams of a route that has several: whether each can be reached.
    pub fn reachable(&self, route: &str, upstreams: &[String]) -> Vec<IntGauge> {
        self.upstreams.reachable(route, upstreams)
    }

    /// Says how many deliveries are pending, retrying, dead and held of a route that the configuration does not have, or has
    /// without a queue. A reload removes these series until they are set again.
    pub fn held_queue(&self, route: &str, counts: [u64; 4]) {
        self.queues.held(route, counts);
    }

    /// The handles for requests that match no route.
    pub fn unmatched(&self) -> ObserveMetrics {
        let reasons: Vec<Reject> = Reject::ALL.into_iter().filter(|reject| reject.needs_no_route()).collect();
        self.deliveries.observe(NO_ROUTE, NO_ROUTE, &reasons, RouteKind::default())
    }

    /// Resets the last match of a secret, because the id now belongs to another secret.
    pub fn secret_replaced(&self, route: &str, secret: &str) {
        self.deliveries.secret_last_match.with_label_values(&[route, secret]).set(0.0);
    }

    /// The handles for connections that end before they can carry a request.
    pub fn handshakes(&self) -> HandshakeMetrics {
        let failures = |protocol| self.handshake_failures.with_label_values(&[protocol]);
        HandshakeMetrics { proxy: failures("proxy"), tls: failures("tls") }
    }

    /// The text exposition format, version 0.0.4.
    ///
    /// # Errors
    /// A family that cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.families.registry().gather(), &mut text)?;
        Ok(text)
    }
}

impl GaugeGuard {
    /// Counts one more on `gauge`.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }

    /// Counts one more on `gauge`; `None` if that would exceed `max`.
    pub fn within(gauge: &IntGauge, max: u32) -> Option<Self> {
        let guard = Self::new(gauge);
        (guard.0.get() <= i64::from(max)).then_some(guard)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
