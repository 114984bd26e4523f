//! Which attempts can begin now, and which wait for their turn.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::{CLAIM, Dispatcher};
use crate::config::RateLimit;
use crate::queue::circuit::{Pass, Phase};
use crate::queue::lane::Slot;

/// How long a delivery stands in line in memory. After that it waits in the store, where people can discard it.
const IN_LINE: Duration = Duration::from_millis(100);
/// How long the store may take to say whether a probe may begin. The delivery in hand is claimed for longer.
const ASK: Duration = Duration::from_secs(5);

/// Everything that lets one attempt begin.
pub struct Start {
    /// Its place among `max_concurrent`.
    pub slot: Slot,
    /// What the circuit hears of its end.
    pub pass: Option<Pass>,
}

/// Why no attempt can begin now.
#[derive(Clone, Copy)]
pub enum NotYet {
    /// `max_concurrent` attempts are under way.
    Full,
    /// The route is paused or held, the dispatcher replaced, or the gateway drains.
    Stopped,
    /// The circuit or `max_rate` says no; when to ask again without being woken.
    Later(Option<Instant>),
}

impl NotYet {
    /// When to ask again without being woken.
    pub fn until(self) -> Option<Instant> {
        match self {
            Self::Full | Self::Stopped => None,
            Self::Later(until) => until,
        }
    }
}

impl Dispatcher {
    /// What lets the attempt of a delivery begin that this thread has just stored: now, or when those before it have ended;
    /// `None` if it has to wait in the store.
    pub(super) async fn turn(&self, bytes: usize) -> Option<Start> {
        let (place, mut is_next) = self.lane.stand_in_line(bytes)?;
        let in_line = async {
            loop {
                let mut freed = pin!(place.freed());
                freed.as_mut().enable();
                if is_next {
                    match self.start(self.context.clock.now()) {
                        Ok(start) => return Some(start),
                        Err(NotYet::Full) => {}
                        Err(NotYet::Stopped | NotYet::Later(_)) => return None,
                    }
                }
                freed.await;
                is_next = true;
            }
        };
        let start = tokio::time::timeout(IN_LINE, in_line).await.ok().flatten()?;
        place.leave_with_place();
        Some(start)
    }

    /// How many attempts can begin now.
    pub(super) fn room(&self, now: Instant) -> Result<usize, NotYet> {
        let free = usize::try_from(self.lane.free(self.settings.max_concurrent.get())).unwrap_or(CLAIM);
        match self.gate.as_ref().map(|gate| (gate.phase(), gate.wakes_at())) {
            _ if free == 0 => Err(NotYet::Full),
            Some((Phase::Open, Some(probe_at))) if now < probe_at => Err(NotYet::Later(Some(probe_at))),
            Some((Phase::Open, _)) => Ok(1),
            Some((Phase::Probing, _)) => Err(NotYet::Later(None)),
            Some((Phase::Closed, _)) | None => Ok(free.min(self.largest_claim())),
        }
    }

    /// How many deliveries are claimed at once: with `max_rate`, about as many as can begin within 50 ms, so that few are
    /// read in vain.
    fn largest_claim(&self) -> usize {
        let of_rate = |rate: RateLimit| usize::try_from(rate.per_second.get() / 20).unwrap_or(CLAIM).clamp(1, CLAIM);
        self.rate.map_or(CLAIM, of_rate)
    }

    pub(super) fn start(&self, now: Instant) -> Result<Start, NotYet> {
        if self.context.draining.get() || self.is_replaced.get() || self.is_paused() {
            return Err(NotYet::Stopped);
        }
        let slot = self.lane.enter(self.settings.max_concurrent.get()).ok_or(NotYet::Full)?;
        match self.pass(now) {
            Ok(pass) => Ok(Start { slot, pass }),
            Err(not_yet) => {
                slot.give_back();
                Err(not_yet)
            }
        }
    }

    /// The same, but it asks those who share the circuit if the attempt is a probe. The caller has a delivery in hand, so that
    /// a probe that is allowed is made.
    pub(super) async fn start_or_ask(&self, now: Instant) -> Result<Start, NotYet> {
        let asks = self.gate.as_ref().and_then(|gate| Some((gate, gate.must_ask(now)?)));
        let Some((gate, upstream)) = asks else { return self.start(now) };
        let asked = tokio::time::timeout(ASK, self.context.queue.store.ask_to_probe(upstream)).await;
        let now = self.context.clock.now();
        let start = asked.map_err(|_late| NotYet::Later(Some(now + ASK))).and_then(|()| self.start(now));
        start.inspect_err(|_not_yet| gate.give_up_probe())
    }

    /// Asks `max_rate` and the circuit.
    fn pass(&self, now: Instant) -> Result<Option<Pass>, NotYet> {
        if let Some(rate) = self.rate {
            self.lane.rate.take(rate, now).map_err(|wait| NotYet::Later(Some(now + wait)))?;
        }
        let Some(gate) = &self.gate else { return Ok(None) };
        gate.enter(now).map(Some).ok_or_else(|| NotYet::Later(gate.wakes_at()))
    }

    pub(super) fn is_paused(&self) -> bool {
        let state = self.context.queue.store.route(&self.name);
        state.paused || state.held
    }

    pub(super) fn is_closed(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.phase() == Phase::Closed)
    }
}
