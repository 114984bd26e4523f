//! What Prometheus is told: one [`Metrics`] over a registry of our own.
//!
//! Label values come from the configuration and from closed lists, never from a request. Every series of a
//! configured route is made when the route is, so that it exists at 0; each stage then holds plain handles and no
//! label is looked up per request.
//!
//! Metric types and naming: <https://prometheus.io/docs/practices/naming/>.

mod configured;
mod process;
mod queue;
mod retain;
mod spans;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

pub use crate::config::NO_ROUTE;
pub use configured::{Configured, Expiry};
pub use queue::{QueueMetrics, StoreMetrics};
pub use retain::RouteLabels;
pub use spans::SpanMetrics;

use crate::reject::{Outcome, Reject};
use configured::ConfigMetrics;
use process::ProcessMetrics;
use queue::QueueFamilies;

/// From 250 µs, what a refusal or a fast handler takes, to 10 s, the longest deadline that a provider gives.
const REQUEST_SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// An HMAC runs at about 2 GB/s: 1 µs is an empty body, 1 ms is 1 MiB with its JSON compared.
const VERIFICATION_SECONDS: [f64; 9] =
    [0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.000_5, 0.002_5, 0.025];
/// From a ping to GitHub's 25 MiB, in powers of four.
const BODY_BYTES: [f64; 9] =
    [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 26_214_400.0];

/// What the upstream made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamResult {
    /// A response of this class, 2 to 5; anything else counts as 5.
    Status(u16),
    /// No connection.
    Unreachable,
    /// It broke off, or did not speak HTTP.
    Failed,
    /// No response head in time.
    Timeout,
}

impl UpstreamResult {
    /// The label values, in the order of [`UpstreamResult::index`].
    pub const LABELS: [&'static str; 7] = ["2xx", "3xx", "4xx", "5xx", "unreachable", "failed", "timeout"];

    /// The label value.
    pub fn label(self) -> &'static str {
        Self::LABELS.get(self.index()).copied().unwrap_or_default()
    }

    const fn index(self) -> usize {
        match self {
            Self::Status(200..=299) => 0,
            Self::Status(300..=399) => 1,
            Self::Status(400..=499) => 2,
            Self::Status(_) => 3,
            Self::Unreachable => 4,
            Self::Failed => 5,
            Self::Timeout => 6,
        }
    }
}

/// All metric families of the gateway. A clone has the same series.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// `hooklatch_requests_total`: deliveries by how they ended.
    requests: IntCounterVec,
    /// `hooklatch_rejections_total`: refused deliveries by reason; on a route with `enforce: false`, those that would have been.
    rejections: IntCounterVec,
    /// `hooklatch_request_duration_seconds`: from the request's head to the response's head.
    request_duration: HistogramVec,
    /// `hooklatch_verification_duration_seconds`: the check of a signature, once the body is there.
    verification_duration: HistogramVec,
    /// `hooklatch_request_body_bytes`: bodies read in full.
    body_bytes: HistogramVec,
    /// `hooklatch_upstream_responses_total`: what upstreams answered.
    upstream_responses: IntCounterVec,
    /// `hooklatch_upstream_resends_total`: requests sent a second time, after a stale connection.
    upstream_resends: IntCounterVec,
    /// `hooklatch_upstream_duration_seconds`: from handing the request over to the upstream's response head.
    upstream_duration: HistogramVec,
    /// `hooklatch_secret_last_match_timestamp_seconds`: when each secret last verified a delivery; 0 for never.
    secret_last_match: GaugeVec,
    /// `hooklatch_in_flight_requests`: deliveries being worked on.
    pub in_flight: IntGauge,
    /// `hooklatch_connections`: open connections from senders.
    pub connections: IntGauge,
    /// `hooklatch_handshake_failures_total`: connections that ended before they could carry a request.
    handshake_failures: IntCounterVec,
    /// `hooklatch_buffered_bytes`: bytes of bodies held in memory.
    pub buffered_bytes: IntGauge,
    /// What becomes of spans.
    pub spans: SpanMetrics,
    /// Queues and the store.
    pub queue: QueueFamilies,
    /// What the configuration says, and how its reloads went.
    config: ConfigMetrics,
}

