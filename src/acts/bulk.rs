//! Sends many deliveries again: all that a filter finds, at a rate.
//!
//! The deliveries are found first, so that it is known how many there are; what comes later is not among them. The newest
//! ones go first. The latest [`KEPT`] runs are remembered until the gateway ends; a restart stops them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::{Acts, Refused};
use crate::lock::lock;
use crate::store::{Filter, StoreError};

/// Replays a second, unless another rate is asked for. The route's own `max_rate` and `max_concurrent` hold as well.
pub const DEFAULT_PER_SECOND: u32 = 50;
/// The most replays a second.
pub const MAX_PER_SECOND: u32 = 1_000;
/// The most deliveries of a run.
pub const MAX_DELIVERIES: usize = 1_000_000;
/// Runs that are remembered.
pub const KEPT: usize = 100;
/// Runs that go on at once.
pub const MAX_RUNNING: usize = 8;

/// Deliveries of a page.
const PAGE: usize = 500;
/// How often a store that is full or slow is asked again, and how long after.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// How far a run is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Names the run.
    pub id: Uuid,
    /// Whether it goes on.
    pub state: RunState,
    /// Deliveries that were found.
    pub matched: u64,
    /// Of these, how many are sent again.
    pub done: u64,
    /// How many could not be replayed.
    pub failed: u64,
    /// How many have not been looked at.
    pub left: u64,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunState {
    /// It does.
    Running,
    /// It has come to its end.
    Done,
    /// A person has stopped it, or the store has failed.
    Stopped,
}

impl RunState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }
}

/// The latest runs, the oldest first.
#[derive(Debug)]
pub struct Runs {
    latest: Mutex<VecDeque<Arc<Run>>>,
    places: Arc<Semaphore>,
}

impl Default for Runs {
    fn default() -> Self {
        Self { latest: Mutex::default(), places: Arc::new(Semaphore::new(MAX_RUNNING)) }
    }
}

#[derive(Debug)]
struct Run {
    progress: Mutex<Progress>,
    stop: Notify,
    /// Its place among those that go on, until it ends.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Acts {
    /// How many deliveries a filter finds, `max` at most. Meanwhile it has the place of a run.
    ///
    /// # Errors
    /// [`Refused::TooManyRuns`], [`Refused::Store`].
    pub async fn count(&self, filter: Filter, max: usize) -> Result<u64, Refused> {
        let _place = self.runs.place()?;
        Ok(self.find(filter, max).await?.len() as u64)
    }

    /// Finds deliveries and begins to replay them, on the runtime of the caller: up to `max`, `per_second` a second. Both are
    /// brought within the bounds of this module.
    ///
    /// # Errors
    /// [`Refused::TooManyRuns`], [`Refused::Store`].
    pub async fn start_bulk(&self, filter: Filter, max: usize, per_second: u32) -> Result<Progress, Refused> {
        self.start_bulk_as(Uuid::new_v4(), filter, max, per_second).await
    }

    /// The same under an id of the caller's, who must not use it twice.
    ///
    /// # Errors
    /// [`Refused::TooManyRuns`], [`Refused::Store`].
    pub async fn start_bulk_as(
        &self,
        id: Uuid,
        filter: Filter,
        max: usize,
        per_second: u32,
    ) -> Result<Progress, Refused> {
        let place = self.runs.place()?;
        let found = self.find(filter, max).await?;
        let run = self.runs.add(id, found.len() as u64, place);
        let progress = *run.progress();
        tokio::spawn(self.clone().work(run, found, per_second.clamp(1, MAX_PER_SECOND)));
        Ok(progress)
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`Refused::UnknownRun`].
    pub fn bulk(&self, id: Uuid) -> Result<Progress, Refused> {
        self.runs.find(id).map(|run| *run.progress())
    }

    /// Stops a run; what it has asked for already is still sent.
    ///
    /// # Errors
    /// [`Refused::UnknownRun`].
    pub fn stop_bulk(&self, id: Uuid) -> Result<Progress, Refused> {
        let run = self.runs.find(id)?;
        run.end(RunState::Stopped);
        run.stop.notify_one();
        let progress = *run.progress();
        Ok(progress)
    }

