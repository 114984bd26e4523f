//! What Prometheus is told of queues and of the store.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::UpstreamResult;
use super::families::Families;

/// From 5 ms, a delivery that is attempted at once, to three days, the longest that deliveries wait by default.
const DELAY_SECONDS: [f64; 12] =
    [0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0, 1800.0, 10_800.0, 43_200.0, 259_200.0];
/// From 100 µs, a disk with a battery, to 2.5 s, one that hardly works.
const SYNC_SECONDS: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.1, 0.5, 2.5];
/// In powers of two, to the largest batch.
const BATCH_DELIVERIES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// The states in which queued deliveries are counted.
const STATES: [&str; 4] = ["pending", "retrying", "dead", "held"];

/// What the names of the families of queues begin with.
pub(super) const QUEUE_PREFIX: &str = "hooklatch_queue_";

/// The families of queues.
#[derive(Clone)]
pub(super) struct QueueFamilies {
    deliveries: IntGaugeVec,
    oldest: IntGaugeVec,
    attempts: IntCounterVec,
    delivered: IntCounterVec,
    dead: IntCounterVec,
    delay: HistogramVec,
    in_flight: IntGaugeVec,
    circuit_open: IntGaugeVec,
    paused: IntGaugeVec,
}

/// The handles of one route's queue.
#[derive(Clone)]
pub struct QueueMetrics {
    /// Deliveries in the states of [`QueueMetrics::set_deliveries`].
    deliveries: [IntGauge; STATES.len()],
    /// The age of the oldest waiting delivery, in seconds.
    pub oldest: IntGauge,
    attempts: [IntCounter; UpstreamResult::LABELS.len()],
    /// Deliveries that the handler has taken.
    pub delivered: IntCounter,
    /// Deliveries that were given up.
    pub dead: IntCounter,
    /// Seconds from a delivery's receipt to the handler's 2xx.
    pub delay: Histogram,
    /// Attempts under way.
    pub in_flight: IntGauge,
    /// 1 while deliveries wait because the upstream is down.
    pub circuit_open: IntGauge,
    /// 1 while the route is paused.
    pub paused: IntGauge,
}

/// The series of the store.
#[derive(Clone)]
pub struct StoreMetrics {
    /// Bytes of the store's files.
    pub bytes: IntGauge,
    /// The bytes that they may have.
    pub max_bytes: IntGauge,
    /// Free bytes of the file system.
    pub free_bytes: IntGauge,
    /// Seconds that a commit took, the sync included.
    pub sync: Histogram,
    /// Deliveries of a commit.
    pub batch: Histogram,
    /// 1 once a write or a sync has failed.
    pub failed: IntGauge,
    /// 1 if gateways can share the store.
    pub shared: IntGauge,
    /// 1 if a commit waits for a standby.
    pub replicated: IntGauge,
    /// 1 while the database cannot be reached.
    pub unreachable: IntGauge,
    /// Outcomes that came after the lease of their gateway had run out.
    pub late_outcomes: IntCounter,
}

impl QueueFamilies {
    /// All families, registered.
    ///
    /// # Errors
    /// A family that the registry refuses, which only a mistake in this module can cause.
    pub(super) fn new(families: &mut Families) -> Result<Self, prometheus::Error> {
        Ok(Self {
            deliveries: families.int_gauges(
                "hooklatch_queue_deliveries",
                "Queued deliveries by state.",
                &["route", "state"],
            )?,
            oldest: families.int_gauges(
                "hooklatch_queue_oldest_seconds",
                "Age of the oldest delivery that waits.",
                &["route"],
            )?,
            attempts: families.counters(
                "hooklatch_queue_attempts_total",
                "Attempts to hand a queued delivery to the upstream.",
                &["route", "result"],
            )?,
            delivered: families.counters(
                "hooklatch_queue_delivered_total",
                "Queued deliveries that the upstream has taken.",
                &["route"],
            )?,
            dead: families.counters(
                "hooklatch_queue_dead_total",
                "Queued deliveries that were given up.",
                &["route"],
            )?,
            delay: families.histograms(
                "hooklatch_queue_delay_seconds",
                "Time from the receipt of a queued delivery until the upstream has taken it.",
                &["route"],
                &DELAY_SECONDS,
            )?,
            in_flight: families.int_gauges("hooklatch_queue_in_flight", "Attempts under way.", &["route"])?,
            circuit_open: families.int_gauges(
                "hooklatch_queue_circuit_open",
                "1 while deliveries wait because the upstream is down.",
                &["route"],
            )?,
            paused: families.int_gauges("hooklatch_queue_paused", "1 while the route is paused.", &["route"])?,
        })
    }

