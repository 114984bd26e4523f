//! The circuit of one upstream, which all routes to it share, and those who use it.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Lane;
use crate::config::{Upstream, UrlPlace};
use crate::lock::lock;
use crate::queue::circuit::{Circuit, Pass, Phase, Settings, Signal};
use crate::store::backend::Sharing;
use crate::store::circuits::{CircuitEvent, KnownCircuits};

/// Where an upstream listens, each place with whether it speaks TLS.
pub type Places = Vec<(bool, UrlPlace)>;

/// The circuit of one upstream, for all routes to it.
pub struct Gate {
    circuit: Mutex<Circuit>,
    /// If gateways share the store: the upstream's name among them.
    shared: Option<(Uuid, Arc<Sharing>)>,
    started: Instant,
    /// Wakes the dispatchers of all routes to the upstream when attempts may go on.
    lanes: Mutex<Vec<Weak<Lane>>>,
    /// Locked after the circuit.
    users: Mutex<Vec<Arc<User>>>,
}

/// What a dispatcher asks of a circuit, and where it is shown.
struct User {
    settings: Settings,
    is_open: Option<IntGauge>,
}

/// A dispatcher's way to a circuit. The settings count until [`GateUse::end`], or until this is dropped.
pub struct GateUse {
    gate: Arc<Gate>,
    user: Arc<User>,
}

impl Gate {
    /// A closed circuit, or what gateways that share the store know of it. `started` is the moment from which its times are counted.
    pub fn new(places: &Places, settings: Settings, sharing: Option<&Arc<Sharing>>, started: Instant) -> Self {
        let shared = sharing.map(|sharing| (name(places), Arc::clone(sharing)));
        let mut circuit = Circuit::new(settings, shared.is_some());
        if let Some((name, sharing)) = &shared {
            circuit.hear(sharing.circuits.known(name), started, Duration::ZERO);
        }
        let circuit = Mutex::new(circuit);
        Self { circuit, shared, started, lanes: Mutex::default(), users: Mutex::default() }
    }

    /// From now on it wakes this lane, too.
    pub fn wakes(&self, lane: &Arc<Lane>) {
        let mut lanes = lock(&self.lanes);
        lanes.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&Arc::downgrade(lane)));
        lanes.push(Arc::downgrade(lane));
    }

    /// A dispatcher with these settings uses it; `is_open` shows whether it is open.
    pub fn begin_use(self: Arc<Self>, settings: Settings, is_open: Option<IntGauge>) -> GateUse {
        let user = Arc::new(User { settings, is_open });
        let mut circuit = lock(&self.circuit);
        lock(&self.users).push(user.clone());
        self.apply(&mut circuit);
        drop(circuit);
        GateUse { gate: self, user }
    }

    fn end_use(&self, user: &Arc<User>) {
        let mut circuit = lock(&self.circuit);
        lock(&self.users).retain(|other| !Arc::ptr_eq(other, user));
        self.apply(&mut circuit);
    }

    /// The strictest settings of all users count: the fewest failures and the shortest wait.
    fn apply(&self, circuit: &mut Circuit) {
        let strictest = |one: Settings, other: Settings| Settings {
            failures: one.failures.min(other.failures),
            max_wait: one.max_wait.min(other.max_wait),
        };
        if let Some(settings) = lock(&self.users).iter().map(|user| user.settings).reduce(strictest) {
            circuit.set(settings);
        }
        self.show(circuit);
    }

    /// Shows on all routes whether the circuit is open.
    fn show(&self, circuit: &Circuit) {
        let is_open = i64::from(circuit.phase() != Phase::Closed);
        lock(&self.users).iter().filter_map(|user| user.is_open.as_ref()).for_each(|gauge| gauge.set(is_open));
    }

    /// Asks for an attempt at `now`; `None` if it has to wait.
    pub fn enter(&self, now: Instant) -> Option<Pass> {
        lock(&self.circuit).enter(self.elapsed(now))
    }

    /// An attempt has ended.
    pub fn leave(&self, pass: Pass, signal: Signal, now: Instant) {
        let mut circuit = lock(&self.circuit);
        let was_closed = circuit.phase() == Phase::Closed;
        self.tell(circuit.leave(pass, signal, self.elapsed(now)));
        if (circuit.phase() == Phase::Closed) != was_closed {
            self.show(&circuit);
        }
        drop(circuit);
        self.wake_lanes();
    }

    /// Each dispatcher finds out what it may do now.
    fn wake_lanes(&self) {
        for lane in lock(&self.lanes).iter().filter_map(Weak::upgrade).filter(|lane| lane.has_backlog()) {
            lane.wake.notify_one();
        }
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

    /// This is what all gateways know `now`.
    pub fn hear(&self, known: &KnownCircuits, now: Instant) {
        let Some((name, sharing)) = &self.shared else { return };
        let mut circuit = lock(&self.circuit);
        let known = known.get(name).copied().unwrap_or_default();
        if sharing.circuits.is_untold(name) || !circuit.hear(known, self.started, self.elapsed(now)) {
            return;
        }
        self.show(&circuit);
        drop(circuit);
        self.wake_lanes();
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

impl GateUse {
    /// A newer generation takes over: the settings do not count any more, and the circuit is not shown here.
    pub fn end(&self) {
        self.gate.end_use(&self.user);
    }
}

impl Deref for GateUse {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for GateUse {
    fn drop(&mut self) {
        self.end();
    }
}

/// Circuits are told apart by the places of the upstream's URLs: several URLs have one circuit together, since an attempt fails
/// only if it fails at all of them.
pub fn key(upstream: &Upstream) -> Places {
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
    is_name
        || host.parse().is_ok_and(|address: IpAddr| {
            let address = address.to_canonical();
            // The unspecified address leads to the machine itself.
            address.is_loopback() || address.is_unspecified()
        })
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
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1", "handler", "::2"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