/// The handles of one route, each stage with its own.
#[derive(Clone)]
pub struct RouteMetrics {
    /// For the observing stage.
    pub observe: ObserveMetrics,
    /// For the verifying stage: the time taken, and per secret the time of its last match.
    pub verification_duration: Histogram,
    /// See [`RouteMetrics::verification_duration`].
    pub last_match: Vec<Gauge>,
    /// For the stage that reads bodies.
    pub body_bytes: Histogram,
    /// For the forwarding stage.
    pub upstream: UpstreamMetrics,
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

/// Counts deliveries by outcome and reason.
#[derive(Clone)]
pub struct ObserveMetrics {
    requests: [Option<IntCounter>; Outcome::ALL.len()],
    durations: [Option<Histogram>; Outcome::ALL.len()],
    rejections: [Option<IntCounter>; Reject::ALL.len()],
}

/// Counts one more on a gauge until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(IntGauge);

/// Counts connections that ended before they could carry a request.
#[derive(Clone)]
pub struct HandshakeMetrics {
    /// By their PROXY protocol header.
    pub proxy: IntCounter,
    /// By their TLS handshake.
    pub tls: IntCounter,
}

/// Counts what the upstream answered.
#[derive(Clone)]
pub struct UpstreamMetrics {
    responses: [IntCounter; UpstreamResult::LABELS.len()],
    /// Requests sent a second time.
    pub resends: IntCounter,
    /// Time until the response's head, in seconds.
    pub duration: Histogram,
}

impl Metrics {
    /// All families, registered; `now` is the Unix time of the load that has just succeeded, in seconds.
    ///
    /// # Errors
    /// A family that the registry refuses, which only a mistake in this module can cause.
    pub fn new(now: f64) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            requests: register(
                &registry,
                counters("hooklatch_requests_total", "Deliveries by how they ended.", &["route", "scheme", "outcome"])?,
            )?,
            rejections: register(
                &registry,
                counters(
                    "hooklatch_rejections_total",
                    "Deliveries refused by the gateway, by reason; with enforce: false, those that would have been.",
                    &["route", "scheme", "reason"],
                )?,
            )?,
            request_duration: register(
                &registry,
                histograms(
                    "hooklatch_request_duration_seconds",
                    "Time from a request's head to its response's head.",
                    &["route", "outcome"],
                    &REQUEST_SECONDS,
                )?,
            )?,
            verification_duration: register(
                &registry,
                histograms(
                    "hooklatch_verification_duration_seconds",
                    "Time that the check of a signature took, the body being there.",
                    &["scheme"],
                    &VERIFICATION_SECONDS,
                )?,
            )?,
            body_bytes: register(
                &registry,
                histograms(
                    "hooklatch_request_body_bytes",
                    "Sizes of the bodies that were read in full.",
                    &["route"],
                    &BODY_BYTES,
                )?,
            )?,
            upstream_responses: register(
                &registry,
                counters(
                    "hooklatch_upstream_responses_total",
                    "What the upstreams made of the requests sent to them.",
                    &["route", "result"],
                )?,
            )?,
            upstream_resends: register(
                &registry,
                counters(
                    "hooklatch_upstream_resends_total",
                    "Requests sent once more because a reused connection broke off before any response.",
                    &["route"],
                )?,
            )?,
            upstream_duration: register(
                &registry,
                histograms(
                    "hooklatch_upstream_duration_seconds",
                    "Time until the upstream's response head.",
                    &["route"],
                    &REQUEST_SECONDS,
                )?,
            )?,
            secret_last_match: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "hooklatch_secret_last_match_timestamp_seconds",
                        "Unix time at which each secret last verified a delivery; 0 for never since the start.",
                    ),
                    &["route", "secret"],
                )?,
            )?,
            in_flight: register(
                &registry,
                IntGauge::new("hooklatch_in_flight_requests", "Deliveries being worked on.")?,
            )?,
            connections: register(
                &registry,
                IntGauge::new("hooklatch_connections", "Open connections from senders.")?,
            )?,
            handshake_failures: register(
                &registry,
                counters(
                    "hooklatch_handshake_failures_total",
                    "Connections that ended at their PROXY protocol header or TLS handshake.",
                    &["protocol"],
                )?,
            )?,
            buffered_bytes: register(
                &registry,
                IntGauge::new("hooklatch_buffered_bytes", "Bytes of bodies held in memory.")?,
            )?,
            spans: SpanMetrics::new(&registry)?,
            queue: QueueFamilies::new(&registry)?,
            config: ConfigMetrics::new(&registry, now)?,
            registry,
        };
        let build = IntGauge::with_opts(
            Opts::new("hooklatch_build_info", "The version that runs.")
                .const_label("version", crate::VERSION)
                .const_label("revision", crate::REVISION),
        )?;
        register(&metrics.registry, build)?.set(1);
        metrics.registry.register(Box::new(ProcessMetrics::new()))?;
        // The threads ask for these handles when they run; the series must be there before.
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
        RouteMetrics {
            observe: self.observe(route, scheme, reasons, kind),
            verification_duration: self.verification_duration.with_label_values(&[scheme]),
            last_match: secrets
                .iter()
                .map(|secret| self.secret_last_match.with_label_values(&[route, secret.as_str()]))
                .collect(),
            body_bytes: self.body_bytes.with_label_values(&[route]),
            queue: kind.queue.then(|| self.queue.route(route)),
            upstream: UpstreamMetrics {
                responses: UpstreamResult::LABELS
                    .map(|result| self.upstream_responses.with_label_values(&[route, result])),
                resends: self.upstream_resends.with_label_values(&[route]),
                duration: self.upstream_duration.with_label_values(&[route]),
            },
        }
    }

    /// The handles for requests that match no route.
    pub fn unmatched(&self) -> ObserveMetrics {
        let reasons: Vec<Reject> = Reject::ALL.into_iter().filter(|reject| reject.needs_no_route()).collect();
        self.observe(NO_ROUTE, NO_ROUTE, &reasons, RouteKind::default())
    }

    /// Forgets when a secret matched last: there is another one under this id now.
    pub fn secret_replaced(&self, route: &str, secret: &str) {
        self.secret_last_match.with_label_values(&[route, secret]).set(0.0);
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
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn observe(&self, route: &str, scheme: &str, reasons: &[Reject], kind: RouteKind) -> ObserveMetrics {
        let outcomes = Outcome::ALL.map(|outcome| Some(outcome).filter(|outcome| kind.allows(*outcome)));
        ObserveMetrics {
            requests: outcomes
                .map(|outcome| Some(self.requests.with_label_values(&[route, scheme, outcome?.as_str()]))),
            durations: outcomes
                .map(|outcome| Some(self.request_duration.with_label_values(&[route, outcome?.as_str()]))),
            rejections: Reject::ALL.map(|reject| {
                let possible = !reject.is_of_the_upstream() && reasons.contains(&reject);
                possible.then(|| self.rejections.with_label_values(&[route, scheme, reject.reason()]))
            }),
        }
    }
}

impl GaugeGuard {
    /// One more on `gauge`.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }

    /// One more on `gauge`, unless that is more than `max`.
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

impl ObserveMetrics {
    /// Counts one delivery, `seconds` after its head came.
    pub fn delivery(&self, outcome: Outcome, seconds: f64) {
        let at = outcome.index();
        if let (Some(Some(requests)), Some(Some(duration))) = (self.requests.get(at), self.durations.get(at)) {
            requests.inc();
            duration.observe(seconds);
        }
    }

    /// Counts one refusal, or what would have been one.
    pub fn rejection(&self, reject: Reject) {
        if let Some(Some(counter)) = reject.index().and_then(|at| self.rejections.get(at)) {
            counter.inc();
        }
    }
}

impl UpstreamMetrics {
    /// Counts one answer, or the lack of one.
    pub fn result(&self, result: UpstreamResult) {
        if let Some(counter) = self.responses.get(result.index()) {
            counter.inc();
        }
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn histograms(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
}

fn register<C>(registry: &Registry, family: C) -> Result<C, prometheus::Error>
where
    C: prometheus::core::Collector + Clone + 'static,
{
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
