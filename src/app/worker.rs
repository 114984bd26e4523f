//! One worker thread: its runtime, its listening sockets, its routes and its connections to upstreams.

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, watch};

use super::generation::Generation;
use super::{Phase, runtime};
use crate::clock::Clock;
use crate::gateway::dedupe::DedupeContext;
use crate::gateway::enqueue::EnqueueContext;
use crate::gateway::forward::ForwardContext;
use crate::gateway::observe::ObserveContext;
use crate::gateway::receive::ReceiveContext;
use crate::gateway::report::Reporter;
use crate::gateway::route::RouteContext;
use crate::gateway::stack::{StackContext, stack};
use crate::gateway::verify::VerifyContext;
use crate::http1::server::date::Dates;
use crate::metrics::{Metrics, ObserveMetrics};
use crate::net::connect::Connector;
use crate::net::tcp::Listener;
use crate::observe::log_limit::LogLimit;
use crate::queue::dispatch::{DispatchContext, Dispatcher};
use crate::queue::lane::Queue;
use crate::record::recorder::Recorder;
use crate::routing::limits::{Budget, RecordLimit};
use crate::routing::table::{Route, Router};
use crate::server::current::{Current, Serving};
use crate::server::h1::Http1Context;
use crate::server::listener::{ListenContext, accept};
use crate::server::refuse::RefuseContext;
use crate::server::untaken::UntakenBytes;
use crate::upstream::pool::Pool;

/// The values that a worker thread gets from the rest of the gateway.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) metrics: Metrics,
    pub(super) unmatched: ObserveMetrics,
    pub(super) clock: Clock,
    /// Deliveries that wait, and what is kept of others.
    pub(super) queue: Arc<Queue>,
    /// Holds the records of requests that match no route to their rate.
    pub(super) unmatched_records: Arc<RecordLimit>,
    /// What senders of HTTP/2 have not taken.
    pub(super) untaken: UntakenBytes,
    pub(super) phases: watch::Receiver<Phase>,
    /// The configuration that runs.
    pub(super) generations: watch::Receiver<Arc<Generation>>,
    /// Each thread holds a clone, so that the main thread can wait for the last one.
    pub(super) ended: mpsc::Sender<()>,
}

/// The values that a thread keeps across generations.
struct Worker {
    metrics: Metrics,
    recorder: Recorder,
    clock: Clock,
    unmatched: Rc<ObserveMetrics>,
    draining: Rc<Cell<bool>>,
    /// Separate limits, so that a flood of refusals does not suppress lines on which an operator has to act.
    refused: Rc<LogLimit>,
    reported: Rc<LogLimit>,
    unanswered: Rc<LogLimit>,
    pools: Vec<(Arc<Connector>, Rc<Pool>)>,
    queue: Arc<Queue>,
    share: Share,
    /// Of the channel that ends with the last connection and the last attempt.
    alive: mpsc::WeakSender<Infallible>,
    /// Those of the configuration that runs, by the names of their routes.
    dispatchers: Rc<HashMap<String, Rc<Dispatcher>>>,
}

/// Which part of the routes' queues a thread looks after.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// The position of the thread.
    pub(super) index: usize,
    /// How many threads there are.
    pub(super) of: usize,
}

impl Share {
    /// Whether the thread looks after the queue of this route.
    fn has(self, route: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        route.hash(&mut hasher);
        hasher.finish() % (self.of.max(1) as u64) == self.index as u64
    }
}

/// Starts a worker thread.
pub(super) fn spawn(sockets: Vec<net::TcpListener>, share: Share, shared: Shared) -> io::Result<JoinHandle<()>> {
    // The runtime must be built on its own thread; its errors are sent back, so that the start fails.
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let told = |result| drop(started.send(result));
        match runtime() {
            Err(error) => told(Err(error)),
            Ok(runtime) => finish(runtime, async {
                match sockets.into_iter().map(Listener::new).collect() {
                    Err(error) => told(Err(error)),
                    Ok(sockets) => {
                        told(Ok(()));
                        work(sockets, share, shared).await;
                    }
                }
            }),
        }
    })?;
    start.recv().map_err(io::Error::other)??;
    Ok(thread)
}

/// Runs `work` to its end. Does not wait for the runtime's blocking threads, on which the system may still resolve a name.
fn finish(runtime: LocalRuntime, work: impl Future<Output = ()>) {
    runtime.block_on(work);
    runtime.shutdown_background();
}

/// A worker thread's life.
async fn work(sockets: Vec<Listener>, share: Share, shared: Shared) {
    let Shared {
        metrics,
        unmatched,
        clock,
        queue,
        unmatched_records,
        untaken,
        mut phases,
        mut generations,
        ended: _ended,
    } = shared;
    let (alive, mut all_gone) = mpsc::channel(1);
    let recorder = Recorder::new(queue.store.clone(), unmatched_records, metrics.records.over_rate.clone());
    let mut worker = Worker {
        recorder,
        unmatched: Rc::new(unmatched),
        metrics,
        clock,
        draining: Rc::default(),
        refused: Rc::default(),
        reported: Rc::default(),
        unanswered: Rc::default(),
        pools: Vec::new(),
        queue,
        share,
        alive: alive.downgrade(),
        dispatchers: Rc::default(),
    };
    let generation = generations.borrow_and_update().clone();
    untaken.limit_to(generation.server.buffered_bytes);
    let current = Current::new(worker.serving(&generation));
    drop(generation);
    let (drain, draining_connections) = watch::channel(false);
    let context = Rc::new(worker.listen_context(current.clone(), untaken.clone(), draining_connections, alive));
    for socket in sockets {
        tokio::task::spawn_local(accept(socket, context.clone()));
    }
    drop(context);
    loop {
        tokio::select! {
            biased;
            // An error means that the sender was dropped: the gateway has ended.
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => break,
            Ok(()) = generations.changed() => {
                let generation = generations.borrow_and_update().clone();
                untaken.limit_to(generation.server.buffered_bytes);
                current.replace(worker.serving(&generation));
                generation.take_up();
            }
        }
    }
    worker.draining.set(true);
    drain.send_replace(true);
    tokio::select! {
        _ = all_gone.recv() => {}
        _ = phases.wait_for(|phase| *phase == Phase::Stopped) => {}
    }
}

