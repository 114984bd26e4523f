//! Brings metrics up to date that no event moves: numbers and ages of queued deliveries, sizes of the store, what it and the log
//! have dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::watch;

use super::generation::Generation;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::queue::lane::Queue;
use crate::routing::table::RouteShared;
use crate::store::{Counts, Health, Shown, State};

/// How old a value can be.
const INTERVAL: Duration = Duration::from_secs(1);
/// The states that are counted, in the order of the gauges.
const STATES: [Shown; 4] = [Shown::Pending, Shown::Retrying, Shown::Settled(State::Dead), Shown::Held];

/// Sets them every second, as long as the gateway runs.
pub(super) async fn show(
    queue: Arc<Queue>,
    generations: watch::Receiver<Arc<Generation>>,
    clock: Clock,
    metrics: Metrics,
    dropped_lines: impl Fn() -> u64,
) {
    // Routes without a queue whose deliveries were counted.
    let mut shown = HashSet::new();
    let (mut dropped, mut evicted, mut late) = (0, 0, 0);
    loop {
        metrics.log_dropped.inc_by(dropped_lines().saturating_sub(metrics.log_dropped.get()));
        let generation = generations.borrow().clone();
        let counts = by_route(&queue.store.counts());
        let of = |name: &str| counts.get(name).copied().unwrap_or_default();
        for (shared, _) in &generation.routes {
            let Some(gauges) = &shared.metrics.queue else { continue };
            let name: &str = &shared.config.name;
            gauges.set_deliveries(of(name));
            gauges.paused.set(i64::from(queue.store.route(name).paused));
            // A query that takes too long leaves the age as it was.
            if let Ok(oldest) = queue.store.oldest(name).await {
                let age = oldest.map_or(0, |oldest| queue.millis(clock.now()).saturating_sub(oldest) / 1000);
                gauges.oldest.set(age.max(0));
            }
        }
        let has_queue: HashSet<&str> = generation.routes.iter().filter_map(|(shared, _)| queued(shared)).collect();
        shown.retain(|name: &Arc<str>| !has_queue.contains(&**name));
        let others = counts.keys().filter(|name| !has_queue.contains(&***name)).cloned();
        for name in shown.drain().chain(others).collect::<HashSet<_>>() {
            let counts = of(&name);
            metrics.held_queue(&name, counts);
            if counts != [0; STATES.len()] {
                shown.insert(name);
            }
        }
        let store = &metrics.store;
        let sizes = queue.store.sizes();
        store.bytes.set(i64::try_from(sizes.used).unwrap_or(i64::MAX));
        // Memory has no file system: 0.
        store.free_bytes.set(sizes.free.map_or(0, |free| i64::try_from(free).unwrap_or(i64::MAX)));
        let health = queue.store.health();
        store.failed.set(i64::from(matches!(health, Health::Failed(_))));
        store.unreachable.set(i64::from(matches!(health, Health::Unreachable(_))));
        if let Some(sharing) = queue.store.sharing() {
            store.shared.set(1);
            store.replicated.set(i64::from(sharing.is_replicated.load(Ordering::Relaxed)));
            late += count_up(&store.late_outcomes, sharing.late_outcomes.load(Ordering::Relaxed) - late);
        }
        dropped += count_up(&metrics.records.full, queue.store.dropped() - dropped);
        evicted += count_up(&metrics.records.evicted_keys, queue.store.evicted() - evicted);
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The name of a route that has a queue.
fn queued(route: &RouteShared) -> Option<&str> {
    route.metrics.queue.as_ref().map(|_| route.config.name.as_str())
}

/// How many deliveries of each route are in the [`STATES`].
fn by_route(counts: &Counts) -> HashMap<Arc<str>, [u64; STATES.len()]> {
    let mut routes: HashMap<Arc<str>, [u64; STATES.len()]> = HashMap::new();
    for ((name, shown), count) in counts {
        if let Some(place) = STATES.iter().position(|state| state == shown)
            && let Some(of_state) = routes.entry(name.clone()).or_default().get_mut(place)
        {
            *of_state += count;
        }
    }
    routes
}

/// Counts what has been added since the last time.
fn count_up(counter: &IntCounter, added: u64) -> u64 {
    counter.inc_by(added);
    added
}
