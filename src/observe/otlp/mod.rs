//! Traces: takes deliveries that have ended off the worker threads and exports their spans by OTLP.
//!
//! Workers hand over without waiting, through a queue of [`QUEUE`] deliveries; what finds no room is dropped and counted.
//! A thread of its own makes spans of them and exports them in batches. A collector that is slow or gone costs spans, never
//! a delivery's time.
//!
//! Metrics and logs are not exported: Prometheus scrapes the one, the supervisor takes the other.

mod export;
mod spans;

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};

use crate::config::Otlp;
use crate::delivery::trace_context::Sampling;
use crate::metrics::SpanMetrics;
use crate::observe::trace::{Ended, Tracer};
use export::Exporter;

/// Deliveries that may wait for export: some hundred bytes each, 3 KiB at most.
const QUEUE: usize = 8192;
/// Deliveries in one request to the collector.
const BATCH: usize = 512;
/// How long a batch waits for more.
const DELAY: Duration = Duration::from_millis(200);

/// An exporter that runs. Once this and all its tracers are gone, it exports what waits, and ends.
pub struct Telemetry {
    otlp: Otlp,
    tracer: Tracer,
    finish: watch::Sender<bool>,
    finished: Mutex<Receiver<()>>,
}

impl Telemetry {
    /// Starts a thread that exports as `otlp` says.
    ///
    /// # Errors
    /// No thread or runtime, no root certificates, or a host that can be no TLS server name.
    pub fn start(otlp: &Otlp, metrics: SpanMetrics) -> io::Result<Self> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let tracer = Tracer {
            sampling: Sampling { share: otlp.sample, context_from: otlp.context_from },
            ended: sender,
            dropped: metrics.dropped.clone(),
        };
        let (finish, finishing) = watch::channel(false);
        let exporter = Exporter::new(otlp, metrics, finishing.clone())?;
        let (alive, finished) = sync_channel(0);
        // A runtime stays on its thread, but what goes wrong there is still an error of the start.
        let (started, start) = sync_channel(1);
        let work = move || match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                drop(started);
                work(&runtime, exporter, queue, finishing, alive);
            }
            Err(error) => drop(started.send(error)),
        };
        std::thread::Builder::new().name("telemetry".to_owned()).spawn(work)?;
        match start.recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(Self { otlp: otlp.clone(), tracer, finish, finished: Mutex::new(finished) }),
        }
    }

    /// Whether it does what `otlp` says.
    pub fn is_as(&self, otlp: &Otlp) -> bool {
        self.otlp == *otlp
    }

    /// What makes traces for it.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Exports what waits, with one attempt a batch, for `patience` at most. Blocks until then.
    pub fn finish(&self, patience: Duration) {
        self.finish.send_replace(true);
        // It ends by an error: nothing is ever sent.
        let _ = self.finished.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(patience);
    }
}

/// The thread's life. `_alive` is dropped at its end, which tells whoever waits.
fn work(
    runtime: &LocalRuntime,
    mut exporter: Exporter,
    mut queue: mpsc::Receiver<Ended>,
    mut finishing: watch::Receiver<bool>,
    _alive: SyncSender<()>,
) {
    runtime.block_on(async {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                // An error means that there are tracers, but nobody who could ask for the end.
                Ok(_) = finishing.wait_for(|finishing| *finishing) => queue.close(),
                taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { break },
            }
            if !queue.is_closed() && batch.len() < BATCH {
                tokio::select! {
                    () = tokio::time::sleep(DELAY) => {}
                    _ = finishing.wait_for(|finishing| *finishing) => {}
                }
            }
            while batch.len() < BATCH
                && let Ok(ended) = queue.try_recv()
            {
                batch.push(ended);
            }
            if batch.is_empty() && queue.is_closed() {
                break;
            }
            exporter.export(&batch).await;
            batch.clear();
        }
    });
}
