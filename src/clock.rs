//! Where the time comes from; nothing else in the crate reads a clock.
//!
//! A [`Clock`] is handed to whatever needs the time, so that a test can fix it.

#![allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]

use std::time::{Duration, Instant, SystemTime};

/// The system's time, or one that stands still.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<(Instant, SystemTime)>,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self { fixed: None }
    }

    /// A clock that always says `at`.
    pub fn fixed(at: SystemTime) -> Self {
        Self { fixed: Some((Instant::now(), at)) }
    }

    /// Monotonic time, for durations.
    pub fn now(&self) -> Instant {
        self.fixed.map_or_else(Instant::now, |(instant, _)| instant)
    }

    /// Wall-clock time as the duration since 1970-01-01T00:00:00Z; zero for a clock set before that.
    pub fn unix(&self) -> Duration {
        let wall = self.fixed.map_or_else(SystemTime::now, |(_, wall)| wall);
        wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_stands_still() {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(clock.unix(), Duration::from_secs(1_700_000_000));
        assert_eq!(clock.now(), clock.now());
    }
}
