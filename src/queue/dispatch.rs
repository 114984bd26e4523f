//! Hands queued deliveries of one route to its upstream, on one worker thread, over that thread's connections.
//!
//! Each route has a dispatcher. One in proxy mode sends replays, and what waits from a time when the route had a queue.
//!
//! A delivery that the thread has just stored is attempted at once, or after a short time [in line](Dispatcher::turn) for a
//! place, without a look into the store. All others are claimed from the store when they are due, by the one thread that
//! [leads](Dispatcher::lead) the route.
//!
//! An attempt begins only if, in this order, 1. the route is not paused; 2. fewer than `max_concurrent` attempts are under way;
//! 3. `max_rate` has room; 4. the circuit of the upstream lets it through. A delivery whose attempt does not
//! begin stays in the store, as it was.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use self::turn::Start;
use super::attempt::{Ended, Job};
use super::circuit::{Pass, Settings};
use super::lane::gate::GateUse;
use super::lane::{Lane, Queue};
use super::retry::RetryPolicy;
use super::stored;
use crate::clock::Clock;
use crate::config::{self, RateLimit};
use crate::metrics::{GaugeGuard, QueueMetrics};
use crate::observe::log_limit::LogLimit;
use crate::record::kept::{Origin, after_delivery};
use crate::routing::table::Route;
use crate::store::{
    Accepted, AttemptOutcome, Claimed, DedupeKey, Delivery, Next, Settled, State, Store, StoreError, Ticket, Waiting,
};
use crate::upstream::message::Message;
use crate::upstream::redirect::REDIRECT_HINT;
use crate::upstream::send::send;

/// Deliveries that are claimed from the store at once.
const CLAIM: usize = 64;
/// How long the dispatcher waits after an error of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The longest sleep: the store's own clock is looked at again after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Where a route's messages go: today each route has one destination.
const DESTINATION: u16 = 0;

/// What a dispatcher needs of its thread.
#[derive(Clone)]
pub struct DispatchContext {
    /// The queue, which all threads share.
    pub queue: Arc<Queue>,
    /// For durations.
    pub clock: Clock,
    /// Bounds the lines about failed attempts.
    pub log_limit: Rc<LogLimit>,
    /// Whether the gateway is shutting down: then no attempt begins.
    pub draining: Rc<Cell<bool>>,
    /// A strong sender lives as long as each attempt.
    pub alive: mpsc::WeakSender<Infallible>,
}

/// The dispatcher of one route on one thread, in one generation of the configuration.
pub struct Dispatcher {
    context: DispatchContext,
    route: Rc<Route>,
    name: Arc<str>,
    settings: config::Queue,
    rate: Option<RateLimit>,
    lane: Arc<Lane>,
    /// `None` with `circuit: false`.
    gate: Option<GateUse>,
    /// `None` on a route in proxy mode.
    metrics: Option<QueueMetrics>,
    /// A newer generation has taken over.
    is_replaced: Cell<bool>,
}

/// An attempt whose end is not known yet.
struct Open {
    dispatcher: Rc<Dispatcher>,
    /// `None` once its end is known.
    attempt: Option<(Job, Option<Pass>)>,
    started: Instant,
}

/// Deliveries that are claimed and not begun; on drop, also by a panic, they are given back.
struct Unbegun<'a> {
    store: &'a Store,
    /// The one that is about to begin.
    current: Option<Ticket>,
    claimed: std::vec::IntoIter<Claimed>,
}

impl Dispatcher {
    /// The dispatcher of `route`.
    pub fn new(context: DispatchContext, route: Rc<Route>) -> Rc<Self> {
        let config = &route.shared.config;
        let settings = config.delivery.queue();
        let metrics = route.shared.metrics.queue.clone();
        let lane = context.queue.lane(&config.name);
        let gate = settings.circuit.as_ref().map(|circuit| {
            let settings = Settings { failures: circuit.failures.get(), max_wait: circuit.max_wait };
            let is_open = metrics.as_ref().map(|metrics| metrics.circuit_open.clone());
            context.queue.gate(&config.upstream, settings, &lane, is_open)
        });
        if let (None, Some(metrics)) = (&gate, &metrics) {
            metrics.circuit_open.set(0);
        }
        lane.set_policy(RetryPolicy::from(&settings.retry));
        let rate = settings.max_rate.map(|per_second| RateLimit { per_second, burst: per_second });
        Rc::new(Self {
            name: Arc::from(config.name.as_str()),
            rate,
            settings,
            lane,
            gate,
            metrics,
            is_replaced: Cell::new(false),
            context,
            route,
        })
    }

