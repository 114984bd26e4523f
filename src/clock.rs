//! Reads the time. No other module reads a clock.
//!
//! Code that needs the time gets a [`Clock`], so that a test can fix the time.

#![allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

/// How long [`Clock::unix_at`] computes wall-clock time from the monotonic clock. It sees an adjustment of the system's
/// clock after this time.
const SYNCED: Duration = Duration::from_secs(1);

/// The system's clocks, or a fixed time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The fixed time; `None` for the system's clocks.
    fixed: Option<(Instant, SystemTime)>,
    /// The readings of the monotonic clock and the wall clock when they were last compared.
    synced: Cell<Option<(Instant, Duration)>>,
}

/// The monotonic part of a [`Clock`], which threads can share.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    fixed: Option<Instant>,
}

impl MonotonicClock {
    /// Monotonic time, for durations.
    pub fn now(self) -> Instant {
        self.fixed.unwrap_or_else(Instant::now)
    }
}

impl Clock {
    /// Its monotonic part.
    pub fn monotonic(&self) -> MonotonicClock {
        MonotonicClock { fixed: self.fixed.map(|(instant, _)| instant) }
    }

    /// The system's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `at`.
    pub fn fixed(at: SystemTime) -> Self {
        Self { fixed: Some((Instant::now(), at)), synced: Cell::default() }
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

    /// The wall-clock time of a recent moment, usually without reading the system's clock again.
    pub fn unix_at(&self, moment: Instant) -> Duration {
        if let Some((at, unix)) = self.synced.get()
            && let Some(since) = moment.checked_duration_since(at)
            && since < SYNCED
        {
            return unix + since;
        }
        let (at, unix) = (self.now(), self.unix());
        self.synced.set(Some((at, unix)));
        unix.saturating_sub(at.saturating_duration_since(moment))
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
        assert_eq!(clock.unix_at(clock.now()), Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn a_moment_has_its_wall_clock_time_whenever_the_clocks_were_compared() {
        let clock = Clock::system();
        let (moment, unix) = (clock.now(), clock.unix());
        for seconds in [0, 1, 60] {
            let before = moment.checked_sub(Duration::from_secs(seconds)).unwrap();
            let off = clock.unix_at(before).abs_diff(unix - Duration::from_secs(seconds));
            assert!(off < Duration::from_millis(500), "{seconds}: {off:?}");
            let after = clock.unix_at(moment + Duration::from_millis(700)).abs_diff(unix + Duration::from_millis(700));
            assert!(after < Duration::from_millis(500), "{seconds}: {after:?}");
        }
    }
}
