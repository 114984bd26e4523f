//! What becomes of the spans of traced deliveries.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::{counters, register};

/// Counts spans by what became of them.
#[derive(Clone)]
pub struct SpanMetrics {
    /// The collector took them.
    pub exported: IntCounter,
    /// The collector refused them, or did not answer in time.
    pub failed: IntCounter,
    /// There was no room for them in the queue.
    pub dropped: IntCounter,
}

impl SpanMetrics {
    /// `hooklatch_spans_total`.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let spans: IntCounterVec = register(
            registry,
            counters("hooklatch_spans_total", "Spans of traced deliveries, by what became of them.", &["result"])?,
        )?;
        let counter = |result| spans.with_label_values(&[result]);
        Ok(Self { exported: counter("exported"), failed: counter("failed"), dropped: counter("dropped") })
    }
}
