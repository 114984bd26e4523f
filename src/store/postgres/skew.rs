//! How far this gateway's clocks are from that of the database, whose time counts.
//!
//! A gateway has two clocks: that of the system, which can be set; and that of its queue, which began with the system's time at
//! the start and goes on by the monotonic one. The database's time is compared with the monotonic clock, each second. So the
//! difference to both is known, also right after the system's clock was set, and while the database cannot be asked.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::clock::{Clock, MonotonicClock};
use crate::store::types::{Millis, millis};

/// How far a gateway's clock may be wrong before times are corrected, in milliseconds: a difference that is smaller may be
/// that of the way to the database.
const MAX_SKEW: Millis = 1_000;
/// A difference from what is known that may be that of the way, in milliseconds: times of the queue do not go back and forth by it.
const NOISE: Millis = 100;
/// Not compared yet.
const UNKNOWN: Millis = Millis::MIN;

/// The clock of the database, as far as it is known.
#[derive(Debug)]
pub struct Skew {
    clock: MonotonicClock,
    origin: Instant,
    /// The system's time at `origin`, in milliseconds since 1970.
    ours: Millis,
    /// The database's time at `origin`.
    theirs: AtomicI64,
    /// The difference that was told last.
    told: AtomicI64,
}

impl Skew {
    /// No clock was compared yet: until then that of the gateway counts.
    pub fn new(clock: &Clock) -> Self {
        let (origin, ours) = (clock.now(), millis(clock.unix()));
        Self { clock: clock.monotonic(), origin, ours, theirs: AtomicI64::new(UNKNOWN), told: AtomicI64::new(0) }
    }

    /// What the database's clock is ahead of that of the queue, in milliseconds; 0 where the difference is small.
    pub fn of_queue(&self) -> Millis {
        self.theirs().map_or(0, |theirs| corrected(theirs.saturating_sub(self.ours)))
    }

    /// The same for that of the system, which is `now`.
    pub fn of_system(&self, now: Millis) -> Millis {
        self.theirs().map_or(0, |theirs| corrected(theirs.saturating_add(self.elapsed()).saturating_sub(now)))
    }

    /// The database is about to be asked for its time.
    pub fn asks(&self) -> Millis {
        self.elapsed()
    }

    /// The database, which was asked at `asked`, has said `theirs`; the system's clock is `now`. Gives the difference to that if
    /// it is another one than before. An answer that took over a second is too inexact, and counts only if there is no other.
    pub fn compare(&self, asked: Millis, theirs: Millis, now: Millis) -> Option<Millis> {
        let elapsed = self.elapsed();
        let found = theirs.saturating_sub(asked.midpoint(elapsed));
        let is_exact = elapsed - asked <= MAX_SKEW;
        if self.theirs().is_none_or(|known| is_exact && (found - known).abs() > NOISE) {
            self.theirs.store(found, Ordering::Relaxed);
        }
        let (skew, told) = (self.of_system(now), self.told.load(Ordering::Relaxed));
        let is_other = (skew - told).abs() > MAX_SKEW;
        if is_other {
            self.told.store(skew, Ordering::Relaxed);
        }
        is_other.then_some(skew)
    }

    fn theirs(&self) -> Option<Millis> {
        Some(self.theirs.load(Ordering::Relaxed)).filter(|theirs| *theirs != UNKNOWN)
    }

    fn elapsed(&self) -> Millis {
        millis(self.clock.now().saturating_duration_since(self.origin))
    }
}

fn corrected(difference: Millis) -> Millis {
    if difference.abs() > MAX_SKEW { difference } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const NOW: Millis = 1_800_000_000_000;
    const HOUR: Millis = 3_600_000;

    fn skew() -> Skew {
        Skew::new(&Clock::fixed(UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs())))
    }

    #[test]
    fn a_clock_that_is_set_is_known_to_be_wrong_without_another_comparison_and_that_of_the_queue_is_not() {
        let skew = skew();
        assert_eq!((skew.of_queue(), skew.of_system(NOW)), (0, 0), "not compared yet");
        assert_eq!(skew.compare(0, NOW + 900, NOW), None);
        assert_eq!((skew.of_queue(), skew.of_system(NOW)), (0, 0), "as good as none");
        assert_eq!(skew.compare(0, NOW, NOW), None);
        for wrong in [HOUR, -HOUR] {
            assert_eq!((skew.of_system(NOW + wrong), skew.of_queue()), (-wrong, 0));
        }
        assert_eq!(skew.of_system(NOW), 0, "and it is right again");
    }

    #[test]
    fn the_database_is_compared_with_the_time_that_has_passed() {
        let mut skew = skew();
        skew.origin -= Duration::from_secs(10);
        assert_eq!(skew.compare(skew.asks(), NOW, NOW), None);
        // The clock of the queue is at NOW + 10 s.
        assert_eq!((skew.of_system(NOW), skew.of_queue()), (0, -10_000));
        skew.compare(skew.asks(), NOW + NOISE, NOW);
        assert_eq!(skew.of_queue(), -10_000, "the way may have taken that");
        skew.compare(skew.asks(), NOW + NOISE + 1, NOW);
        assert_eq!(skew.of_queue(), -10_000 + NOISE + 1);
    }

    #[test]
    fn a_difference_is_told_once_and_an_answer_that_took_long_counts_only_as_the_first_one() {
        let skew = skew();
        let (late, at_once) = (-2 * MAX_SKEW, 0);
        assert_eq!(skew.compare(late, NOW + HOUR, NOW), Some(HOUR + MAX_SKEW));
        assert_eq!(skew.of_queue(), HOUR + MAX_SKEW);
        assert_eq!(skew.compare(at_once, NOW + HOUR, NOW), None, "it is nearly the same");
        assert_eq!(skew.of_queue(), HOUR);
        assert_eq!(skew.compare(late, NOW, NOW), None);
        assert_eq!(skew.of_queue(), HOUR);
        assert_eq!(skew.compare(at_once, NOW, NOW), Some(0));
        assert_eq!(skew.of_queue(), 0);
    }
}
