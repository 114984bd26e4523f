//! Tells followers what has been committed. The writer never waits for a follower, and does nothing without one.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::attempt::Named;
use super::backend::{Answer, Write};
use super::types::{Change, Changed};

/// Batches that a follower can be behind; who is slower misses the oldest.
const BEHIND: usize = 256;

/// A batch of what has been committed.
#[derive(Clone, Debug)]
pub struct News {
    /// How many notices came before, as far as anybody followed: a follower finds out how many it has missed.
    pub first: u64,
    /// In the order of the commits.
    pub notices: Arc<[Notice]>,
}

/// A delivery that is new or has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The delivery.
    pub delivery: Named,
    /// Whether it is new.
    pub is_new: bool,
}

/// The writer's side.
#[derive(Debug)]
pub struct Feed {
    news: broadcast::Sender<News>,
    sent: u64,
}

impl Feed {
    /// Sends to all who follow `news`.
    pub fn new(news: broadcast::Sender<News>) -> Self {
        Self { news, sent: 0 }
    }

    /// A channel of news.
    pub fn channel() -> broadcast::Sender<News> {
        broadcast::Sender::new(BEHIND)
    }

    /// Tells of a batch that is committed.
    pub fn tell(&mut self, writes: &[Write], answers: &[Answer]) {
        if self.news.receiver_count() == 0 {
            return;
        }
        let notices: Arc<[Notice]> =
            writes.iter().zip(answers).filter_map(|(write, answer)| notice(write, answer)).collect();
        if notices.is_empty() {
            return;
        }
        let (first, count) = (self.sent, notices.len() as u64);
        self.sent += count;
        // The last follower may have gone by now.
        let _nobody = self.news.send(News { first, notices });
    }
}

fn notice(write: &Write, answer: &Answer) -> Option<Notice> {
    let (delivery, is_new) = match write {
        Write::Accept { delivery, .. } if matches!(answer, Answer::Stored(_)) => (Named::Id(delivery.id), true),
        Write::Record(record) => (Named::Id(record.delivery.id), true),
        Write::Complete(outcome) => (Named::Ticket(outcome.ticket), false),
        Write::Change(Change::Settle { id, .. } | Change::Erase { id } | Change::Requeue { id, .. })
            if matches!(answer, Answer::Changed(Changed::Done(_))) =>
        {
            (Named::Id(*id), false)
        }
        Write::Accept { .. } | Write::Key(..) | Write::GiveBack(_) | Write::Change(_) => return None,
    };
    Some(Notice { delivery, is_new })
}
