//! Tells followers what has been committed. The writer never waits for a follower, and does nothing without one.

use std::sync::{Arc, Mutex};

use tokio::sync::broadcast;

use super::attempt::Notice;
use super::backend::{Answer, Write};
use super::types::{Change, Changed, Delivery, Stored};
use crate::lock::lock;

/// Batches that a follower can be behind; who is slower misses the oldest.
const BEHIND: usize = 256;

/// A batch of what has been committed.
#[derive(Clone, Debug)]
pub struct News {
    /// How many notices came before while there were followers: a follower finds out how many it has missed.
    pub first: u64,
    /// In the order of the commits.
    pub notices: Arc<[Notice]>,
}

/// The side of those who tell.
#[derive(Debug)]
pub struct Feed {
    news: broadcast::Sender<News>,
    sent: Mutex<u64>,
}

impl Feed {
    /// Sends to all who follow `news`.
    pub fn new(news: broadcast::Sender<News>) -> Self {
        Self { news, sent: Mutex::new(0) }
    }

    /// A channel of news.
    pub fn channel() -> broadcast::Sender<News> {
        broadcast::Sender::new(BEHIND)
    }

    /// Tells of a batch that is committed. Of a store that `is_shared` those who follow read what is new: it says which
    /// gateway took it.
    pub fn tell(&self, writes: &[Write], answers: &[Answer], is_shared: bool) {
        if !self.is_followed() {
            return;
        }
        let notices: Arc<[Notice]> =
            writes.iter().zip(answers).filter_map(|(write, answer)| notice(write, answer, is_shared)).collect();
        self.pass_on(notices);
    }

    /// Whether there are followers.
    pub fn is_followed(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Tells of what others have committed who share the store.
    pub fn pass_on(&self, notices: Arc<[Notice]>) {
        if notices.is_empty() {
            return;
        }
        let mut sent = lock(&self.sent);
        let first = *sent;
        *sent += notices.len() as u64;
        // The last follower may have gone by now.
        let _nobody = self.news.send(News { first, notices });
    }
}

/// What a write has to tell, by what came of it.
pub fn notice(write: &Write, answer: &Answer, is_shared: bool) -> Option<Notice> {
    let new = |delivery: &Delivery, attempts, next| {
        let stored = (!is_shared).then(|| Stored::new(delivery, attempts, next));
        Notice { id: delivery.id, is_new: true, stored }
    };
    let changed = |id| Notice { id, is_new: false, stored: None };
    match write {
        Write::Accept { delivery, .. } if matches!(answer, Answer::Stored(_)) => {
            Some(new(delivery, 0, Some(delivery.received_at)))
        }
        Write::Record(record) => Some(new(&record.delivery, u32::from(record.attempt.is_some()), None)),
        Write::Complete(outcome) => Some(changed(outcome.id)),
        Write::Change(Change::Settle { id, .. } | Change::Erase { id } | Change::Requeue { id, .. })
            if matches!(answer, Answer::Changed(Changed::Done(_))) =>
        {
            Some(changed(*id))
        }
        Write::Accept { .. } | Write::Key(..) | Write::Release(_) | Write::Change(_) => None,
    }
}
