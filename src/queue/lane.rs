//! What all threads know of the queue of one route.

pub mod gate;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use self::gate::{Gate, GateUse, Places, key};
use super::circuit::{Phase, Settings};
use super::retry::RetryPolicy;
use crate::clock::Clock;
use crate::config::{self, Delivery, Upstream};
use crate::lock::lock;
use crate::routing::rate::Bucket;
use crate::store::{Millis, Store, millis};

/// Deliveries of a route that may stand in line for a place, and their bytes.
const LINE: Line = Line { deliveries: 512, bytes: 8 << 20 };

/// The queue, over all threads and reloads.
pub struct Queue {
    /// Where deliveries are kept.
    pub store: Store,
    /// Monotonic time, and the wall-clock time that it stood for at the start. Waiting goes by the monotonic clock, so that a
    /// jump of the wall clock moves no attempt.
    started: (Instant, Duration),
    lanes: Arc<Mutex<HashMap<String, Arc<Lane>>>>,
    gates: Gates,
}

/// The circuits by upstream.
type Gates = Arc<Mutex<HashMap<Places, Weak<Gate>>>>;

/// The queue of one route. It outlives a reload.
#[derive(Default)]
pub struct Lane {
    /// Attempts under way.
    in_flight: AtomicU32,
    /// Holds attempts to `max_rate`.
    pub rate: Bucket,
    /// Deliveries wait in the store that could be attempted: an attempt that ends wakes the dispatcher. One side sets this
    /// and then reads `in_flight`, the other the reverse; with an order weaker than `SeqCst` both could miss the other.
    backlog: AtomicBool,
    /// Wakes the route's dispatcher.
    pub wake: Notify,
    /// Those that have just been stored and stand in line for a place, in memory.
    line: Mutex<Line>,
    /// Wakes the first in the line.
    freed: Notify,
    /// When attempts are made again by the configuration that runs, also after one that began under another.
    policy: Mutex<Arc<RetryPolicy>>,
}

/// How many deliveries stand in line, and how many bytes they have.
#[derive(Default)]
struct Line {
    deliveries: usize,
    bytes: usize,
}

/// A delivery that stands in line for a place; dropped, it has left.
pub struct InLine {
    lane: Arc<Lane>,
    bytes: usize,
    has_place: bool,
}

/// A place among a route's `max_concurrent` attempts, given back on drop.
pub struct Slot {
    lane: Arc<Lane>,
    /// No attempt was made, so the dispatcher need not hear of it.
    unused: bool,
}

impl Queue {
    /// A queue in `store`.
    pub fn new(store: Store, clock: &Clock) -> Self {
        Self::since((clock.now(), clock.unix()), store, clock)
    }

    /// The same, whose time counts from this moment.
    pub(super) fn since(started: (Instant, Duration), store: Store, clock: &Clock) -> Self {
        let lanes = Arc::default();
        let of_store = Arc::clone(&lanes);
        store.on_due(move |route| wake(&of_store, route));
        let gates = Gates::default();
        let (of_store, time) = (Arc::clone(&gates), clock.monotonic());
        store.on_circuits(move |known| {
            let gates: Vec<Arc<Gate>> = lock(&of_store).values().filter_map(Weak::upgrade).collect();
            let now = time.now();
            gates.iter().for_each(|gate| gate.hear(known, now));
        });
        Self { store, started, lanes, gates }
    }

    /// A moment of the monotonic clock as the store counts time.
    pub fn millis(&self, now: Instant) -> Millis {
        let unix = self.started.1 + now.saturating_duration_since(self.started.0);
        millis(unix)
    }

    /// How long it is from `now` to a time of the store.
    pub fn until(&self, at: Millis, now: Instant) -> Duration {
        Duration::from_millis(u64::try_from(at.saturating_sub(self.millis(now))).unwrap_or_default())
    }

    /// The queue of a route.
    pub fn lane(&self, route: &str) -> Arc<Lane> {
        lock(&self.lanes).entry(route.to_owned()).or_insert_with(|| Arc::new(Lane::new())).clone()
    }

    /// Wakes the dispatcher of a route, if there is one.
    pub fn wake(&self, route: &str) {
        wake(&self.lanes, route);
    }

    /// What people see of the circuit that holds back a route; closed if there is none.
    pub fn phase(&self, route: &config::Route) -> Phase {
        if !matches!(&route.delivery, Delivery::Queue(queue) if queue.circuit.is_some()) {
            return Phase::Closed;
        }
        let gate = lock(&self.gates).get(&key(&route.upstream)).and_then(Weak::upgrade);
        gate.map_or(Phase::Closed, |gate| gate.phase())
    }

