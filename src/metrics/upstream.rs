//! Requests to upstreams: their results, their time, and those that were sent again.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::deliveries::REQUEST_SECONDS;
use super::families::Families;
use super::times::Times;

/// The result of a request to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamResult {
    /// A response with this status. A class other than 2 to 5 counts as 5.
    Status(u16),
    /// No connection.
    Unreachable,
    /// The connection ended before a complete response head, or the response is not HTTP.
    Failed,
    /// The response head did not arrive in time.
    Timeout,
}

/// The families about upstreams.
#[derive(Clone)]
pub(super) struct UpstreamFamilies {
    /// `hooklatch_upstream_responses_total`: requests by their result.
    responses: IntCounterVec,
    /// `hooklatch_upstream_resends_total`: requests sent a second time, after a stale connection.
    resends: IntCounterVec,
    /// `hooklatch_upstream_duration_seconds`: from sending the request to the upstream's response head.
    duration: HistogramVec,
    /// `hooklatch_upstream_reachable`: one series for each upstream of a route that has several.
    reachable: IntGaugeVec,
}

/// Counts the requests to the upstream of one route.
#[derive(Clone)]
pub struct UpstreamMetrics {
    /// One counter for each of [`UpstreamResult::LABELS`].
    responses: [IntCounter; UpstreamResult::LABELS.len()],
    /// Requests sent a second time.
    pub resends: IntCounter,
    /// Time until the response's head, in seconds.
    pub duration: Histogram,
}

impl UpstreamResult {
    /// The label values, in the order of [`UpstreamResult::index`].
    pub const LABELS: [&'static str; 7] = ["2xx", "3xx", "4xx", "5xx", "unreachable", "failed", "timeout"];

    /// The label value.
    pub fn label(self) -> &'static str {
        Self::LABELS.get(self.index()).copied().unwrap_or_default()
    }

    /// The position of its label in [`UpstreamResult::LABELS`].
    pub const fn index(self) -> usize {
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

impl UpstreamFamilies {
    pub(super) fn new(families: &mut Families) -> Result<Self, prometheus::Error> {
        Ok(Self {
            responses: families.counters(
                "hooklatch_upstream_responses_total",
                "What the upstreams made of the requests sent to them.",
                &["route", "result"],
            )?,
            resends: families.counters(
                "hooklatch_upstream_resends_total",
                "Requests sent once more because a reused connection broke off before any response.",
                &["route"],
            )?,
            duration: families.histograms(
                "hooklatch_upstream_duration_seconds",
                "Time until the upstream's response head.",
                &["route"],
                &REQUEST_SECONDS,
            )?,
            reachable: families.int_gauges(
                "hooklatch_upstream_reachable",
                "Whether a connection to this one of several upstreams could be made when one was last needed.",
                &["route", "upstream"],
            )?,
        })
    }

    /// The gauge of each upstream of a route; makes their series.
    pub(super) fn reachable(&self, route: &str, upstreams: &[String]) -> Vec<IntGauge> {
        upstreams.iter().map(|upstream| self.reachable.with_label_values(&[route, upstream.as_str()])).collect()
    }

    /// The handles of one route; makes their series.
    pub(super) fn route(&self, route: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            responses: UpstreamResult::LABELS.map(|result| self.responses.with_label_values(&[route, result])),
            resends: self.resends.with_label_values(&[route]),
            duration: self.duration.with_label_values(&[route]),
        }
    }
}

impl UpstreamMetrics {
    /// How long requests have taken since the start, up to the answer's head or the failure.
    pub fn times(&self) -> Times {
        Times::of(&self.duration)
    }

    /// Counts one request by its result.
    pub fn result(&self, result: UpstreamResult) {
        if let Some(counter) = self.responses.get(result.index()) {
            counter.inc();
        }
    }
}
