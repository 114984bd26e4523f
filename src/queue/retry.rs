//! When a failed delivery is tried again, and when it is given up.
//!
//! Pure: the time and the random number for the jitter are arguments. A delivery is given up
//!
//! 1. when the upstream answers with one of `give_up_on`,
//! 2. when `max_attempts` were made, if it is not 0,
//! 3. when `max_age` has passed *and* `min_attempts` were made. A clock that jumps ahead, or a gateway that was off for a
//!    week, so gives up nothing that was hardly tried.
//!
//! `Retry-After` moves the next attempt later, to `max_backoff` at most, and never earlier.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;

use crate::config;
use crate::store::{Millis, millis};

/// The keys of `retry` in the configuration.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How long to wait after each failure.
    pub backoff: Backoff,
    /// No wait is longer, whatever asks for it.
    pub max_backoff: Duration,
    /// How far a wait may be off either way: 0.2 is 20 %.
    pub jitter: f64,
    /// Given up only when this has passed since the receipt …
    pub max_age: Duration,
    /// … and this many attempts were made.
    pub min_attempts: u32,
    /// Given up after this many attempts; 0 for no such bound.
    pub max_attempts: u32,
    /// Statuses that end it at once.
    pub give_up_on: Vec<u16>,
}

/// The waits between attempts.
#[derive(Clone, Debug)]
pub enum Backoff {
    /// The first wait; each further one is twice as long, up to `max_backoff`.
    Doubling(Duration),
    /// The waits in order; the last one repeats.
    Schedule(Vec<Duration>),
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            backoff: Backoff::Doubling(Duration::from_secs(5)),
            max_backoff: Duration::from_secs(3600),
            jitter: 0.2,
            max_age: Duration::from_secs(72 * 3600),
            min_attempts: 5,
            max_attempts: 0,
            give_up_on: vec![410],
        }
    }
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// When it ended.
    pub now: Millis,
    /// From when on `max_age` is counted.
    pub since: Millis,
    /// How many attempts were made, this one included.
    pub attempts: u32,
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// What its `Retry-After` asks for; counts on 429 and 503 only.
    pub retry_after: Option<Duration>,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Another attempt at this time.
    RetryAt(Millis),
    /// Given up.
    GiveUp(Why),
}

/// Why a delivery is given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The status is one of `give_up_on`.
    Status,
    /// `max_attempts` were made.
    Attempts,
    /// `max_age` has passed, and `min_attempts` were made.
    Age,
}

impl From<&config::Retry> for RetryPolicy {
    fn from(retry: &config::Retry) -> Self {
        Self {
            backoff: match &retry.schedule {
                Some(waits) => Backoff::Schedule(waits.clone()),
                None => Backoff::Doubling(retry.min_backoff),
            },
            max_backoff: retry.max_backoff,
            jitter: retry.jitter,
            max_age: retry.max_age,
            min_attempts: retry.min_attempts,
            max_attempts: retry.max_attempts.map_or(0, NonZeroU32::get),
            give_up_on: retry.give_up_on.iter().map(StatusCode::as_u16).collect(),
        }
    }
}

impl RetryPolicy {
    /// What follows a failed attempt. `random` is from 0 to below 1.
    pub fn after(&self, failure: &Failure, random: f64) -> Verdict {
        if failure.status.is_some_and(|status| self.give_up_on.contains(&status)) {
            return Verdict::GiveUp(Why::Status);
        }
        if self.max_attempts != 0 && failure.attempts >= self.max_attempts {
            return Verdict::GiveUp(Why::Attempts);
        }
        let age = failure.now.saturating_sub(failure.since);
        if age >= millis(self.max_age) && failure.attempts >= self.min_attempts {
            return Verdict::GiveUp(Why::Age);
        }
        let asked = failure.retry_after.filter(|_| matches!(failure.status, Some(429 | 503)));
        let asked = asked.unwrap_or_default().min(self.max_backoff);
        Verdict::RetryAt(failure.now.saturating_add(millis(self.wait(failure.attempts, random).max(asked))))
    }

    /// The wait after this many attempts, jitter included. Only a schedule has waits longer than `max_backoff`.
    pub fn wait(&self, attempts: u32, random: f64) -> Duration {
        let failures = attempts.max(1) - 1;
        let (wait, longest) = match &self.backoff {
            Backoff::Doubling(first) => {
                let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
                (first.saturating_mul(factor).min(self.max_backoff), self.max_backoff)
            }
            Backoff::Schedule(waits) => {
                let place = usize::try_from(failures).unwrap_or(usize::MAX);
                let wait = waits.get(place).or(waits.last()).copied().unwrap_or(self.max_backoff);
                (wait, Duration::MAX)
            }
        };
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        let factor = 1.0 + jitter * (2.0 * random - 1.0);
        Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(wait).min(longest)
    }

    /// A due time of before a restart, or of before the configuration was changed: no further away than the longest wait.
    pub fn cut(&self, due_at: Millis, now: Millis) -> Millis {
        due_at.min(now.saturating_add(millis(self.longest())))
    }