    /// Stores a delivery, and attempts it if nothing stands against it. Returns once it is synced, or has waited too long.
    ///
    /// # Errors
    /// The delivery is not stored. After [`StoreError::Slow`] it may be stored later.
    pub async fn accept(
        self: &Rc<Self>,
        delivery: Delivery,
        key: Option<DedupeKey>,
        message: Message,
    ) -> Result<Accepted, StoreError> {
        let (answer, answered) = oneshot::channel();
        // A task of its own: if the sender goes away meanwhile, the delivery must not stay claimed without an attempt.
        // Boxed, as below: tokio moves a task several times, and this one has the buffers of a request in it.
        tokio::task::spawn_local(Box::pin(self.clone().store(delivery, key, message, answer)));
        match tokio::time::timeout(self.context.queue.store.patience(), answered).await {
            Ok(accepted) => accepted.unwrap_or(Err(StoreError::Closed)),
            // The disk or the database hangs. What is stored all the same is attempted, though the provider sends again.
            Err(_late) => Err(StoreError::Slow),
        }
    }

    /// Stores a delivery, answers, and attempts it.
    async fn store(
        self: Rc<Self>,
        delivery: Delivery,
        key: Option<DedupeKey>,
        message: Message,
        answer: oneshot::Sender<Result<Accepted, StoreError>>,
    ) {
        let (id, received_at, bytes) = (delivery.id, delivery.received_at, delivery.weight());
        let origin = Origin {
            scheme: delivery.scheme.clone(),
            event_type: delivery.event_type.clone(),
            details: delivery.details.clone(),
        };
        let at_once = !self.lane.has_backlog() && !self.is_paused() && self.is_closed();
        let accepted = self.context.queue.store.accept(delivery, key, 1, at_once).await;
        let stored = accepted.as_ref().ok().copied();
        // A sender that has gone away needs no answer.
        let _ = answer.send(accepted);
        let Some(Accepted::Stored(ticket)) = stored else { return };
        let turn = if at_once { self.turn(bytes).await } else { None };
        let Some(start) = turn else {
            if at_once && let Err(error) = self.context.queue.store.give_back(ticket).await {
                self.log_unwritten(&error);
            }
            self.context.queue.wake(&self.name);
            return;
        };
        let job = Job { ticket, id, received_at, waiting: Waiting::received(received_at) };
        self.attempt(job, &origin, message, start).await;
    }

    /// Claims deliveries that are due and attempts them, until the gateway drains or [`Self::replace`] is called. One thread
    /// at a time does this for a route. Goes on after a panic.
    pub async fn lead(self: Rc<Self>) {
        go_on_after_panics(&self.name, || self.clone().lead_on()).await;
    }

    async fn lead_on(self: Rc<Self>) {
        while !self.is_replaced.get() && !self.context.draining.get() {
            let wake = self.lane.wake.notified();
            let sleep = match self.attempt_due().await {
                Ok(until) => until,
                Err(error) => {
                    if let Some(suppressed) = self.context.log_limit.admit(self.context.clock.now()) {
                        tracing::error!(route = &*self.name, %error, suppressed, "cannot read the queue");
                    }
                    Some(self.context.clock.now() + STORE_PAUSE)
                }
            };
            if self.is_replaced.get() {
                break;
            }
            let longest = self.context.clock.now() + LONGEST_SLEEP;
            let until = sleep.unwrap_or(longest).min(longest);
            // Ready earlier if it is woken.
            let _ = tokio::time::timeout_at(until.into(), wake).await;
        }
        // What woke it may have been meant for its successor.
        self.lane.wake.notify_one();
    }