    /// The handles of one route; makes its series.
    pub(super) fn route(&self, route: &str) -> QueueMetrics {
        QueueMetrics {
            deliveries: STATES.map(|state| self.deliveries.with_label_values(&[route, state])),
            oldest: self.oldest.with_label_values(&[route]),
            attempts: UpstreamResult::LABELS.map(|result| self.attempts.with_label_values(&[route, result])),
            delivered: self.delivered.with_label_values(&[route]),
            dead: self.dead.with_label_values(&[route]),
            delay: self.delay.with_label_values(&[route]),
            in_flight: self.in_flight.with_label_values(&[route]),
            circuit_open: self.circuit_open.with_label_values(&[route]),
            paused: self.paused.with_label_values(&[route]),
        }
    }
}

impl QueueFamilies {
    /// Says how many deliveries of a route without a queue are pending, retrying, dead and held. Without any, the route has no
    /// series.
    pub(super) fn held(&self, route: &str, counts: [u64; STATES.len()]) {
        let is_empty = counts.iter().all(|count| *count == 0);
        for (state, count) in STATES.iter().zip(counts) {
            if is_empty {
                // An error means that the series does not exist.
                let _ = self.deliveries.remove_label_values(&[route, state]);
                continue;
            }
            self.deliveries.with_label_values(&[route, state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl QueueMetrics {
    /// Says how many deliveries are pending, retrying, dead and held.
    pub fn set_deliveries(&self, counts: [u64; STATES.len()]) {
        for (gauge, count) in self.deliveries.iter().zip(counts) {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts one attempt.
    pub fn attempt(&self, result: UpstreamResult) {
        if let Some(counter) = self.attempts.get(result.index()) {
            counter.inc();
        }
    }
}

impl StoreMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        Ok(Self {
            bytes: families.int_gauge("hooklatch_store_bytes", "Bytes that the store takes.")?,
            max_bytes: families.int_gauge("hooklatch_store_max_bytes", "Bytes that the store may take.")?,
            free_bytes: families.int_gauge("hooklatch_store_free_bytes", "Free bytes of the store's file system.")?,
            sync: families.register(histogram(
                "hooklatch_store_sync_seconds",
                "Time that a commit of the store took, the sync included.",
                &SYNC_SECONDS,
            )?)?,
            batch: families.register(histogram(
                "hooklatch_store_batch_deliveries",
                "Deliveries that a commit of the store has stored.",
                &BATCH_DELIVERIES,
            )?)?,
            failed: families
                .int_gauge("hooklatch_store_failed", "1 once a write or a sync of the store has failed.")?,
            shared: families.int_gauge("hooklatch_store_shared", "1 if gateways can share the store.")?,
            replicated: families
                .int_gauge("hooklatch_store_replicated", "1 if a commit of the store waits for a standby.")?,
            unreachable: families
                .int_gauge("hooklatch_store_unreachable", "1 while the database of the store cannot be reached.")?,
            late_outcomes: families.register(IntCounter::new(
                "hooklatch_store_late_outcomes_total",
                "Outcomes of attempts that came after the lease of their gateway had run out.",
            )?)?,
        })
    }
}
