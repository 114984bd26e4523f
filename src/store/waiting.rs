//! A delivery's place in the queue: what a failed attempt and a replay make of it, for stores that keep it as a value.

use super::types::Millis;

/// A delivery's place in the queue, for one destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// When the next attempt is due.
    pub due_at: Millis,
    /// How many attempts were made at this destination.
    pub attempts: u32,
    /// How many of them count for giving up: a replay starts again from 0.
    pub counted: u32,
    /// From when on `max_age` is counted: the receipt, or the last replay.
    pub since: Millis,
    /// A person asked for the next attempt.
    pub replay: bool,
    /// The next attempt is the only one: a replay of what had been delivered.
    pub once: bool,
}

impl Waiting {
    /// One that was just received.
    pub fn received(at: Millis) -> Self {
        Self { due_at: at, attempts: 0, counted: 0, since: at, replay: false, once: false }
    }

    /// One that did not wait and is replayed; `attempts` were made before.
    pub fn replayed(attempts: u32, due_at: Millis, since: Millis, once: bool) -> Self {
        Self { due_at, attempts, counted: 0, since, replay: true, once }
    }

    /// Whether a replay of it waits for its attempt at this time: another one would be the same.
    pub fn is_replayed(&self, at: Millis) -> bool {
        self.replay && self.due_at <= at
    }

    /// It is replayed while it waits.
    pub fn replay(&mut self, due_at: Millis, since: Millis) {
        (self.due_at, self.counted, self.since, self.replay) = (self.due_at.min(due_at), 0, since, true);
    }

    /// An attempt has failed, and there is to be another one.
    pub fn retry(&mut self, due_at: Millis) {
        self.due_at = due_at;
        self.attempts += 1;
        self.counted += 1;
        self.replay = false;
    }

    /// An attempt of before its replay has ended: the replay goes on with the numbers.
    pub fn count_from(&mut self, number: u32) {
        self.attempts = self.attempts.max(number);
    }
}
