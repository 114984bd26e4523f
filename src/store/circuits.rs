//! The circuits of upstreams, as far as gateways that share a store share them: what this gateway has to tell of them, and what
//! all of them together know.
//!
//! The gateways' own circuits decide; here is only what they exchange. What is told is written within a moment, and the answer
//! is what is known then: it counts, unless something more was told meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::lock::lock;

/// What is known of all circuits by upstream; one that is missing is closed and has no failures.
pub type KnownCircuits = HashMap<Uuid, SharedCircuit>;

/// What has happened to the circuit of an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CircuitEvent {
    /// An attempt says that the upstream is down. The circuit opens after so many in a row, with this wait for a probe.
    Failed {
        /// Failures in a row that open it.
        limit: u32,
        /// The first wait.
        wait: Duration,
    },
    /// The upstream answers: the circuit is closed.
    Answered,
    /// A probe says that the upstream is still down: the wait for the next one is twice as long, but at most this.
    ProbeFailed(Duration),
    /// A probe that this gateway was allowed was not made.
    ProbeCancelled,
}

/// What all gateways know of a circuit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SharedCircuit {
    /// Failures in a row, while it is closed.
    pub failures: u32,
    /// `None` while it is closed.
    pub open: Option<SharedOpen>,
}

/// A circuit that is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SharedOpen {
    /// When the next probe may begin.
    pub probe_at: Instant,
    /// The wait for this probe.
    pub wait: Duration,
    /// Who makes it.
    pub prober: Prober,
}

/// Who probes an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prober {
    /// No gateway does.
    Nobody,
    /// This gateway may: it has just asked.
    Granted,
    /// This gateway does.
    ThisGateway,
    /// Another gateway does.
    Another,
}

/// What is to be told and asked, and what is known.
#[derive(Debug, Default)]
pub struct Circuits {
    untold: Mutex<BTreeMap<Uuid, Untold>>,
    /// The last one that was taken.
    last: Mutex<Uuid>,
    known: Mutex<KnownCircuits>,
    /// Others have changed something.
    is_to_read: AtomicBool,
}

/// What is to be told of one circuit, in the order in which it is written.
#[derive(Debug, Default)]
pub struct Untold {
    /// The upstream has answered.
    pub answered: bool,
    /// How a probe has ended.
    pub probe: Option<CircuitEvent>,
    /// Failures after all that, with what the last one says.
    pub failed: Option<(u32, u32, Duration)>,
    /// Those who want to probe; they are told when the circuit says whether they may.
    pub asks: Vec<oneshot::Sender<()>>,
}

impl Circuits {
    /// Something is to be told.
    pub fn tell(&self, upstream: Uuid, event: CircuitEvent) {
        lock(&self.untold).entry(upstream).or_default().add(event);
    }

    /// Whether something is to be told of this circuit: what is known of it counts no more.
    pub fn is_untold(&self, upstream: &Uuid) -> bool {
        lock(&self.untold).get(upstream).is_some_and(Untold::has_events)
    }

    /// Asks whether this gateway may probe; the answer comes after what is known then was told.
    pub fn ask(&self, upstream: Uuid) -> oneshot::Receiver<()> {
        let (ask, asked) = oneshot::channel();
        lock(&self.untold).entry(upstream).or_default().asks.push(ask);
        asked
    }

    /// What is known of one circuit.
    pub fn known(&self, upstream: &Uuid) -> SharedCircuit {
        lock(&self.known).get(upstream).copied().unwrap_or_default()
    }

    /// This is known now; says whether it is something else of one of `told`.
    pub fn set_known(&self, new: &KnownCircuits, told: &[Uuid]) -> bool {
        let mut known = lock(&self.known);
        let open = |circuits: &KnownCircuits, upstream| {
            circuits.get(upstream).and_then(|circuit| circuit.open).map(|open| (open.wait, open.prober))
        };
        let is_other = told.iter().any(|upstream| open(&known, upstream) != open(new, upstream));
        known.clone_from(new);
        // Granted only to those who have asked by now.
        for open in known.values_mut().filter_map(|circuit| circuit.open.as_mut()) {
            if open.prober == Prober::Granted {
                open.prober = Prober::ThisGateway;
            }
        }
        is_other
    }

    /// Takes what is to be told and asked of some circuits, `most` at most: of those whose turn it is.
    pub fn take(&self, most: usize) -> BTreeMap<Uuid, Untold> {
        let (mut untold, mut last) = (lock(&self.untold), lock(&self.last));
        let after = (Bound::Excluded(*last), Bound::Unbounded);
        let some: Vec<Uuid> =
            untold.range(after).chain(untold.range(..=*last)).map(|(key, _)| *key).take(most).collect();
        *last = some.last().copied().unwrap_or_default();
        some.into_iter().filter_map(|upstream| untold.remove_entry(&upstream)).collect()
    }

