//! Deliveries: how they ended, how long they took, how large they were, and which secret verified them.

use prometheus::Histogram;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec};

use super::RouteKind;
use super::families::Families;
use crate::reject::{Outcome, Reject};

/// From 250 µs, the time of a refusal or a fast handler, to 10 s, the longest deadline that a provider gives.
pub(super) const REQUEST_SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// An HMAC runs at about 2 GB/s: 1 µs is an empty body, 1 ms is 1 MiB with its JSON compared.
const VERIFICATION_SECONDS: [f64; 9] =
    [0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.000_5, 0.002_5, 0.025];
/// From a ping to GitHub's 25 MiB, in powers of four.
const BODY_BYTES: [f64; 9] =
    [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 26_214_400.0];

/// The family of duplicates; only routes that recognise them have a series.
pub(super) const DUPLICATES: &str = "hooklatch_duplicates_total";

/// The families about deliveries.
#[derive(Clone)]
pub(super) struct DeliveryFamilies {
    /// `hooklatch_requests_total`: deliveries by how they ended.
    requests: IntCounterVec,
    /// `hooklatch_duplicates_total`: deliveries that were there before, on routes that recognise them.
    duplicates: IntCounterVec,
    /// `hooklatch_rejections_total`: refused deliveries by reason; on a route with `enforce: false`, those that would have been
    /// refused.
    rejections: IntCounterVec,
    /// `hooklatch_request_duration_seconds`: from the request's head to the response's head.
    request_duration: HistogramVec,
    /// `hooklatch_verification_duration_seconds`: the check of a signature, after the body has arrived.
    pub(super) verification_duration: HistogramVec,
    /// `hooklatch_request_body_bytes`: bodies that were read in full.
    pub(super) body_bytes: HistogramVec,
    /// `hooklatch_secret_last_match_timestamp_seconds`: when each secret last verified a delivery; 0 for never.
    pub(super) secret_last_match: GaugeVec,
    /// `hooklatch_replays_total`: attempts that people have asked for.
    pub(super) replays: IntCounterVec,
}

/// Counts deliveries by outcome and reason.
#[derive(Clone)]
pub struct ObserveMetrics {
    /// One counter for each outcome that is possible.
    requests: [Option<IntCounter>; Outcome::ALL.len()],
    /// Deliveries that were there before, if the route recognises them.
    duplicates: Option<IntCounter>,
    /// One histogram for each outcome that is possible.
    durations: [Option<Histogram>; Outcome::ALL.len()],
    /// One counter for each reason that is possible.
    rejections: [Option<IntCounter>; Reject::ALL.len()],
}

impl DeliveryFamilies {
    pub(super) fn new(families: &mut Families) -> Result<Self, prometheus::Error> {
        Ok(Self {
            replays: families.counters(
                "hooklatch_replays_total",
                "Replays of deliveries that people have asked for.",
                &["route"],
            )?,
            requests: families.counters(
                "hooklatch_requests_total",
                "Deliveries by how they ended.",
                &["route", "scheme", "outcome"],
            )?,
            duplicates: families.counters(
                DUPLICATES,
                "Deliveries that were there before and were answered as accepted again.",
                &["route"],
            )?,
            rejections: families.counters(
                "hooklatch_rejections_total",
                "Deliveries refused by the gateway, by reason; with enforce: false, those that would have been.",
                &["route", "scheme", "reason"],
            )?,
            request_duration: families.histograms(
                "hooklatch_request_duration_seconds",
                "Time from a request's head to its response's head.",
                &["route", "outcome"],
                &REQUEST_SECONDS,
            )?,
            verification_duration: families.histograms(
                "hooklatch_verification_duration_seconds",
                "Time that the check of a signature took, the body being there.",
                &["scheme"],
                &VERIFICATION_SECONDS,
            )?,
            body_bytes: families.histograms(
                "hooklatch_request_body_bytes",
                "Sizes of the bodies that were read in full.",
                &["route"],
                &BODY_BYTES,
            )?,
            secret_last_match: families.gauges(
                "hooklatch_secret_last_match_timestamp_seconds",
                "Unix time at which each secret last verified a delivery; 0 for never since the start.",
                &["route", "secret"],
            )?,
        })
    }

    /// The handles of the observing stage for one route; makes their series. `reasons` are the possible ones.
    pub(super) fn observe(&self, route: &str, scheme: &str, reasons: &[Reject], kind: RouteKind) -> ObserveMetrics {
        let outcomes = Outcome::ALL.map(|outcome| Some(outcome).filter(|outcome| kind.allows(*outcome)));
        ObserveMetrics {
            requests: outcomes
                .map(|outcome| Some(self.requests.with_label_values(&[route, scheme, outcome?.as_str()]))),
            duplicates: kind.dedupe.then(|| self.duplicates.with_label_values(&[route])),
            durations: outcomes
                .map(|outcome| Some(self.request_duration.with_label_values(&[route, outcome?.as_str()]))),
            rejections: Reject::ALL.map(|reject| {
                let possible = !reject.is_of_the_upstream() && reasons.contains(&reject);
                possible.then(|| self.rejections.with_label_values(&[route, scheme, reject.reason()]))
            }),
        }
    }
}

impl ObserveMetrics {
    /// Counts one delivery, whose response head came `seconds` after its own.
    pub fn delivery(&self, outcome: Outcome, seconds: f64) {
        let at = outcome.index();
        if let (Some(Some(requests)), Some(Some(duration))) = (self.requests.get(at), self.durations.get(at)) {
            requests.inc();
            duration.observe(seconds);
        }
        if outcome == Outcome::Duplicate
            && let Some(duplicates) = &self.duplicates
        {
            duplicates.inc();
        }
    }

    /// Deliveries since the start, in the order of [`Outcome::ALL`]; `None` for an outcome that is impossible.
    pub fn totals(&self) -> [Option<u64>; Outcome::ALL.len()] {
        self.requests.each_ref().map(|requests| requests.as_ref().map(IntCounter::get))
    }

    /// Counts one refusal, or a delivery that would have been refused without `enforce: false`.
    pub fn rejection(&self, reject: Reject) {
        if let Some(Some(counter)) = reject.index().and_then(|at| self.rejections.get(at)) {
            counter.inc();
        }
    }
}