    /// The circuit of an upstream, for one of its routes. `lane` is woken when it closes; `is_open` shows whether it is open.
    pub fn gate(
        &self,
        upstream: &Upstream,
        settings: Settings,
        lane: &Arc<Lane>,
        is_open: Option<IntGauge>,
    ) -> GateUse {
        let places = key(upstream);
        let mut gates = lock(&self.gates);
        gates.retain(|_, gate| gate.strong_count() > 0);
        let known = gates.get(&places).and_then(Weak::upgrade);
        let new = || Arc::new(Gate::new(&places, settings, self.store.sharing(), self.started.0));
        let gate = known.unwrap_or_else(new);
        gates.insert(places, Arc::downgrade(&gate));
        gate.wakes(lane);
        gate.begin_use(settings, is_open)
    }
}

impl Lane {
    fn new() -> Self {
        // Deliveries of the last run may wait.
        Self { backlog: AtomicBool::new(true), ..Self::default() }
    }

    /// When failed attempts are made again.
    pub fn policy(&self) -> Arc<RetryPolicy> {
        lock(&self.policy).clone()
    }

    /// Says when failed attempts are made again from now on.
    pub fn set_policy(&self, policy: RetryPolicy) {
        *lock(&self.policy) = Arc::new(policy);
    }

    /// A place for one more attempt, if fewer than `max` are under way.
    pub fn enter(self: &Arc<Self>, max: u32) -> Option<Slot> {
        let one_more = |count: u32| (count < max).then_some(count + 1);
        let entered = self.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        entered.ok().map(|_| Slot { lane: self.clone(), unused: false })
    }

    /// Whether deliveries stand in line for a place.
    pub fn has_line(&self) -> bool {
        lock(&self.line).deliveries > 0
    }

    /// Stands in line for a place, and says whether it is the first; `None` if the line is too long.
    pub fn stand_in_line(self: &Arc<Self>, bytes: usize) -> Option<(InLine, bool)> {
        let mut line = lock(&self.line);
        if line.deliveries >= LINE.deliveries || line.bytes.saturating_add(bytes) > LINE.bytes {
            return None;
        }
        let is_first = line.deliveries == 0;
        line.deliveries += 1;
        line.bytes += bytes;
        Some((InLine { lane: self.clone(), bytes, has_place: false }, is_first))
    }

    /// How many more attempts than there are may be under way.
    pub fn free(&self, max: u32) -> u32 {
        max.saturating_sub(self.in_flight.load(Ordering::SeqCst))
    }

    /// Whether deliveries wait in the store that could be attempted.
    pub fn has_backlog(&self) -> bool {
        self.backlog.load(Ordering::SeqCst)
    }

    /// Says whether deliveries wait in the store that could be attempted.
    pub fn set_backlog(&self, backlog: bool) {
        self.backlog.store(backlog, Ordering::SeqCst);
    }
}

impl InLine {
    /// Completes when a place may be free. Enabled before one looks for a place, it misses none that becomes free meanwhile.
    pub fn freed(&self) -> Notified<'_> {
        self.lane.freed.notified()
    }

    /// Leaves with a place.
    pub fn leave_with_place(mut self) {
        self.has_place = true;
    }
}

/// The next one in the line finds out what it may do. After one that got a place it is not asked: it would find none, and
/// stand behind the others then; an attempt that ends wakes it.
impl Drop for InLine {
    fn drop(&mut self) {
        let mut line = lock(&self.lane.line);
        line.deliveries -= 1;
        line.bytes -= self.bytes;
        if line.deliveries == 0 {
            drop(line);
            // An attempt that has ended meanwhile has told the line alone.
            if self.lane.has_backlog() {
                self.lane.wake.notify_one();
            }
        } else if !self.has_place {
            self.lane.freed.notify_one();
        }
    }
}

impl Slot {
    /// Gives it back without an attempt.
    pub fn give_back(mut self) {
        self.unused = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.lane.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.lane.has_line() {
            self.lane.freed.notify_one();
        } else if !self.unused && self.lane.has_backlog() {
            self.lane.wake.notify_one();
        }
    }
}

fn wake(lanes: &Mutex<HashMap<String, Arc<Lane>>>, route: &str) {
    if let Some(lane) = lock(lanes).get(route) {
        lane.backlog.store(true, Ordering::SeqCst);
        lane.wake.notify_one();
    }
}
