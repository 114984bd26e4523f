//! Limits the rate of log lines.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The most lines that one limit admits in a second. The next line counts those that were left out.
const LINES_PER_SECOND: u32 = 20;

/// A limit on log lines, so that a flood of bad deliveries does not fill the disk.
#[derive(Default)]
pub struct LogLimit {
    /// The beginning of the current second; `None` before the first line.
    window: Cell<Option<Instant>>,
    /// Lines written in the current second.
    lines: Cell<u32>,
    /// Lines left out since the last line that was written.
    suppressed: Cell<u64>,
}

impl LogLimit {
    /// Whether a line may be written at `now`. `Some` holds the number of lines left out since the last one.
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