    /// The longest wait: `max_backoff`, or the longest one of the schedule.
    pub fn longest(&self) -> Duration {
        match &self.backoff {
            Backoff::Doubling(_) => self.max_backoff,
            Backoff::Schedule(waits) => waits.iter().copied().max().unwrap_or(self.max_backoff).max(self.max_backoff),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDDLE: f64 = 0.5;
    const NOW: Millis = 1_700_000_000_000;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failure(attempts: u32) -> Failure {
        Failure { now: NOW, since: NOW - 1_000, attempts, status: Some(500), retry_after: None }
    }

    fn waited(verdict: Verdict) -> Millis {
        match verdict {
            Verdict::RetryAt(at) => at - NOW,
            Verdict::GiveUp(why) => panic!("given up: {why:?}"),
        }
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let retry = RetryPolicy::default();
        let waits: Vec<u64> = (1..=12).map(|attempts| retry.wait(attempts, MIDDLE).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(retry.wait(u32::MAX, MIDDLE), secs(3600));
    }

    #[test]
    fn a_schedule_is_followed_and_its_last_wait_repeats() {
        let retry =
            RetryPolicy { backoff: Backoff::Schedule(vec![secs(5), secs(60), secs(600)]), ..RetryPolicy::default() };
        let waits: Vec<u64> = (1..=5).map(|attempts| retry.wait(attempts, MIDDLE).as_secs()).collect();
        assert_eq!(waits, [5, 60, 600, 600, 600]);
    }

    #[test]
    fn jitter_goes_either_way_as_far_as_it_may() {
        let retry = RetryPolicy { backoff: Backoff::Doubling(secs(100)), ..RetryPolicy::default() };
        assert_eq!(retry.wait(1, 0.0), secs(80));
        assert_eq!(retry.wait(1, 1.0), secs(120));
    }

    #[test]
    fn a_delivery_is_given_up_only_when_both_its_age_and_its_attempts_are_used_up() {
        let retry = RetryPolicy::default();
        let old = |age: u64, attempts| Failure { since: NOW - millis(secs(age)), ..failure(attempts) };
        let hours = 72 * 3600;
        assert_eq!(retry.after(&old(hours, 5), MIDDLE), Verdict::GiveUp(Why::Age));
        assert!(matches!(retry.after(&old(hours - 1, 5), MIDDLE), Verdict::RetryAt(_)));
        assert!(matches!(retry.after(&old(hours, 4), MIDDLE), Verdict::RetryAt(_)));
        assert!(matches!(retry.after(&old(hours * 1000, 4), MIDDLE), Verdict::RetryAt(_)));
    }

    #[test]
    fn the_bound_of_attempts_counts_at_any_age_and_zero_is_no_bound() {
        let bounded = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        assert!(matches!(bounded.after(&failure(2), MIDDLE), Verdict::RetryAt(_)));
        assert_eq!(bounded.after(&failure(3), MIDDLE), Verdict::GiveUp(Why::Attempts));
        assert!(matches!(RetryPolicy::default().after(&failure(1_000), MIDDLE), Verdict::RetryAt(_)));
    }

    #[test]
    fn a_status_that_says_so_ends_it_at_once() {
        let gone = Failure { status: Some(410), ..failure(1) };
        assert_eq!(RetryPolicy::default().after(&gone, MIDDLE), Verdict::GiveUp(Why::Status));
        let not_listed = Failure { status: Some(404), ..failure(1) };
        assert!(matches!(RetryPolicy::default().after(&not_listed, MIDDLE), Verdict::RetryAt(_)));
    }

    #[test]
    fn retry_after_moves_an_attempt_later_within_its_bounds_and_never_earlier() {
        let retry = RetryPolicy::default();
        let asks = |status, seconds| Failure { status: Some(status), retry_after: Some(secs(seconds)), ..failure(1) };
        assert_eq!(waited(retry.after(&asks(429, 7), MIDDLE)), 7_000);
        assert_eq!(waited(retry.after(&asks(503, 7), MIDDLE)), 7_000);
        assert_eq!(waited(retry.after(&asks(429, 0), MIDDLE)), 5_000);
        assert_eq!(waited(retry.after(&asks(429, 99_999), MIDDLE)), 3_600_000);
        assert_eq!(waited(retry.after(&asks(500, 7), MIDDLE)), 5_000, "only 429 and 503 may ask");
    }

    #[test]
    fn after_a_restart_no_attempt_is_further_away_than_the_longest_wait() {
        let retry = RetryPolicy::default();
        assert_eq!(retry.cut(NOW + 3_600_000, NOW), NOW + 3_600_000);
        assert_eq!(retry.cut(NOW + 3_600_001, NOW), NOW + 3_600_000);
        assert_eq!(retry.cut(NOW - 5, NOW), NOW - 5);
    }

    proptest! {
        #[test]
        fn no_wait_is_outside_of_its_jitter(attempts in 0_u32.., random in 0.0..1.0_f64, first in 1_u64..4_000) {
            let retry = RetryPolicy { backoff: Backoff::Doubling(secs(first)), ..RetryPolicy::default() };
            let wait = retry.wait(attempts, random);
            prop_assert!(wait <= retry.max_backoff);
            prop_assert!(wait >= secs(first).min(retry.max_backoff).mul_f64(0.79));
        }

        #[test]
        fn the_next_attempt_is_never_in_the_past(
            attempts in 0_u32..1_000, random in 0.0..1.0_f64, after in proptest::option::of(0_u64..), now in 0_i64..,
        ) {
            let failure = Failure {
                now, since: 0, attempts, status: Some(503), retry_after: after.map(Duration::from_secs),
            };
            if let Verdict::RetryAt(at) = RetryPolicy::default().after(&failure, random) {
                prop_assert!(at >= now);
                prop_assert!(at.saturating_sub(now) <= 3_600_000);
            }
        }
    }
}
