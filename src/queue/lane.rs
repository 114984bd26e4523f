//! What all threads know of the queue of one route.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use super::circuit::{Circuit, Pass, Phase, Settings, Signal};
use super::retry::RetryPolicy;
use crate::clock::Clock;
use crate::config::{Upstream, UrlPlace};
use crate::lock::lock;
use crate::routing::rate::Bucket;
use crate::store::backend::Sharing;
use crate::store::circuits::{CircuitEvent, KnownCircuits};
use crate::store::{Millis, Store, millis};

/// Deliveries of a route that may stand in line for a place, and their bytes.
const LINE: Line = Line { deliveries: 512, bytes: 8 << 20 };

/// Where an upstream listens, each place with whether it speaks TLS.
type Places = Vec<(bool, UrlPlace)>;

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

/// The circuit of one upstream, for all routes to it.
pub struct Gate {
    circuit: Mutex<Circuit>,
    /// If gateways share the store: the upstream's name among them.
    shared: Option<(Uuid, Arc<Sharing>)>,
    started: Instant,
    /// Wakes the dispatchers of all routes to the upstream when attempts may go on.
    lanes: Mutex<Vec<Weak<Lane>>>,
}

impl Queue {
    /// A queue in `store`.
    pub fn new(store: Store, clock: &Clock) -> Self {
        let started = (clock.now(), clock.unix());
        let lanes = Arc::default();
        let of_store = Arc::clone(&lanes);
        store.on_due(move |route| wake(&of_store, route));
        let gates = Gates::default();
        let of_store = Arc::clone(&gates);
        store.on_circuits(move |known| {
            let gates: Vec<Arc<Gate>> = lock(&of_store).values().filter_map(Weak::upgrade).collect();
            gates.iter().for_each(|gate| gate.hear(known));
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

    /// What people see of the circuit of an upstream; closed if it has none.
    pub fn phase(&self, upstream: &Upstream) -> Phase {
        let gate = lock(&self.gates).get(&key(upstream)).and_then(Weak::upgrade);
        gate.map_or(Phase::Closed, |gate| gate.phase())
    }

    /// The circuit of an upstream, as one of its routes sets it. `lane` is woken when it closes.
    pub fn gate(&self, upstream: &Upstream, settings: Settings, lane: &Arc<Lane>) -> Arc<Gate> {
        let places = key(upstream);
        let mut gates = lock(&self.gates);
        gates.retain(|_, gate| gate.strong_count() > 0);
        let known = gates.get(&places).and_then(Weak::upgrade);
        let gate = known.unwrap_or_else(|| {
            let shared = self.store.sharing().map(|sharing| (name(&places), Arc::clone(sharing)));
            let mut circuit = Circuit::new(settings, shared.is_some());
            if let Some((name, sharing)) = &shared {
                circuit.hear(sharing.circuits.known(name), self.started.0);
            }
            Arc::new(Gate { circuit: Mutex::new(circuit), shared, started: self.started.0, lanes: Mutex::default() })
        });
        gates.insert(places, Arc::downgrade(&gate));
        lock(&gate.circuit).set(settings);
        let mut lanes = lock(&gate.lanes);
        lanes.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&Arc::downgrade(lane)));
        lanes.push(Arc::downgrade(lane));
        drop(lanes);
        gate
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

impl Gate {
    /// Asks for an attempt at `now`; `None` if it has to wait.
    pub fn enter(&self, now: Instant) -> Option<Pass> {
        lock(&self.circuit).enter(self.elapsed(now))
    }

    /// An attempt has ended; says whether the circuit is open now.
    pub fn leave(&self, pass: Pass, signal: Signal, now: Instant) -> bool {
        let mut circuit = lock(&self.circuit);
        self.tell(circuit.leave(pass, signal, self.elapsed(now)));
        let phase = circuit.phase();
        drop(circuit);
        // Each dispatcher finds out what it may do now.
        for lane in lock(&self.lanes).iter().filter_map(Weak::upgrade).filter(|lane| lane.has_backlog()) {
            lane.wake.notify_one();
        }
        phase != Phase::Closed
    }

    /// An attempt was not made after all.
    pub fn cancel(&self, pass: Pass) {
        let mut circuit = lock(&self.circuit);
        self.tell(circuit.cancel(pass));
    }

    /// The upstream's name among gateways that share the circuit, if they are to be asked before an attempt at `now`.
    pub fn must_ask(&self, now: Instant) -> Option<Uuid> {
        let (name, _) = self.shared.as_ref()?;
        lock(&self.circuit).must_ask(self.elapsed(now)).then_some(*name)
    }

    /// No attempt is made though this gateway may probe.
    pub fn give_up_probe(&self) {
        let mut circuit = lock(&self.circuit);
        self.tell(circuit.give_up_probe());
    }

    /// Tells those who share the circuit. Under its lock: what they know counts only if nothing is left to tell.
    fn tell(&self, event: Option<CircuitEvent>) {
        if let (Some((name, sharing)), Some(event)) = (&self.shared, event) {
            sharing.circuits.tell(*name, event);
        }
    }

    /// This is what all gateways know.
    fn hear(&self, known: &KnownCircuits) {
        let Some((name, sharing)) = &self.shared else { return };
        let mut circuit = lock(&self.circuit);
        if sharing.circuits.is_untold(name) || !circuit.hear(known.get(name).copied().unwrap_or_default(), self.started)
        {
            return;
        }
        drop(circuit);
        // Also those with nothing to send: they keep the metric.
        for lane in lock(&self.lanes).iter().filter_map(Weak::upgrade) {
            lane.wake.notify_one();
        }
    }

    /// What people see.
    pub fn phase(&self) -> Phase {
        lock(&self.circuit).phase()
    }

    /// When to ask again, if the time alone decides.
    pub fn wakes_at(&self) -> Option<Instant> {
        lock(&self.circuit).wakes_at().map(|at| self.started + at)
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

fn wake(lanes: &Mutex<HashMap<String, Arc<Lane>>>, route: &str) {
    if let Some(lane) = lock(lanes).get(route) {
        lane.backlog.store(true, Ordering::SeqCst);
        lane.wake.notify_one();
    }
}

/// Circuits are told apart by the places of the upstream's URLs: several URLs have one circuit together, since an attempt fails
/// only if it fails at all of them.
fn key(upstream: &Upstream) -> Places {
    let mut places: Places = upstream.urls.iter().map(|url| (url.tls, url.place.clone())).collect();
    places.sort_unstable();
    places
}

/// The name of an upstream among gateways: the same for the same places. A place on the gateway's own machine is another one
/// on each machine.
fn name(places: &Places) -> Uuid {
    let mut digest = Sha256::new();
    for (tls, place) in places {
        let (place, is_local) = match place {
            UrlPlace::Tcp { host, port } => (format!("tls={tls} port={port} host={host}"), is_local(host)),
            UrlPlace::Unix(path) => (format!("path={}", path.display()), true),
        };
        digest.update(place);
        digest.update([0]);
        if is_local {
            digest.update(rustix::system::uname().nodename().to_bytes());
        }
        digest.update([0]);
    }
    let digest: [u8; 32] = digest.finalize().into();
    Uuid::from_u128(digest.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
}

fn is_local(host: &str) -> bool {
    let is_name = host == "localhost" || host.ends_with(".localhost");
    is_name || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> (bool, UrlPlace) {
        (false, UrlPlace::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn an_upstream_has_a_name_by_all_that_tells_it_apart() {
        let places = [
            vec![tcp("a.example", 80)],
            vec![tcp("a.example", 81)],
            vec![(true, tcp("a.example", 80).1)],
            vec![tcp("a.example", 80), tcp("b.example", 80)],
            vec![tcp("127.0.0.1", 80)],
            vec![(false, UrlPlace::Unix("/run/a".into()))],
        ];
        let names: Vec<Uuid> = places.iter().map(name).collect();
        let different: std::collections::HashSet<&Uuid> = names.iter().collect();
        assert_eq!(different.len(), places.len());
        assert_eq!(names, places.iter().map(name).collect::<Vec<_>>());
    }

    #[test]
    fn only_names_and_addresses_of_the_machine_itself_are_local() {
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1", "handler", "::2"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
