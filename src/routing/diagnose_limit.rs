//! Limits how often the gateway diagnoses why deliveries of a route do not verify.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time between two diagnoses of one route, over all threads.
pub const PAUSE: Duration = Duration::from_secs(10);

/// The time of a route's last diagnosis, in seconds since 1970-01-01T00:00:00Z; zero if there was none.
#[derive(Debug, Default)]
pub struct DiagnoseLimit(AtomicU64);

impl DiagnoseLimit {
    /// Whether a diagnosis may be made at `now`, the time since 1970-01-01T00:00:00Z.
    pub fn admit(&self, now: Duration) -> bool {
        // Zero means never.
        let now = now.as_secs().max(1);
        let due = |last: u64| (last == 0 || now.abs_diff(last) >= PAUSE.as_secs()).then_some(now);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_diagnosed_at_intervals_also_after_the_clock_was_set_back() {
        let limit = DiagnoseLimit::default();
        let admit = |seconds| limit.admit(Duration::from_secs(seconds));
        assert!(admit(1000));
        assert!(!admit(1000) && !admit(1009) && !admit(999));
        assert!(admit(1010));
        assert!(!admit(1019));
        assert!(admit(10));
    }
}
