//! Bounds lines in the log.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines about refused deliveries that one thread writes in a second; the rest is counted in the next line.
const LINES_PER_SECOND: u32 = 20;

/// A bound on log lines, so that a flood of bad deliveries does not fill the disk.
#[derive(Default)]
pub struct LogLimit {
    window: Cell<Option<Instant>>,
    lines: Cell<u32>,
    suppressed: Cell<u64>,
}

impl LogLimit {
    /// Whether a line may be written at `now`, and how many have been left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let window = self.window.get().filter(|start| now.duration_since(*start) < Duration::from_secs(1));
        if window.is_none() {
            self.window.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() == LINES_PER_SECOND {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn lines_over_the_limit_are_counted_and_told_with_the_next_one() {
        let limit = LogLimit::default();
        let start = Clock::system().now();
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(limit.admit(start), Some(0));
        }
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start + Duration::from_millis(999)), None);
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(2));
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Some(0));
    }
}
