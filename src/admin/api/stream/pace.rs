//! Collects what a stream has to say, so that it says it in few events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::events;
use super::told::Told;

/// The time between two flushes, each of at most three events: ten events a second at most.
const BETWEEN: Duration = Duration::from_millis(300);
/// Deliveries of one event.
const TOGETHER: usize = 250;
/// Deliveries of each kind that wait for a flush; of more the oldest are left out.
const KEPT: usize = 2_000;

/// What a stream has to say.
#[derive(Debug)]
pub struct Pace {
    new: VecDeque<Arc<Told>>,
    changed: VecDeque<Arc<Told>>,
    left_out: u64,
    next_flush: Instant,
    /// The newest delivery that was sent.
    newest: Uuid,
}

/// What a flush says.
#[derive(Debug)]
pub struct Flush {
    new: Vec<Arc<Told>>,
    changed: Vec<Arc<Told>>,
    left_out: u64,
    newest: Uuid,
}

impl Flush {
    /// Deliveries and changes in it, and those that it leaves out.
    pub fn count(&self) -> u64 {
        self.left_out + (self.new.len() + self.changed.len()) as u64
    }

    /// The events to send, at most one of each kind.
    pub fn events(&self) -> Vec<Bytes> {
        let gap = (self.left_out > 0).then(|| events::gap(self.left_out));
        let new = (!self.new.is_empty()).then(|| events::delivery(&self.new, self.newest));
        let changed = (!self.changed.is_empty()).then(|| events::update(&self.changed));
        [gap, new, changed].into_iter().flatten().collect()
    }
}

impl Pace {
    /// Nothing to say yet.
    pub fn new(now: Instant) -> Self {
        Self { new: VecDeque::new(), changed: VecDeque::new(), left_out: 0, next_flush: now, newest: Uuid::nil() }
    }

    /// A delivery that is new or has changed.
    pub fn add(&mut self, told: Arc<Told>, is_new: bool) {
        let queue = if is_new { &mut self.new } else { &mut self.changed };
        queue.push_back(told);
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

    /// What to say now.
    pub fn flush(&mut self, now: Instant) -> Flush {
        self.next_flush = now + BETWEEN;
        let take = |queue: &mut VecDeque<Arc<Told>>| queue.drain(..queue.len().min(TOGETHER)).collect::<Vec<_>>();
        let (new, changed) = (take(&mut self.new), take(&mut self.changed));
        let left_out = std::mem::take(&mut self.left_out);
        if let Some(newest) = new.iter().map(|told| told.stored.delivery.id).max() {
            self.newest = self.newest.max(newest);
        }
        Flush { new, changed, left_out, newest: self.newest }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::{Delivery, RequestId, State, Stored, StoredDetails};

    fn told(number: u64) -> Arc<Told> {
        let none: Arc<str> = Arc::from("none");
        let delivery = Delivery {
            id: Uuid::from_u128(number.into()),
            received_at: 0,
            route: none.clone(),
            scheme: none,
            state: State::Refused,
            reason: None,
            status: None,
            event_type: None,
            event_id: None,
            request_id: RequestId::Unknown,
            peer: "".into(),
            method: "".into(),
            path: "".into(),
            request_bytes: 0,
            duration_ms: None,
            head: Bytes::new(),
            body: None,
            details: StoredDetails::default(),
        };
        Arc::new(Told::new(Stored::new(&delivery, 0, None)))
    }

    fn names(flush: &Flush) -> Vec<String> {
        let name = |event: &Bytes| String::from_utf8_lossy(event).lines().next().unwrap().to_owned();
        flush.events().iter().map(name).collect()
    }

    #[test]
    fn ten_events_a_second_are_enough_for_any_number_of_deliveries() {
        let start = clock().now();
        let mut pace = Pace::new(start);
        let (mut now, mut events) = (start, 0);
        for number in 0..100_000 {
            now += Duration::from_micros(100);
            pace.add(told(number), number % 2 == 0);
            if now >= pace.next_flush() {
                events += pace.flush(now).events().len();
            }
        }
        assert!(events <= 100, "{events} events in ten seconds");
    }

    fn clock() -> crate::clock::MonotonicClock {
        crate::clock::Clock::system().monotonic()
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let now = clock().now();
        let mut pace = Pace::new(now);
        assert!(!pace.has_something());
        for number in 0..KEPT as u64 + 3 {
            pace.add(told(number), true);
        }
        pace.leave_out(4);
        let flush = pace.flush(now);
        assert_eq!(names(&flush), ["event: gap", "event: delivery"]);
        assert!(flush.events()[0].ends_with(b"data: {\"count\":7}\n\n"), "{flush:?}");
        assert_eq!(flush.count(), 7 + TOGETHER as u64);
        let mut rest = 0;
        while pace.has_something() {
            rest += pace.flush(now).count();
        }
        assert_eq!(rest, (KEPT - TOGETHER) as u64);
    }

    #[test]
    fn the_id_never_goes_back() {
        let now = clock().now();
        let mut pace = Pace::new(now);
        let mut id_of = |number| {
            pace.add(told(number), true);
            let event = String::from_utf8_lossy(&pace.flush(now).events()[0]).into_owned();
            event.lines().find_map(|line| line.strip_prefix("id: ").map(str::to_owned)).unwrap()
        };
        assert_eq!(id_of(5), Uuid::from_u128(5).to_string());
        assert_eq!(id_of(4), Uuid::from_u128(5).to_string());
    }
}
