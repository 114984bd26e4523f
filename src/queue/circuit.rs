//! The circuit of an upstream: attempts wait while it is down, and come back slowly when it is up again.
//!
//! One for each upstream, for all routes to it. After `failures` attempts in a row that could not connect, timed out, or
//! got 429, 502, 503 or 504, it opens: deliveries wait and use up no attempts. A probe is one attempt, after 1 s, 2 s,
//! 4 s … `max_wait`. Its success closes the circuit; then 1, 2, 4 … attempts may be under way at once, twice as many after each
//! round of successes, up to the routes' own bounds. Any other failure, a 500 or a 404, says that the upstream is there: it
//! ends a row of failures, and does not speed up the return.
//!
//! Gateways that share a store share the circuits: each goes by its own, says what has happened ([`CircuitEvent`]), and
//! [hears](Circuit::hear) what all know. So the failures of all count, and a probe begins only if the store allows it. A gateway
//! whose last attempt has succeeded a moment ago goes on though others have opened the circuit: what fails is their way there.
//!
//! Pure: times are arguments, of a monotonic clock.

use std::time::{Duration, Instant};

use crate::store::circuits::{CircuitEvent, Prober, SharedCircuit};

/// The first wait for a probe.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// For how long a gateway goes by its own last success. What others know is heard each second.
const OWN_SUCCESS: Duration = Duration::from_secs(2);

/// The keys of `circuit` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The longest wait for a probe.
    pub max_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 10, max_wait: Duration::from_secs(60) }
    }
}

/// What an attempt says about its upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// It took the delivery.
    Success,
    /// It is down or overloaded: no connection, a timeout, 429, 502, 503, 504.
    Down,
    /// It answered, and refused this delivery.
    Refused,
}

impl Signal {
    /// What a status, or none because of a fault of the connection or a timeout, says.
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Success,
            None | Some(429 | 502 | 503 | 504) => Self::Down,
            Some(_) => Self::Refused,
        }
    }
}

