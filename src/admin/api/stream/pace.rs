//! Collects what a stream has to say, so that it says it in few events.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::events;
use crate::store::Stored;

/// The time between two flushes, each of at most three events: ten events a second at most.
const BETWEEN: Duration = Duration::from_millis(300);
/// Deliveries of one event.
const TOGETHER: usize = 250;
/// Deliveries of each kind that wait for a flush; of more the oldest are left out.
const KEPT: usize = 2_000;

/// What a stream has to say.
#[derive(Debug)]
pub struct Pace {
    new: VecDeque<Stored>,
    changed: VecDeque<Stored>,
    left_out: u64,
    next_flush: Instant,
    /// The newest delivery that was sent.
    newest: Uuid,
}

/// The events of a flush.
#[derive(Debug)]
pub struct Flush {
    /// At most one of each kind.
    pub events: Vec<Bytes>,
    /// Deliveries and changes in them, and those that they leave out.
    pub count: u64,
}

impl Pace {
    /// Nothing to say yet.
    pub fn new(now: Instant) -> Self {
        Self { new: VecDeque::new(), changed: VecDeque::new(), left_out: 0, next_flush: now, newest: Uuid::nil() }
    }

    /// A delivery that is new or has changed.
    pub fn add(&mut self, stored: Stored, is_new: bool) {
        let queue = if is_new { &mut self.new } else { &mut self.changed };
        queue.push_back(stored);
        if queue.len() > KEPT {
            queue.pop_front();
            self.left_out += 1;
        }
    }

    /// Some that are not known.
    pub fn leave_out(&mut self, count: u64) {
        self.left_out += count;
    }

    /// Whether there is something to say.
    pub fn has_something(&self) -> bool {
        !self.new.is_empty() || !self.changed.is_empty() || self.left_out > 0
    }

    /// When it may be said.
    pub fn next_flush(&self) -> Instant {
        self.next_flush
    }

    /// The events to send now.
    pub fn flush(&mut self, now: Instant) -> Flush {
        self.next_flush = now + BETWEEN;
        let take = |queue: &mut VecDeque<Stored>| queue.drain(..queue.len().min(TOGETHER)).collect::<Vec<_>>();
        let (new, changed) = (take(&mut self.new), take(&mut self.changed));
        let left_out = std::mem::take(&mut self.left_out);
        let mut events = Vec::new();
        if left_out > 0 {
            events.push(events::gap(left_out));
        }
        if let Some(newest) = new.iter().map(|stored| stored.delivery.id).max() {
            self.newest = self.newest.max(newest);
            events.push(events::delivery(&new, self.newest));
        }
        if !changed.is_empty() {
            events.push(events::update(&changed));
        }
        Flush { events, count: left_out + (new.len() + changed.len()) as u64 }
    }
}
