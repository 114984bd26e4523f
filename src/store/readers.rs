//! A thread that reads: callers on the worker threads hand it a question and await the answer.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, oneshot};

use super::backend::Reader;
use super::types::StoreError;

/// Questions that may wait for a thread. More are refused, so that a slow query cannot pile them up.
const WAITING: usize = 256;
/// Of these, how many may be of callers that wait for their turn, as the dispatchers of all routes do.
const IN_TURN: usize = WAITING / 2;

type Job = Box<dyn FnOnce(&mut dyn Reader) + Send>;

/// A reading thread; it ends when this is dropped.
pub struct ReaderThread {
    jobs: Option<SyncSender<Job>>,
    turns: Semaphore,
    thread: Option<JoinHandle<()>>,
}

impl ReaderThread {
    /// Starts one, which does `begin` first.
    pub fn start(name: &str, reader: Box<dyn Reader>, begin: fn()) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            begin();
            run(reader, &waiting);
        })?;
        Ok(Self { jobs: Some(jobs), turns: Semaphore::new(IN_TURN), thread: Some(thread) })
    }

    /// Asks; the answer comes from the thread.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            // A caller that has gone does not need the answer.
            if !answer.is_closed() {
                // After a panic the caller gets an error, and later questions are answered.
                match catch_unwind(AssertUnwindSafe(|| question(reader))) {
                    Ok(result) => {
                        let _gone = answer.send(result);
                    }
                    Err(_) => tracing::error!("a panic while the store was read"),
                }
            }
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|_full| StoreError::Slow)?;
        answered.await.map_err(|_dropped| StoreError::Closed)?
    }
}

impl ReaderThread {
    /// Asks once fewer than [`IN_TURN`] such questions wait: many callers that begin at the same time are not refused.
    pub async fn ask_in_turn<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.turns.acquire().await.map_err(|_closed| StoreError::Closed)?;
        self.ask(question).await
    }
}

impl fmt::Debug for ReaderThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderThread").finish_non_exhaustive()
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _panicked = thread.join();
        }
    }
}

fn run(mut reader: Box<dyn Reader>, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job(&mut *reader);
    }
}