impl Worker {
    /// A configuration as this thread serves it.
    fn serving(&mut self, generation: &Generation) -> Serving {
        Serving::new(&generation.server, stack(self.context(generation)), generation.handshake.clone())
    }

    /// The values that accept and serve connections. `drain` turns true when the gateway drains; `alive` is dropped with
    /// the last connection.
    fn listen_context(
        &self,
        current: Current<Serving>,
        untaken: UntakenBytes,
        drain: watch::Receiver<bool>,
        alive: mpsc::Sender<Infallible>,
    ) -> ListenContext {
        let refuse = RefuseContext {
            clock: self.clock.clone(),
            dates: Rc::new(Dates::new(self.clock.clone())),
            unmatched: self.unmatched.clone(),
            current,
            recorder: self.recorder.clone(),
            log_limit: self.refused.clone(),
        };
        let connections = self.metrics.connections.clone();
        ListenContext { connections, http1: Http1Context { refuse, drain }, untaken, shedding: Rc::default(), alive }
    }

    /// The context of the stages for a configuration. Connections to upstreams that it still has are kept; the others are closed
    /// when the deliveries on them have ended.
    fn context(&mut self, generation: &Generation) -> StackContext {
        let (router, dispatchers) = self.routes(generation);
        let clock = &self.clock;
        let reporter = Reporter { log_limit: self.reported.clone(), routes: generation.running.routes.clone() };
        let budget = Budget::new(self.metrics.buffered_bytes.clone(), generation.server.buffered_bytes);
        StackContext {
            receive: ReceiveContext {
                clock: clock.clone(),
                trusted_proxies: generation.server.trusted_proxies.clone(),
            },
            observe: ObserveContext {
                clock: clock.clone(),
                in_flight: self.metrics.in_flight.clone(),
                unmatched: self.unmatched.clone(),
                access_log: generation.server.access_log,
                log_limit: self.refused.clone(),
                recorder: self.recorder.clone(),
                tracer: generation.telemetry.as_ref().map(|telemetry| telemetry.tracer()),
            },
            route: RouteContext { router: Rc::new(router), draining: self.draining.clone(), budget: budget.clone() },
            budget,
            verify: VerifyContext { clock: clock.clone(), reporter },
            dedupe: DedupeContext { clock: clock.clone(), queue: self.queue.clone(), log_limit: self.reported.clone() },
            enqueue: EnqueueContext { clock: clock.clone(), queue: self.queue.clone(), dispatchers },
            forward: ForwardContext {
                clock: clock.clone(),
                log_limit: self.unanswered.clone(),
                pause: generation.server.idle_timeout,
            },
        }
    }

    /// The routes of a configuration, and their dispatchers in the place of the former ones.
    fn routes(&mut self, generation: &Generation) -> (Router, Rc<HashMap<String, Rc<Dispatcher>>>) {
        let mut pools: Vec<(Arc<Connector>, Rc<Pool>)> = Vec::new();
        let find = |pools: &[(Arc<Connector>, Rc<Pool>)], connector| {
            pools.iter().find(|(known, _)| Arc::ptr_eq(known, connector)).map(|(_, pool)| pool.clone())
        };
        let routes: Vec<_> = generation
            .routes
            .iter()
            .map(|(shared, connectors)| {
                let own = connectors.iter().map(|connector| {
                    find(&pools, connector).unwrap_or_else(|| {
                        let kept = find(&self.pools, connector);
                        let pool = kept.unwrap_or_else(|| Pool::new(connector.clone()));
                        pools.push((connector.clone(), pool.clone()));
                        pool
                    })
                });
                Rc::new(Route::new(shared.clone(), own.collect::<Box<[_]>>()))
            })
            .collect();
        self.pools = pools;
        for replaced in self.dispatchers.values() {
            replaced.replace();
        }
        let context = DispatchContext {
            queue: self.queue.clone(),
            clock: self.clock.clone(),
            log_limit: self.unanswered.clone(),
            draining: self.draining.clone(),
            alive: self.alive.clone(),
        };
        let dispatchers = routes.iter().map(|route: &Rc<Route>| {
            let dispatcher = Dispatcher::new(context.clone(), route.clone());
            let name = &route.shared.config.name;
            if self.share.has(name) {
                tokio::task::spawn_local(dispatcher.clone().lead());
            }
            (name.clone(), dispatcher)
        });
        self.dispatchers = Rc::new(dispatchers.collect());
        (Router::new(routes), self.dispatchers.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_ends_though_a_name_is_still_looked_up() {
        let (found, name) = channel::<()>();
        let (ended, end) = channel();
        std::thread::spawn(move || {
            finish(runtime().unwrap(), async { drop(tokio::task::spawn_blocking(move || name.recv())) });
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(30)).unwrap();
        drop(found);
    }
}