    /// Ends [`Self::lead`]: a newer generation takes over.
    pub fn replace(&self) {
        self.is_replaced.set(true);
        if let Some(gate) = &self.gate {
            gate.end();
        }
        self.lane.wake.notify_one();
    }

    /// Attempts what is due, as far as attempts can begin. Returns when to look again, unless it is woken.
    async fn attempt_due(self: &Rc<Self>) -> Result<Option<Instant>, StoreError> {
        loop {
            let now = self.context.clock.now();
            if self.is_paused() || self.context.draining.get() || self.is_replaced.get() {
                return Ok(None);
            }
            let mut room = self.room(now);
            if room.is_err() {
                // From here on an attempt that ends wakes this thread; one may have ended before.
                self.lane.set_backlog(true);
                room = self.room(now);
            }
            let room = match room {
                Ok(room) => room,
                Err(not_yet) => return Ok(not_yet.until()),
            };
            // Before the look into the store: what is stored after it sets this again.
            self.lane.set_backlog(false);
            let store = &self.context.queue.store;
            let millis = self.context.queue.millis(now);
            let claimed = store.claim(&self.name, DESTINATION, millis, room).await?;
            if claimed.is_empty() {
                let next = store.next_due(&self.name, DESTINATION, millis).await?;
                return Ok(next.map(|at| now + self.context.queue.until(at, now)));
            }
            self.lane.set_backlog(true);
            let mut unbegun = Unbegun { store, current: None, claimed: claimed.into_iter() };
            for delivery in unbegun.claimed.by_ref() {
                unbegun.current = Some(delivery.ticket);
                match self.start_or_ask(self.context.clock.now()).await {
                    Ok(start) => self.begin(delivery, start),
                    Err(not_yet) => return Ok(not_yet.until()),
                }
                unbegun.current = None;
            }
        }
    }

    fn begin(self: &Rc<Self>, claimed: Claimed, start: Start) {
        let Claimed { ticket, id, received_at, waiting, head, body, scheme, details, .. } = claimed;
        let job = Job { ticket, id, received_at, waiting };
        match stored::decode_whole(id, &head, body) {
            Ok(message) => {
                let (this, origin) = (self.clone(), Origin { scheme, event_type: None, details });
                tokio::task::spawn_local(Box::pin(async move { this.attempt(job, &origin, message, start).await }));
            }
            Err(error) => {
                if let (Some(gate), Some(pass)) = (&self.gate, start.pass) {
                    gate.cancel(pass);
                }
                tracing::error!(route = &*self.name, %id, %error, "a queued delivery cannot be sent, and is given up");
                let outcome = job.unreadable(error.to_string(), self.context.queue.millis(self.context.clock.now()));
                if let Some(metrics) = &self.metrics {
                    metrics.dead.inc_by(u64::from(outcome.next == Next::Settle(State::Dead)));
                }
                let dispatcher = self.clone();
                tokio::task::spawn_local(async move { dispatcher.write(outcome).await });
            }
        }
    }

    async fn attempt(self: Rc<Self>, job: Job, origin: &Origin, message: Message, start: Start) {
        let Start { slot, pass } = start;
        let clock = &self.context.clock;
        let alive = self.context.alive.upgrade();
        let in_flight = self.metrics.as_ref().map(|metrics| GaugeGuard::new(&metrics.in_flight));
        let started = clock.now();
        let mut open = Open { dispatcher: self.clone(), attempt: Some((job, pass)), started };
        let stays = after_delivery(&self.route.shared, origin, &message, stored::encode);
        let endpoint = &self.route.shared.endpoint;
        let sent = send(endpoint, &self.route.pools, message, &job.fields(), clock, started).await;
        let answered = clock.now();
        let wall = SystemTime::UNIX_EPOCH + clock.unix();
        let ended = Ended::of(sent.result, wall).await;
        let pass = open.attempt.take().and_then(|(_, pass)| pass);
        if let (Some(gate), Some(pass)) = (&self.gate, pass) {
            gate.leave(pass, ended.signal(), clock.now());
        }
        self.log(&job, &ended);
        let outcome = self.outcome(&job, ended, (started, answered), Some(stays));
        drop((in_flight, slot, alive));
        self.write(outcome).await;
    }

