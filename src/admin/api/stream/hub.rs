//! Reads what the store has committed, once for all streams, as long as there is one.

use std::sync::{Arc, Mutex};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::lock::lock;
use crate::store::{Named, News, Store, Stored};

/// Batches that a stream can be behind.
const BEHIND: usize = 256;

/// What was committed together.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Deliveries as they are when they are read, and whether they are new.
    pub deliveries: Arc<[(Stored, bool)]>,
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
        let batch = tokio::select! {
            () = seen.closed() => return,
            batch = news.recv() => batch,
        };
        let News { first, notices } = match batch {
            Ok(news) => news,
            // The next batch says how many notices were in those that are lost.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        missed += first.saturating_sub(expected.unwrap_or(first));
        expected = Some(first + notices.len() as u64);
        let mut deliveries = Vec::with_capacity(notices.len());
        for is_new in [true, false] {
            let of_kind = notices.iter().filter(|notice| notice.is_new == is_new);
            let named: Vec<Named> = of_kind.map(|notice| notice.delivery).collect();
            let asked = named.len() as u64;
            if asked == 0 {
                continue;
            }
            match store.summaries(named).await {
                Ok(found) => deliveries.extend(found.into_iter().map(|stored| (stored, is_new))),
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
