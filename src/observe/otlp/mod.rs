//! Exports the spans of ended deliveries by OTLP.
//!
//! Worker threads put ended deliveries into a queue of [`QUEUE`] without waiting; if the queue is full, the delivery's spans
//! are dropped and counted. A separate thread makes the spans and exports them in batches. So a collector that is slow or down
//! costs spans, but does not delay a delivery.
//!
//! Metrics and logs are not exported: Prometheus scrapes the metrics, and the supervisor collects the log from stderr.

mod export;
mod spans;

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};

use crate::config::Otlp;
use crate::delivery::trace_context::Sampling;
use crate::lock::lock;
use crate::metrics::SpanMetrics;
use crate::observe::trace::{EndedDelivery, Tracer};
use export::Exporter;

/// Deliveries that may wait for export: some hundred bytes each, at most 3 KiB.
const QUEUE: usize = 8192;
/// Deliveries in one request to the collector.
const BATCH: usize = 512;
/// How long an incomplete batch waits for more deliveries.
const DELAY: Duration = Duration::from_millis(200);

/// A running exporter. After this value and all its tracers are dropped, the thread exports the rest of the queue and ends.
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
    /// No thread or runtime, no root certificates, or a host that is not a valid TLS server name.
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
        // The runtime must be built on its own thread; its errors are sent back, so that the start fails.
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

    /// Whether it exports by the same configuration.
    pub fn is_as(&self, otlp: &Otlp) -> bool {
        self.otlp == *otlp
    }

    /// A tracer whose deliveries this exporter gets.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Exports the rest of the queue, with one attempt for each batch. Blocks until it is done, for `patience` at most.
    pub fn finish(&self, patience: Duration) {
        self.finish.send_replace(true);
        // `recv` ends with an error when the thread drops its sender: nothing is ever sent.
        let _ = lock(&self.finished).recv_timeout(patience);
    }
}

/// The loop of the exporting thread. `_alive` is dropped at its end, which wakes [`Telemetry::finish`].
fn work(
    runtime: &LocalRuntime,
    mut exporter: Exporter,
    mut queue: mpsc::Receiver<EndedDelivery>,
    mut finishing: watch::Receiver<bool>,
    _alive: SyncSender<()>,
) {
    runtime.block_on(async {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                // An error means that `Telemetry` was dropped; the tracers may still be in use.
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
