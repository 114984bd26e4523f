//! Brings metrics up to date that no event moves: numbers and ages of queued deliveries, sizes of the store, what it and the log
//! have dropped.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::watch;

use super::generation::Generation;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::queue::lane::Queue;
use crate::store::{Counts, Health, Shown, State};

/// How old a value can be.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sets them every second, as long as the gateway runs.
pub(super) async fn show(
    queue: Arc<Queue>,
    generations: watch::Receiver<Arc<Generation>>,
    clock: Clock,
    metrics: Metrics,
    dropped_lines: impl Fn() -> u64,
) {
    let (mut dropped, mut evicted) = (0, 0);
    loop {
        metrics.log_dropped.inc_by(dropped_lines().saturating_sub(metrics.log_dropped.get()));
        let generation = generations.borrow().clone();
        let counts = queue.store.counts();
        for (shared, _) in &generation.routes {
            let Some(gauges) = &shared.metrics.queue else { continue };
            let name: &str = &shared.config.name;
            gauges.set_deliveries(by_state(&counts, name));
            gauges.paused.set(i64::from(queue.store.route(name).paused));
            // A query that takes too long leaves the age as it was.
            if let Ok(oldest) = queue.store.oldest(name).await {
                let age = oldest.map_or(0, |oldest| queue.millis(clock.now()).saturating_sub(oldest) / 1000);
                gauges.oldest.set(age.max(0));
            }
        }
        for name in queue.store.routes().iter().filter(|(_, state)| state.held).map(|(name, _)| name) {
            metrics.held_queue(name, by_state(&counts, name));
        }
        let store = &metrics.store;
        let sizes = queue.store.sizes();
        store.bytes.set(i64::try_from(sizes.used).unwrap_or(i64::MAX));
        // Memory has no file system: 0.
        store.free_bytes.set(sizes.free.map_or(0, |free| i64::try_from(free).unwrap_or(i64::MAX)));
        store.failed.set(i64::from(matches!(queue.store.health(), Health::Failed(_))));
        dropped += count_up(&metrics.records.full, queue.store.dropped() - dropped);
        evicted += count_up(&metrics.records.evicted_keys, queue.store.evicted() - evicted);
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Counts what has been added since the last time.
fn count_up(counter: &IntCounter, added: u64) -> u64 {
    counter.inc_by(added);
    added
}

/// How many deliveries of a route are pending, retrying, dead and held.
fn by_state(counts: &Counts, name: &str) -> [u64; 4] {
    let count = |shown| {
        let of_route = counts.iter().filter(|((route, state), _)| **route == *name && *state == shown);
        of_route.map(|(_, count)| *count).sum()
    };
    [Shown::Pending, Shown::Retrying, Shown::Settled(State::Dead), Shown::Held].map(count)
}
