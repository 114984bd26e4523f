//! Which deliveries are being attempted: kept in memory only, so that a killed gateway repeats them.
//!
//! A delivery is claimed from the moment it is handed out until its outcome is committed. The difficulty is a read that
//! overlaps a commit: it may still show a row as due whose outcome has been committed since. So the writer only notes
//! what it did in a log, and [`Claims::read`] applies the log before its read (what was released then was committed
//! before the read, which sees it) and, after the read, only the new claims (what was released meanwhile the read may
//! have seen as due). The writer never waits for a read.

use std::collections::HashSet;
use std::sync::Mutex;

use super::attempt::{Claimed, Ticket};
use super::types::StoreError;
use crate::lock::lock;

/// What happened to a ticket, in order.
#[derive(Clone, Copy, Debug)]
enum Move {
    Claim(Ticket),
    Release(Ticket),
}

/// The claimed tickets.
#[derive(Debug, Default)]
pub struct Claims {
    held: Mutex<HashSet<Ticket>>,
    log: Mutex<Vec<Move>>,
}

impl Claims {
    /// The writer is about to commit a delivery that its sender attempts at once.
    pub fn claim(&self, ticket: Ticket) {
        lock(&self.log).push(Move::Claim(ticket));
    }

    /// The outcomes of these have been committed, or they are given back without an attempt.
    pub fn release(&self, tickets: impl IntoIterator<Item = Ticket>) {
        lock(&self.log).extend(tickets.into_iter().map(Move::Release));
    }

    /// Whether the delivery in this row is being attempted anywhere, even if it does not wait any more. It may wait for a read.
    pub fn has(&self, row: i64) -> bool {
        let mut held = lock(&self.held);
        self.apply_log(&mut held);
        held.iter().any(|ticket| ticket.row == row)
    }

    /// Reads what is due and claims it.
    pub fn read(
        &self,
        read: impl FnOnce(&HashSet<Ticket>) -> Result<Vec<Claimed>, StoreError>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut held = lock(&self.held);
        self.apply_log(&mut held);
        let mut due = read(&held)?;
        lock(&self.log).retain(|step| match step {
            Move::Claim(ticket) => {
                held.insert(*ticket);
                false
            }
            Move::Release(_) => true,
        });
        due.retain(|claimed| held.insert(claimed.ticket));
        Ok(due)
    }

    fn apply_log(&self, held: &mut HashSet<Ticket>) {
        for step in std::mem::take(&mut *lock(&self.log)) {
            match step {
                Move::Claim(ticket) => held.insert(ticket),
                Move::Release(ticket) => held.remove(&ticket),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::store::details::StoredDetails;
    use crate::store::waiting::Waiting;

    const ONE: Ticket = Ticket { row: 1, destination: 0 };

    fn due(ticket: Ticket) -> Claimed {
        Claimed {
            ticket,
            id: Uuid::nil(),
            received_at: 0,
            waiting: Waiting::received(0),
            scheme: "none".into(),
            details: StoredDetails::default(),
            head: Bytes::new(),
            body: Bytes::new(),
        }
    }

    fn read(claims: &Claims, meanwhile: impl FnOnce()) -> usize {
        claims
            .read(|held| {
                let found = if held.contains(&ONE) { Vec::new() } else { vec![due(ONE)] };
                meanwhile();
                Ok(found)
            })
            .unwrap()
            .len()
    }

    #[test]
    fn a_claimed_delivery_is_handed_out_again_only_after_its_release() {
        let claims = Claims::default();
        assert_eq!(read(&claims, || ()), 1);
        assert_eq!(read(&claims, || ()), 0);
        claims.release([ONE]);
        assert_eq!(read(&claims, || ()), 1);
    }

    #[test]
    fn what_is_claimed_is_told_from_what_was_released() {
        let claims = Claims::default();
        assert!(!claims.has(1));
        claims.claim(ONE);
        assert!(claims.has(1) && !claims.has(2));
        assert_eq!(read(&claims, || ()), 0, "the question has changed nothing");
        claims.release([ONE]);
        assert!(!claims.has(1));
    }

    #[test]
    fn a_delivery_that_is_committed_and_completed_during_a_read_is_not_handed_out() {
        let claims = Claims::default();
        let found = read(&claims, || {
            claims.claim(ONE);
            claims.release([ONE]);
        });
        assert_eq!(found, 0);
        assert_eq!(read(&claims, || ()), 1, "the release counts from the next read on");
    }

    #[test]
    fn a_release_during_a_read_counts_from_the_next_one_on() {
        let claims = Claims::default();
        claims.claim(ONE);
        assert_eq!(read(&claims, || claims.release([ONE])), 0);
        assert_eq!(read(&claims, || ()), 1);
    }
}
