//! Several URLs of one upstream: which one gets the next message, and which one rests.
//!
//! They get messages in turn. One that no connection can be made to rests: for [`FIRST_REST`], then twice as long each time, up to
//! [`LONGEST_REST`]. After each rest one message tries it, while the others still pass it over. If all rest, a message tries all of
//! them, the one first whose rest ends first: resting never keeps a message from being sent.
//!
//! A message goes to another URL only if no connection to the one before could be made, so that none of it is on its way there, or
//! if it [may be sent twice](super::pool). No message goes to the same URL twice.
//!
//! Pure: times are arguments, of a monotonic clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How long a URL rests at first.
pub const FIRST_REST: Duration = Duration::from_secs(5);
/// How long it rests at most.
pub const LONGEST_REST: Duration = Duration::from_secs(60);

/// The state of the URLs, which all threads share.
pub struct Rotation {
    /// Counts the messages.
    next: AtomicUsize,
    /// The rest of each URL; `None` if it does not rest.
    rests: Vec<Mutex<Option<Rest>>>,
}

/// The rest of a URL.
#[derive(Clone, Copy)]
struct Rest {
    until: Instant,
    length: Duration,
}

/// A URL that a message tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The position of the URL.
    pub url: usize,
    /// Its rest has just ended, and this message finds out whether it can be reached.
    is_trial: bool,
}

impl Turn {
    /// The only URL of an upstream.
    pub const ONLY: Self = Self { url: 0, is_trial: false };
}

impl Rotation {
    /// That of this many URLs.
    pub fn new(urls: usize) -> Self {
        Self { next: AtomicUsize::new(0), rests: (0..urls).map(|_| Mutex::default()).collect() }
    }

    /// The URL that a message tries at `now`, after those that it has `tried`; `None` if these were all.
    pub fn turn(&self, now: Instant, tried: &[usize]) -> Option<Turn> {
        // The next one in turn also after one that was tried: otherwise the neighbour of one that rests would get its messages.
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.rests.len().max(1);
        let untried = (0..count).map(|offset| first.wrapping_add(offset) % count).filter(|url| !tried.contains(url));
        let mut resting: Option<(Instant, usize)> = None;
        for (url, rest) in untried.filter_map(|url| Some((url, self.rests.get(url)?))) {
            let mut rest = lock(rest);
            match &mut *rest {
                None => return Some(Turn { url, is_trial: false }),
                Some(rest) if rest.until <= now => {
                    // Until it is known what becomes of the trial, others pass it over.
                    rest.until = now + rest.length;
                    return Some(Turn { url, is_trial: true });
                }
                Some(rest) => {
                    if resting.is_none_or(|(until, _)| rest.until < until) {
                        resting = Some((rest.until, url));
                    }
                }
            }
        }
        resting.map(|(_, url)| Turn { url, is_trial: false })
    }

    /// No connection could be made. Returns for how long it rests from `now` on, if that is new.
    pub fn unreachable(&self, turn: Turn, now: Instant) -> Option<Duration> {
        let mut rest = lock(self.rests.get(turn.url)?);
        let length = match *rest {
            None => FIRST_REST,
            Some(Rest { length, .. }) if turn.is_trial => (length * 2).min(LONGEST_REST),
            // Another message has found out before.
            Some(_) => return None,
        };
        *rest = Some(Rest { until: now + length, length });
        Some(length)
    }

    /// A connection was there. Returns whether the URL had been resting.
    pub fn reached(&self, turn: Turn) -> bool {
        self.rests.get(turn.url).is_some_and(|rest| lock(rest).take().is_some())
    }

    /// Whether a connection could be made when one was last needed; a URL that has not been tried counts as one that can be reached.
    pub fn is_reachable(&self, url: usize) -> bool {
        self.rests.get(url).is_none_or(|rest| lock(rest).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn urls(rotation: &Rotation, now: Instant, count: usize) -> Vec<usize> {
        (0..count).map(|_| rotation.turn(now, &[]).unwrap().url).collect()
    }

    #[test]
    fn messages_go_to_all_in_turn() {
        let (rotation, now) = (Rotation::new(3), Clock::system().now());
        assert_eq!(urls(&rotation, now, 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn one_that_cannot_be_reached_rests_twice_as_long_each_time_and_one_message_tries_it_after_each() {
        let (rotation, start) = (Rotation::new(2), Clock::system().now());
        let (mut now, mut turn) = (start, rotation.turn(start, &[]).unwrap());
        for length in [5, 10, 20, 40, 60, 60] {
            assert_eq!(rotation.unreachable(turn, now), Some(secs(length)));
            assert_eq!(rotation.unreachable(Turn { is_trial: false, ..turn }, now), None, "it rests already");
            assert!(!rotation.is_reachable(0));
            assert_eq!(urls(&rotation, now + secs(length) - Duration::from_millis(1), 4), [1; 4]);
            now += secs(length);
            let tries: Vec<Turn> = (0..4).map(|_| rotation.turn(now, &[]).unwrap()).collect();
            let trials: Vec<&Turn> = tries.iter().filter(|turn| turn.url == 0).collect();
            assert_eq!(trials, [&Turn { url: 0, is_trial: true }]);
            turn = *trials[0];
        }
        assert!(rotation.reached(turn));
        assert!(!rotation.reached(turn), "it rested once");
        assert!(rotation.is_reachable(0));
        assert_eq!(
            rotation.unreachable(rotation.turn(now, &[1]).unwrap(), now),
            Some(FIRST_REST),
            "from the beginning"
        );
    }

    #[test]
    fn a_trial_of_which_nothing_is_heard_is_made_again() {
        let (rotation, now) = (Rotation::new(2), Clock::system().now());
        rotation.unreachable(Turn { url: 0, is_trial: false }, now);
        assert!(urls(&rotation, now + secs(5), 2).contains(&0));
        assert_eq!(urls(&rotation, now + secs(9), 4), [1; 4]);
        assert!(urls(&rotation, now + secs(10), 2).contains(&0));
    }

    #[test]
    fn a_message_tries_each_once_also_if_all_rest() {
        let (rotation, now) = (Rotation::new(3), Clock::system().now());
        for (url, earlier) in [(1, 2), (0, 1), (2, 0)] {
            rotation.unreachable(Turn { url, is_trial: false }, now - secs(earlier));
        }
        let mut tried = Vec::new();
        while let Some(turn) = rotation.turn(now, &tried) {
            assert_eq!(rotation.unreachable(turn, now), None);
            tried.push(turn.url);
        }
        assert_eq!(tried, [1, 0, 2], "the one first whose rest ends first");
    }
}