/// What people see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Attempts are made.
    Closed,
    /// Deliveries wait.
    Open,
    /// Deliveries wait, and one of them is attempted.
    Probing,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        /// Failures in a row.
        failures: u32,
        /// How many attempts may be under way; `None` for as many as the routes allow.
        ramp: Option<Ramp>,
    },
    Open {
        /// When the next probe may begin.
        probe_at: Duration,
        /// How long it waited for this probe.
        wait: Duration,
        probe: Probe,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Probe {
    /// None is under way.
    Waits,
    /// The store allows it to this gateway.
    Allowed,
    UnderWay,
    /// Another gateway makes it.
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
struct Ramp {
    allowed: u32,
    /// Successes since this many are allowed.
    successes: u32,
}

/// The circuit of one upstream.
#[derive(Clone, Debug)]
pub struct Circuit {
    settings: Settings,
    is_shared: bool,
    state: State,
    in_flight: u32,
    /// When the last attempt succeeded, if no later one says that the upstream is down.
    succeeded_at: Option<Duration>,
}

/// An attempt that the circuit lets through: handed back with what came of it.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an attempt that is not handed back holds its place"]
pub struct Pass {
    probe: bool,
}

impl Circuit {
    /// A closed one, which this gateway has for itself or shares with others.
    pub fn new(settings: Settings, is_shared: bool) -> Self {
        Self { settings, is_shared, state: State::Closed { failures: 0, ramp: None }, in_flight: 0, succeeded_at: None }
    }

    /// Other settings, from the next attempt on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Asks for an attempt; `None` if it has to wait.
    pub fn enter(&mut self, now: Duration) -> Option<Pass> {
        let probe = match &mut self.state {
            State::Closed { ramp, .. } => {
                if ramp.is_some_and(|ramp| self.in_flight >= ramp.allowed) {
                    return None;
                }
                false
            }
            State::Open { probe_at, probe, .. } => {
                let may = match probe {
                    Probe::Waits => !self.is_shared && now >= *probe_at,
                    Probe::Allowed => true,
                    Probe::UnderWay | Probe::Elsewhere => false,
                };
                if !may {
                    return None;
                }
                *probe = Probe::UnderWay;
                true
            }
        };
        self.in_flight += 1;
        Some(Pass { probe })
    }

    /// An attempt has ended; gives what those have to know who share the circuit.
    pub fn leave(&mut self, pass: Pass, signal: Signal, now: Duration) -> Option<CircuitEvent> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Settings { failures: limit, max_wait } = self.settings;
        match signal {
            Signal::Success => self.succeeded_at = Some(now),
            Signal::Down => self.succeeded_at = None,
            Signal::Refused => {}
        }
        match (&mut self.state, signal) {
            (State::Closed { failures, .. }, Signal::Down) => {
                *failures = failures.saturating_add(1);
                if *failures >= limit {
                    self.open(FIRST_WAIT, now);
                }
                Some(CircuitEvent::Failed { limit, wait: FIRST_WAIT.min(max_wait) })
            }
            (State::Closed { failures, ramp }, Signal::Success | Signal::Refused) => {
                if signal == Signal::Success {
                    *ramp = ramp.and_then(Ramp::after_success);
                }
                (std::mem::take(failures) > 0).then_some(CircuitEvent::Answered)
            }
            (State::Open { wait, .. }, Signal::Down) if pass.probe => {
                let wait = wait.saturating_mul(2);
                self.open(wait, now);
                Some(CircuitEvent::ProbeFailed(max_wait))
            }
            // A success of an attempt that began before is as good as that of a probe. The probe, if one is under way, is
            // then an attempt like others.
            (State::Open { .. }, Signal::Success) => self.answered(),
            (State::Open { .. }, Signal::Refused) if pass.probe => self.answered(),
            (State::Open { .. }, Signal::Down | Signal::Refused) => None,
        }
    }

    /// An attempt was not made after all; gives what those have to know who share the circuit.
    pub fn cancel(&mut self, pass: Pass) -> Option<CircuitEvent> {
        self.in_flight = self.in_flight.saturating_sub(1);
        match &mut self.state {
            State::Open { probe: probe @ Probe::UnderWay, .. } if pass.probe => {
                *probe = Probe::Waits;
                Some(CircuitEvent::ProbeCancelled)
            }
            State::Open { .. } | State::Closed { .. } => None,
        }
    }

    /// Whether the store is to be asked before a probe.
    pub fn must_ask(&self, now: Duration) -> bool {
        let is_due = matches!(self.state, State::Open { probe_at, probe: Probe::Waits, .. } if now >= probe_at);
        self.is_shared && is_due
    }

    /// The store was asked, and no probe is made, unless one has begun; gives what those have to know who share the circuit. It
    /// may have been allowed though this circuit has not heard of it.
    pub fn give_up_probe(&mut self) -> Option<CircuitEvent> {
        match &mut self.state {
            State::Open { probe: Probe::UnderWay, .. } => return None,
            State::Open { probe: probe @ Probe::Allowed, .. } => *probe = Probe::Waits,
            State::Open { .. } | State::Closed { .. } => {}
        }
        Some(CircuitEvent::ProbeCancelled)
    }

    /// This is what all know who share the circuit `now`; says whether it changes what this gateway may do. `started` is the
    /// moment from which times are counted.
    pub fn hear(&mut self, known: SharedCircuit, started: Instant, now: Duration) -> bool {
        let before = (self.phase(), self.wakes_at());
        let succeeds = self.succeeded_at.is_some_and(|at| now.saturating_sub(at) < OWN_SUCCESS);
        match (&mut self.state, known.open) {
            (State::Closed { failures, .. }, None) => *failures = known.failures,
            (State::Open { .. }, None) => self.close(),
            (State::Closed { .. }, Some(_)) if succeeds => {}
            (state, Some(open)) => {
                let probe = match (&*state, open.prober) {
                    (State::Open { probe: Probe::UnderWay, .. }, _) => Probe::UnderWay,
                    (_, Prober::Granted) => Probe::Allowed,
                    (State::Open { probe: Probe::Allowed, .. }, Prober::ThisGateway) => Probe::Allowed,
                    // Allowed, and not made: it may ask again.
                    (_, Prober::ThisGateway | Prober::Nobody) => Probe::Waits,
                    (_, Prober::Another) => Probe::Elsewhere,
                };
                let probe_at = open.probe_at.saturating_duration_since(started);
                *state = State::Open { probe_at, wait: open.wait, probe };
            }
        }
        (self.phase(), self.wakes_at()) != before
    }

    /// What people see.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            // The next dispatcher that has a delivery makes the probe.
            State::Open { probe: Probe::Waits | Probe::Allowed, .. } => Phase::Open,
            State::Open { probe: Probe::UnderWay | Probe::Elsewhere, .. } => Phase::Probing,
        }
    }

    /// When to ask again, if the time alone decides.
    pub fn wakes_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { probe_at, probe: Probe::Waits, .. } => Some(probe_at),
            State::Open { .. } | State::Closed { .. } => None,
        }
    }

    fn open(&mut self, wait: Duration, now: Duration) {
        let wait = wait.min(self.settings.max_wait);
        self.state = State::Open { probe_at: now.saturating_add(wait), wait, probe: Probe::Waits };
    }

    fn answered(&mut self) -> Option<CircuitEvent> {
        self.close();
        Some(CircuitEvent::Answered)
    }

    fn close(&mut self) {
        self.state = State::Closed { failures: 0, ramp: Some(Ramp { allowed: 1, successes: 0 }) };
    }
}

impl Ramp {
    /// Twice as many once each of those allowed has succeeded. Past 2¹⁰ the routes' own bounds are narrower.
    fn after_success(self) -> Option<Self> {
        let successes = self.successes + 1;
        if successes < self.allowed {
            return Some(Self { successes, ..self });
        }
        let allowed = self.allowed * 2;
        (allowed <= 1_024).then_some(Self { allowed, successes: 0 })
    }
}

#[cfg(test)]
mod tests;