    /// The ids of the deliveries that a filter finds, newest first.
    async fn find(&self, mut filter: Filter, max: usize) -> Result<Vec<Uuid>, Refused> {
        let max = max.min(MAX_DELIVERIES);
        let (mut found, mut patience) = (Vec::new(), Patience::default());
        while found.len() < max {
            let limit = PAGE.min(max - found.len());
            let page = match self.queue.store.list(filter.clone(), limit).await {
                Ok(page) => page,
                Err(error) if patience.allows(&error).await => continue,
                Err(error) => return Err(error.into()),
            };
            found.extend(page.deliveries.iter().map(|stored| stored.delivery.id));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
        Ok(found)
    }

    async fn work(self, run: Arc<Run>, found: Vec<Uuid>, per_second: u32) {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for id in found {
            tokio::select! {
                biased;
                () = run.stop.notified() => return,
                _ = pace.tick() => {}
            }
            let Some(result) = self.replay_patiently(&run, id).await else { return };
            match result {
                Ok(_) => run.count(true),
                Err(Refused::Store(error)) => {
                    tracing::error!(run = %run.progress().id, %error, "a bulk replay is stopped");
                    return run.end(RunState::Stopped);
                }
                Err(_) => run.count(false),
            }
        }
        run.end(RunState::Done);
    }

    /// Replays a delivery, also while the store is full or slow for a time; `None` if the run is stopped meanwhile.
    async fn replay_patiently(&self, run: &Run, id: Uuid) -> Option<Result<u32, Refused>> {
        let mut patience = Patience::default();
        loop {
            let error = match self.replay(id).await {
                Err(Refused::Store(error)) => error,
                result => return Some(result),
            };
            let may_help = tokio::select! {
                biased;
                () = run.stop.notified() => return None,
                may_help = patience.allows(&error) => may_help,
            };
            if !may_help {
                return Some(Err(error.into()));
            }
        }
    }
}

/// How often a store that is full or slow has been asked again.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    /// Waits if it may help to ask again, and says whether it may.
    async fn allows(&mut self, error: &StoreError) -> bool {
        let passes =
            matches!(error, StoreError::Full | StoreError::Slow | StoreError::TimedOut | StoreError::Unreachable(_));
        self.0 += 1;
        if !passes || self.0 > TRIES {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

impl Runs {
    /// A place for one more run.
    ///
    /// # Errors
    /// [`Refused::TooManyRuns`].
    fn place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.places.clone().try_acquire_owned().map_err(|_| Refused::TooManyRuns)
    }

    fn add(&self, id: Uuid, matched: u64, place: OwnedSemaphorePermit) -> Arc<Run> {
        let mut runs = lock(&self.latest);
        let progress = Progress { id, state: RunState::Running, matched, done: 0, failed: 0, left: matched };
        let run = Arc::new(Run { progress: Mutex::new(progress), stop: Notify::new(), place: Mutex::new(Some(place)) });
        runs.push_back(run.clone());
        while runs.len() > KEPT
            && let Some(oldest) = runs.iter().position(|run| run.progress().state != RunState::Running)
        {
            runs.remove(oldest);
        }
        run
    }

    fn find(&self, id: Uuid) -> Result<Arc<Run>, Refused> {
        let runs = lock(&self.latest);
        runs.iter().find(|run| run.progress().id == id).cloned().ok_or(Refused::UnknownRun)
    }
}

impl Run {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    /// Notes one more delivery.
    fn count(&self, is_done: bool) {
        let mut progress = self.progress();
        progress.done += u64::from(is_done);
        progress.failed += u64::from(!is_done);
        progress.left = progress.left.saturating_sub(1);
    }

    fn end(&self, state: RunState) {
        let mut progress = self.progress();
        if progress.state == RunState::Running {
            progress.state = state;
            lock(&self.place).take();
        }
    }
}
