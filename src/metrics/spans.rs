//! The spans of traced deliveries, by whether they were exported.

use prometheus::IntCounter;

use super::families::Families;

/// Counts spans by whether they were exported.
#[derive(Clone)]
pub struct SpanMetrics {
    /// Spans that the collector accepted.
    pub exported: IntCounter,
    /// Spans that the collector refused, or did not accept in time.
    pub failed: IntCounter,
    /// Spans of deliveries that found the queue full.
    pub dropped: IntCounter,
}

impl SpanMetrics {
    /// `hooklatch_spans_total`.
    pub(super) fn new(families: &mut Families) -> Result<Self, prometheus::Error> {
        let spans = families.counters(
            "hooklatch_spans_total",
            "Spans of traced deliveries, by what became of them.",
            &["result"],
        )?;
        let counter = |result| spans.with_label_values(&[result]);
        Ok(Self { exported: counter("exported"), failed: counter("failed"), dropped: counter("dropped") })
    }
}
