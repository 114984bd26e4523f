//! How far the clock of this gateway is from that of the database, whose time counts.
//!
//! The database's clock is compared with this machine's monotonic one, each second. So it is known at once when the system's
//! clock is set, and what is stored then is not due at a wrong time, though the database may not be reached for the next
//! comparison.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::clock::{Clock, MonotonicClock};
use crate::store::types::Millis;

/// How far a gateway's clock may be wrong before times are corrected, in milliseconds: a difference that is smaller may be
/// that of the way to the database.
const MAX_SKEW: Millis = 1_000;
/// Not compared yet.
const UNKNOWN: Millis = Millis::MIN;

/// The clock of the database, as far as it is known.
#[derive(Debug)]
pub struct Skew {
    clock: MonotonicClock,
    origin: Instant,
    /// The database's time at `origin`, in milliseconds since 1970.
    theirs: AtomicI64,
    /// The difference that was told last.
    told: AtomicI64,
}

impl Skew {
    /// No clock was compared yet: until then that of the gateway counts.
    pub fn new() -> Self {
        let clock = Clock::system().monotonic();
        Self { clock, origin: clock.now(), theirs: AtomicI64::new(UNKNOWN), told: AtomicI64::new(0) }
    }

    /// What the database's clock is ahead of this gateway's, where it is `now`, in milliseconds; 0 where the difference is
    /// small.
    pub fn at(&self, now: Millis) -> Millis {
        match self.theirs.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            theirs => corrected(theirs.saturating_add(self.elapsed()).saturating_sub(now)),
        }
    }

    /// The database is about to be asked for its time.
    pub fn asks(&self) -> Millis {
        self.elapsed()
    }

    /// The database, which was asked at `asked`, has said `theirs`; the gateway's clock is `now`. Gives the difference of the
    /// clocks if it is another one than before. An answer that took long counts for nothing: it may be as old as that.
    pub fn compare(&self, asked: Millis, theirs: Millis, now: Millis) -> Option<Millis> {
        let elapsed = self.elapsed();
        if elapsed - asked > MAX_SKEW {
            return None;
        }
        self.theirs.store(theirs.saturating_sub(asked.midpoint(elapsed)), Ordering::Relaxed);
        let (skew, told) = (self.at(now), self.told.load(Ordering::Relaxed));
        let is_other = (skew - told).abs() > MAX_SKEW;
        if is_other {
            self.told.store(skew, Ordering::Relaxed);
        }
        is_other.then_some(skew)
    }

    fn elapsed(&self) -> Millis {
        let elapsed = self.clock.now().saturating_duration_since(self.origin);
        Millis::try_from(elapsed.as_millis()).unwrap_or(Millis::MAX)
    }
}

fn corrected(difference: Millis) -> Millis {
    if difference.abs() > MAX_SKEW { difference } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_known_to_be_wrong_without_another_comparison() {
        const NOW: Millis = 1_800_000_000_000;
        let skew = Skew::new();
        assert_eq!(skew.at(NOW), 0, "not compared yet");
        let hour = 3_600_000;
        assert_eq!(skew.compare(-2 * MAX_SKEW, NOW + hour, NOW), None, "an answer that was long under way");
        assert_eq!(skew.compare(skew.asks(), NOW, NOW), None);
        assert_eq!((skew.at(NOW), skew.at(NOW + 900)), (0, 0));
        let told = skew.compare(skew.asks(), NOW, NOW - hour).unwrap();
        assert!((hour..hour + MAX_SKEW).contains(&told), "{told}");
        assert_eq!(skew.compare(skew.asks(), NOW, NOW - hour), None, "it is known");
        for wrong in [hour, -hour] {
            let corrected = skew.at(NOW + wrong) + wrong;
            assert!((0..MAX_SKEW).contains(&corrected), "{corrected} ms after {wrong} ms");
        }
        assert_eq!(skew.at(NOW), 0, "and it is right again");
    }
}
