//! Hears what the store has committed, once for all streams, as long as there is one.
//!
//! What is new comes with its summary. What has changed is read, for all streams at once; while it is read, further changes
//! collect, so that the store is asked no more often than it answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use uuid::Uuid;

use super::told::Told;
use crate::lock::lock;
use crate::store::{News, Store};

/// Batches that a stream can be behind.
const BEHIND: usize = 256;
/// Changed deliveries that are read at once.
const TOGETHER: usize = 2_000;

/// What was committed together.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Deliveries, and whether they are new.
    pub deliveries: Arc<[(Arc<Told>, bool)]>,
    /// Deliveries and changes before them that could not be read.
    pub missed: u64,
}

/// The source of all streams.
#[derive(Debug, Default)]
pub struct Hub(Mutex<Option<broadcast::WeakSender<Seen>>>);

impl Hub {
    /// What is committed from now on.
    pub fn follow(&self, store: &Store) -> broadcast::Receiver<Seen> {
        let mut sender = lock(&self.0);
        if let Some(running) = sender.as_ref().and_then(broadcast::WeakSender::upgrade) {
            return running.subscribe();
        }
        let (seen, receiver) = broadcast::channel(BEHIND);
        *sender = Some(seen.downgrade());
        tokio::spawn(read(store.clone(), store.follow(), seen));
        receiver
    }
}

/// Ends with the last stream, or with the store.
async fn read(store: Store, mut news: broadcast::Receiver<News>, seen: broadcast::Sender<Seen>) {
    let mut expected = None;
    let mut missed = 0;
    loop {
        let first = tokio::select! {
            () = seen.closed() => return,
            batch = news.recv() => batch,
        };
        let mut next = match first {
            Ok(news) => Some(news),
            // The next batch says how many notices were in those that are lost.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let mut deliveries: Vec<(Arc<Told>, bool)> = Vec::new();
        // What has to be read, and whether it is new.
        let mut unread: HashMap<Uuid, bool> = HashMap::new();
        while let Some(News { first, notices }) = next {
            missed += first.saturating_sub(expected.unwrap_or(first));
            expected = Some(first + notices.len() as u64);
            for notice in notices.iter() {
                if let Some(stored) = &notice.stored {
                    deliveries.push((Arc::new(Told::new(stored.clone())), true));
                    continue;
                }
                *unread.entry(notice.id).or_default() |= notice.is_new;
            }
            next = if unread.len() < TOGETHER { more(&mut news) } else { None };
        }
        let asked = unread.len() as u64;
        if asked > 0 {
            match store.summaries(unread.keys().copied().collect()).await {
                Ok(found) => deliveries.extend(found.into_iter().map(|stored| {
                    let is_new = unread.get(&stored.delivery.id).is_some_and(|is_new| *is_new);
                    (Arc::new(Told::new(stored)), is_new)
                })),
                Err(error) => {
                    tracing::debug!(%error, "what was committed cannot be read for the streams");
                    missed += asked;
                }
            }
        }
        // The last stream may have gone by now.
        let _nobody = seen.send(Seen { deliveries: deliveries.into(), missed: std::mem::take(&mut missed) });
    }
}

/// What has been committed meanwhile.
fn more(news: &mut broadcast::Receiver<News>) -> Option<News> {
    loop {
        match news.try_recv() {
            Ok(news) => return Some(news),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
        }
    }
}
