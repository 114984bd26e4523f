//! Opens the store of a configuration, and tells it which routes there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::lane::Queue;
use super::retry::RetryPolicy;
use crate::clock::Clock;
use crate::config::{self, Config, Delivery, Place};
use crate::metrics::StoreMetrics;
use crate::store::backend::Backend;
use crate::store::postgres::{self, Postgres};
use crate::store::sqlite::{OpenError, Sqlite};
use crate::store::{Change, Changed, Health, Keep, Limits, Millis, Store, StoreError, memory, millis};

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreStartError {
    /// The folder, or the database in it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database that gateways share.
    #[error(transparent)]
    Postgres(#[from] postgres::error::OpenError),
    /// A thread, or a first read.
    #[error("cannot start the store: {0}")]
    Threads(#[from] std::io::Error),
}

impl Queue {
    /// Opens the store that `config` names, or one in memory.
    ///
    /// # Errors
    /// See [`StoreStartError`].
    pub fn open(config: &Config, metrics: &StoreMetrics, clock: &Clock) -> Result<Self, StoreStartError> {
        let observed = metrics.clone();
        let on_commit = Box::new(move |committed: crate::store::Committed| {
            observed.sync.observe(committed.took.as_secs_f64());
            if committed.deliveries > 0 {
                observed.batch.observe(committed.deliveries as f64);
            }
        });
        // The store reads the clock as well, as it is opened.
        let started = (clock.now(), clock.unix());
        let store = match &config.store {
            None => {
                let keep = Keep { delivered: Millis::MAX, dead: Millis::MAX, refused: Millis::MAX };
                let backend = memory::Memory::new(memory::Bounds::default(), keep);
                Store::start(Box::new(backend), Limits::default(), clock.clone(), on_commit)?
            }
            Some(settings) => {
                let keep = keep(settings);
                let backend: Box<dyn Backend> = match &settings.place {
                    Place::Folder(path) => Box::new(Sqlite::open(path, keep, clock.clone())?),
                    Place::Postgres { target, .. } => {
                        let (target, gateway) = (target.as_ref().clone(), config.server.name.as_str().into());
                        let clock = clock.clone();
                        let settings = postgres::Settings { target, gateway, keep, clock, trust_clock: false };
                        Box::new(Postgres::open(settings)?)
                    }
                };
                let limits = Limits { max_size: settings.max_size, min_free: settings.min_free, ..Limits::default() };
                metrics.max_bytes.set(i64::try_from(settings.max_size).unwrap_or(i64::MAX));
                Store::start(backend, limits, clock.clone(), on_commit)?
            }
        };
        Ok(Self::since(started, store, clock))
    }

    /// Has the store go by the settings of a new configuration, which names the same store.
    pub fn adjust(&self, settings: &config::Store, metrics: &StoreMetrics) {
        self.store.adjust(settings.max_size, settings.min_free, keep(settings));
        metrics.max_bytes.set(i64::try_from(settings.max_size).unwrap_or(i64::MAX));
    }

    /// Tells the store which of its routes are missing from the configuration, and which are paused by it. Attempts that are
    /// further away than a route now waits at most are brought forward. It does no harm to call it again.
    ///
    /// # Errors
    /// The first one of the store. All other routes are told all the same.
    pub async fn configure(&self, routes: &[&config::Route], clock: &Clock) -> Result<(), StoreError> {
        let waiting = self.waiting();
        let mut told = Ok(());
        let names: HashSet<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        for (name, state) in self.store.routes() {
            let waiting = waiting.get(&name).copied().unwrap_or_default();
            // Also without a waiting delivery: one may still be on its way from the former configuration.
            let held = !names.contains(&*name);
            if held && waiting > 0 {
                tracing::warn!(route = &*name, waiting, "deliveries are held: no route has this name");
            }
            if held != state.held {
                let held = self.store.change(Change::Hold { route: name.clone(), held }).await;
                told = told.and(held.map(drop));
            }
        }
        for route in routes {
            let name: Arc<str> = Arc::from(route.name.as_str());
            let is_used = waiting.contains_key(&name) || self.store.route(&name).paused;
            if matches!(route.delivery, Delivery::Proxy) && !is_used {
                continue;
            }
            told = told.and(self.configure_route(&name, &route.delivery.queue(), clock).await);
            self.wake(&name);
        }
        told
    }

    async fn configure_route(
        &self,
        name: &Arc<str>,
        settings: &config::Queue,
        clock: &Clock,
    ) -> Result<(), StoreError> {
        // What a person has said since holds until the file says something else.
        if settings.paused != self.store.route(name).paused_by_file {
            self.store.change(Change::PauseByFile { route: name.clone(), paused: settings.paused }).await?;
        }
        let latest = self.millis(clock.now()).saturating_add(millis(RetryPolicy::from(&settings.retry).longest()));
        let cut = self.store.change(Change::Cut { route: name.clone(), latest }).await?;
        if cut != Changed::Done(0) {
            tokio::task::spawn_local(cut_others(self.store.clone(), name.clone(), latest));
        }
        Ok(())
    }

    /// Whether the store takes deliveries, or can heal by itself.
    pub fn is_well(&self) -> bool {
        !matches!(self.store.health(), Health::Failed(_) | Health::Unreachable(_))
    }

    /// How many deliveries of each route wait; a route without any is left out.
    fn waiting(&self) -> HashMap<Arc<str>, u64> {
        use crate::store::Shown::{Held, Pending, Retrying};
        let mut waiting = HashMap::new();
        for ((name, shown), count) in self.store.counts() {
            if matches!(shown, Pending | Retrying | Held) {
                *waiting.entry(name).or_default() += count;
            }
        }
        waiting
    }
}

fn keep(settings: &config::Store) -> Keep {
    let config::Keep { delivered, dead, refused } = settings.keep;
    Keep { delivered: millis(delivered), dead: millis(dead), refused: millis(refused) }
}

/// Goes on cutting until no attempt is too far away: a change cuts a part of them.
async fn cut_others(store: Store, route: Arc<str>, latest: Millis) {
    loop {
        match store.change(Change::Cut { route: route.clone(), latest }).await {
            Ok(Changed::Done(0)) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(route = &*route, %error, "attempts that are too far away were not brought forward");
                return;
            }
        }
    }
}