    /// What an attempt came to, counted and logged.
    fn outcome(
        &self,
        job: &Job,
        ended: Ended,
        (started, answered): (Instant, Instant),
        stays: Option<Settled>,
    ) -> AttemptOutcome {
        let queue = &self.context.queue;
        let result = ended.result;
        let took = answered.saturating_duration_since(started);
        let times = (queue.millis(started), queue.millis(answered), took);
        let outcome = job.outcome(ended, &self.lane.policy(), times, rand::random(), stays);
        let (is_delivered, is_dead) = match &outcome.next {
            Next::Settle(State::Delivered) => (true, false),
            Next::Settle(_) => (false, true),
            Next::Retry(_) | Next::Keep => (false, false),
        };
        if is_dead {
            tracing::error!(route = &*self.name, id = %job.id, attempts = job.waiting.attempts + 1, "a delivery is given up");
        }
        if let Some(metrics) = &self.metrics {
            metrics.attempt(result);
            if is_delivered {
                metrics.delivered.inc();
                let waited = queue.millis(answered).saturating_sub(job.received_at);
                let waited = Duration::from_millis(u64::try_from(waited).unwrap_or_default());
                metrics.delay.observe(waited.as_secs_f64());
            }
            metrics.dead.inc_by(u64::from(is_dead));
        }
        outcome
    }

    async fn write(&self, outcome: AttemptOutcome) {
        let store = &self.context.queue.store;
        let written = match &outcome.next {
            // The dispatcher finds the next attempt in the store, once it is there.
            Next::Retry(_) => store.completed(outcome).await.map(|()| self.lane.wake.notify_one()),
            Next::Settle(_) | Next::Keep => store.complete(outcome),
        };
        if let Err(error) = written {
            self.log_unwritten(&error);
        }
    }

    fn log_unwritten(&self, error: &StoreError) {
        if let Some(suppressed) = self.context.log_limit.admit(self.context.clock.now()) {
            tracing::error!(
                route = &*self.name, %error, suppressed,
                "cannot write what came of an attempt: the delivery is attempted again after the restart"
            );
        }
    }

    fn log(&self, job: &Job, ended: &Ended) {
        if matches!(ended.status, Some(200..=299)) {
            return;
        }
        if let Some(suppressed) = self.context.log_limit.admit(self.context.clock.now()) {
            tracing::warn!(
                route = &*self.name,
                id = %job.id,
                attempt = job.waiting.attempts + 1,
                result = ended.result.label(),
                status = ended.status,
                error = ended.error,
                hint = matches!(ended.status, Some(300..=399)).then_some(REDIRECT_HINT),
                suppressed,
                "an attempt failed"
            );
        }
    }
}

/// Does `work`; after a panic, does it anew.
async fn go_on_after_panics<F: Future<Output = ()> + 'static>(route: &str, work: impl Fn() -> F) {
    loop {
        match tokio::task::spawn_local(work()).await {
            Err(error) if error.is_panic() => {
                tracing::error!(route, "a panic while deliveries were claimed: the route goes on");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Ok(()) | Err(_) => return,
        }
    }
}

impl Drop for Unbegun<'_> {
    fn drop(&mut self) {
        self.store
            .release(self.current.take().into_iter().chain(self.claimed.by_ref().map(|delivery| delivery.ticket)));
    }
}

/// A panic fails the attempt, so that the delivery is tried again later. An attempt that a shutdown cuts off is not written: it
/// is made again after the restart.
impl Drop for Open {
    fn drop(&mut self) {
        let Some((job, pass)) = self.attempt.take().filter(|_| thread::panicking()) else { return };
        let dispatcher = self.dispatcher.clone();
        if let (Some(gate), Some(pass)) = (&dispatcher.gate, pass) {
            gate.cancel(pass);
        }
        tracing::error!(route = &*dispatcher.name, id = %job.id, "a panic in an attempt");
        let ended = dispatcher.context.clock.now();
        let outcome = dispatcher.outcome(&job, Ended::panicked(), (self.started, ended), None);
        tokio::task::spawn_local(async move { dispatcher.write(outcome).await });
    }
}

#[cfg(test)]
mod tests;
mod turn;
