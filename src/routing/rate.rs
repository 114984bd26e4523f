//! Requests a second, by the generic cell rate algorithm (ITU-T I.371): one number, the time at which the bucket would be
//! full again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::RateLimit;

/// A bucket of requests, shared by all threads.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When the first request came.
    epoch: OnceLock<Instant>,
    /// When the bucket is full again, in nanoseconds since the epoch.
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes one request out of the bucket at `now`.
    ///
    /// # Errors
    /// The bucket is empty: how long until it has one.
    pub fn take(&self, rate: RateLimit, now: Instant) -> Result<(), Duration> {
        let epoch = *self.epoch.get_or_init(|| now);
        let now = u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| take(rate, at, now).ok());
        taken.map(drop).map_err(|at| Duration::from_nanos(take(rate, at, now).err().unwrap_or_default()))
    }
}

/// Takes one request out of a bucket that would be full at `full_at`: when it then would be, or in how many nanoseconds it has
/// one.
fn take(rate: RateLimit, full_at: u64, now: u64) -> Result<u64, u64> {
    let interval = 1_000_000_000 / u64::from(rate.per_second.get());
    let deepest = interval.saturating_mul(u64::from(rate.burst.get()));
    let full_at = full_at.max(now).saturating_add(interval);
    let over = (full_at - now).saturating_sub(deepest);
    if over == 0 { Ok(full_at) } else { Err(over) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn an_empty_bucket_says_when_it_has_one_again() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let rate = RateLimit { per_second: number(10), burst: number(2) };
        let (bucket, start) = (Bucket::default(), Clock::system().now());
        let at = |millis| bucket.take(rate, start + Duration::from_millis(millis));
        assert_eq!([at(0), at(0)], [Ok(()), Ok(())]);
        assert_eq!(at(40), Err(Duration::from_millis(60)));
        assert_eq!([at(100), at(100)], [Ok(()), Err(Duration::from_millis(100))]);
    }
}
