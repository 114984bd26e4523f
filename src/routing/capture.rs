//! A route's capture: for a time, its refused requests are recorded with their bodies, so that a person can find out why
//! they are refused.
//!
//! It ends by itself, when its time is over or as many requests as asked for are recorded. While it is off, a refusal costs
//! one relaxed load; a delivery that is not refused costs nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// The longest time of a capture.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// The most requests of a capture.
pub const MOST: u32 = 1_000;

/// The capture of one route. It outlives a reload.
#[derive(Debug, Default)]
pub struct Capture {
    /// Requests that may still be captured; 0 while it is off.
    left: AtomicU32,
    /// When it ends: by the monotonic clock, and in milliseconds since 1970-01-01T00:00:00Z.
    until: Mutex<Option<(Instant, i64)>>,
}

/// What is left of a capture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Captured {
    /// When it ends, in milliseconds since 1970-01-01T00:00:00Z.
    pub until: i64,
    /// Requests that may still be captured.
    pub left: u32,
}

impl Capture {
    /// Begins anew at `now`, which is `unix` milliseconds since 1970-01-01T00:00:00Z: for `time`, [`LONGEST`] at most, and `max`
    /// requests, [`MOST`] at most.
    pub fn start(&self, now: Instant, unix: i64, time: Duration, max: u32) -> Captured {
        let (time, left) = (time.min(LONGEST), max.min(MOST));
        let until = unix.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let mut end = self.end();
        *end = Some((now + time, until));
        self.left.store(left, Ordering::Relaxed);
        Captured { until, left }
    }

    /// Whether a request that is refused at `now` is to be read and recorded.
    pub fn wants(&self, now: Instant) -> bool {
        self.left.load(Ordering::Relaxed) > 0 && self.left(now).is_some()
    }

    /// The same, and counts it.
    pub fn take(&self, now: Instant) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.wants(now) && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// What is left of it at `now`; `None` once it has ended.
    pub fn left(&self, now: Instant) -> Option<Captured> {
        let guard = self.end();
        let (end, until) = (*guard)?;
        let left = self.left.load(Ordering::Relaxed);
        if now >= end || left == 0 {
            self.left.store(0, Ordering::Relaxed);
            return None;
        }
        Some(Captured { until, left })
    }

    fn end(&self) -> MutexGuard<'_, Option<(Instant, i64)>> {
        lock(&self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_capture_ends_after_its_time_or_its_number() {
        let (capture, now) = (Capture::default(), Clock::system().now());
        assert!(!capture.wants(now) && capture.left(now).is_none(), "off at first");
        let begun = capture.start(now, 1_000, Duration::from_secs(60), 2);
        assert_eq!(begun, Captured { until: 61_000, left: 2 });
        let last = now + Duration::from_millis(59_999);
        assert!(capture.wants(last) && capture.take(now));
        assert_eq!(capture.left(last), Some(Captured { until: 61_000, left: 1 }));
        assert!(capture.take(last) && !capture.take(last) && !capture.wants(now));
        capture.start(now, 0, Duration::from_secs(60), 2);
        assert!(!capture.take(now + Duration::from_secs(60)));
        assert!(!capture.wants(now), "what has ended does not begin again");
    }

    #[test]
    fn time_and_number_are_bounded() {
        let (capture, now) = (Capture::default(), Clock::system().now());
        let begun = capture.start(now, 0, Duration::MAX, u32::MAX);
        assert_eq!(begun, Captured { until: 3_600_000, left: MOST });
        assert_eq!(capture.start(now, 0, LONGEST, 0).left, 0);
        assert!(!capture.wants(now));
    }
}
