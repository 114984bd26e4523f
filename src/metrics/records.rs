//! What Prometheus is told of records and of dedupe keys that found no room.

use prometheus::IntCounter;

use super::families::Families;

/// Counts what was not kept.
#[derive(Clone)]
pub struct RecordMetrics {
    /// Records of refused deliveries and challenges, of which their route had too many in a second.
    pub over_rate: IntCounter,
    /// Records for which the store had no room or no time.
    pub full: IntCounter,
    /// Dedupe keys that were forgotten for want of room.
    pub evicted_keys: IntCounter,
}

impl RecordMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self, prometheus::Error> {
        let dropped = families.counters(
            "hooklatch_records_dropped_total",
            "Deliveries of which no record was kept, by the reason.",
            &["reason"],
        )?;
        let evicted =
            IntCounter::new("hooklatch_dedupe_evicted_total", "Dedupe keys that were forgotten for want of room.")?;
        Ok(Self {
            over_rate: dropped.with_label_values(&["rate"]),
            full: dropped.with_label_values(&["full"]),
            evicted_keys: families.register(evicted)?,
        })
    }
}