    /// This could not be written; it is taken again before what has come meanwhile.
    pub fn put_back(&self, earlier: BTreeMap<Uuid, Untold>) {
        let mut untold = lock(&self.untold);
        for (upstream, mut before) in earlier {
            if let Some(later) = untold.remove(&upstream) {
                before.then(later);
            }
            untold.insert(upstream, before);
        }
    }

    /// Others have changed something: it is to be read.
    pub fn read_soon(&self) {
        self.is_to_read.store(true, Ordering::Relaxed);
    }

    /// Whether it is to be read; from now on it is not.
    pub fn take_is_to_read(&self) -> bool {
        self.is_to_read.swap(false, Ordering::Relaxed)
    }
}

impl Untold {
    fn add(&mut self, event: CircuitEvent) {
        match event {
            CircuitEvent::Failed { limit, wait } => {
                let before = self.failed.map_or(0, |(count, ..)| count);
                self.failed = Some((before.saturating_add(1), limit, wait));
            }
            // What was before it does not matter any more.
            CircuitEvent::Answered => (self.answered, self.probe, self.failed) = (true, None, None),
            CircuitEvent::ProbeFailed(_) => self.probe = Some(event),
            // One that has failed stays so: another attempt, which was not allowed, may be given up after it.
            CircuitEvent::ProbeCancelled => self.probe = self.probe.or(Some(event)),
        }
    }

    fn then(&mut self, later: Self) {
        if later.answered {
            self.add(CircuitEvent::Answered);
        }
        if let Some(probe) = later.probe {
            self.add(probe);
        }
        if let Some((count, limit, wait)) = later.failed {
            let before = self.failed.map_or(0, |(count, ..)| count);
            self.failed = Some((before.saturating_add(count), limit, wait));
        }
        self.asks.extend(later.asks);
    }

    /// Whether somebody who wants to probe still waits for the answer.
    pub fn is_asked(&self) -> bool {
        self.asks.iter().any(|ask| !ask.is_closed())
    }

    fn has_events(&self) -> bool {
        self.answered || self.probe.is_some() || self.failed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FAILED: CircuitEvent = CircuitEvent::Failed { limit: 9, wait: Duration::from_secs(1) };
    const WAIT: Duration = Duration::from_secs(8);

    fn count(untold: &Untold) -> Option<u32> {
        untold.failed.map(|(count, ..)| count)
    }

    #[test]
    fn failures_are_summed_up_and_an_answer_ends_their_row() {
        let (circuits, upstream) = (Circuits::default(), Uuid::from_u128(1));
        for event in [FAILED, FAILED, CircuitEvent::ProbeFailed(WAIT), CircuitEvent::Answered, FAILED] {
            circuits.tell(upstream, event);
        }
        assert!(circuits.is_untold(&upstream) && !circuits.is_untold(&Uuid::nil()));
        let untold = circuits.take(9).remove(&upstream).unwrap();
        assert_eq!((untold.answered, untold.probe, count(&untold)), (true, None, Some(1)));
        assert!(!circuits.is_untold(&upstream));
    }

    #[test]
    fn a_probe_that_has_failed_is_not_given_up_after_it() {
        let (circuits, upstream) = (Circuits::default(), Uuid::from_u128(1));
        circuits.tell(upstream, CircuitEvent::ProbeFailed(WAIT));
        circuits.tell(upstream, CircuitEvent::ProbeCancelled);
        let untold = circuits.take(9);
        assert_eq!(untold[&upstream].probe, Some(CircuitEvent::ProbeFailed(WAIT)));
        circuits.tell(upstream, CircuitEvent::ProbeCancelled);
        circuits.put_back(untold);
        assert_eq!(circuits.take(9)[&upstream].probe, Some(CircuitEvent::ProbeFailed(WAIT)));
    }

    #[test]
    fn a_few_are_taken_at_once_and_none_is_left_behind() {
        let circuits = Circuits::default();
        (0..5).for_each(|number| circuits.tell(Uuid::from_u128(number), FAILED));
        let taken: Vec<usize> = (0..4).map(|_| circuits.take(2).len()).collect();
        assert_eq!(taken, [2, 2, 1, 0]);
        // Those that always have something to tell do not keep others from their turn.
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            (0..5).for_each(|number| circuits.tell(Uuid::from_u128(number), FAILED));
            seen.extend(circuits.take(2).into_keys());
        }
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn what_could_not_be_written_comes_before_what_came_meanwhile() {
        let (circuits, upstream) = (Circuits::default(), Uuid::from_u128(1));
        circuits.tell(upstream, FAILED);
        let mut asked = circuits.ask(upstream);
        let taken = circuits.take(9);
        circuits.tell(upstream, FAILED);
        circuits.put_back(taken);
        let taken = circuits.take(9);
        assert_eq!(count(&taken[&upstream]), Some(2));
        assert_eq!(asked.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        circuits.tell(upstream, CircuitEvent::Answered);
        circuits.put_back(taken);
        let mut taken = circuits.take(9);
        let untold = taken.remove(&upstream).unwrap();
        assert_eq!((untold.answered, count(&untold), untold.asks.len()), (true, None, 1));
    }
}
