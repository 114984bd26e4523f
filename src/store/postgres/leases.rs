//! What this gateway has claimed, and under which sessions.
//!
//! A session is a row of the database with a time until which it lives, by the clock of the database. Each connection that
//! claims has one. What a session has claimed is its own as long as it lives; a gateway that dies renews its sessions
//! no more, and its claims are free [`LEASE_SECONDS`] later. A claim may have been made though its answer was lost:
//! so the next one begins a new session, and the old one is renewed only as long as an attempt under it is under way. Then this
//! gateway ends it, so that what it may hold does not wait for the end of its time.

use std::collections::HashMap;
use std::sync::Mutex;

use uuid::Uuid;

use crate::lock::lock;
use crate::store::attempt::Ticket;

/// How long a session lives after it was renewed. They are renewed each second.
pub const LEASE_SECONDS: i32 = 24;

/// What claims: the connection of the writer, and that of the reader of what is due.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// Claims what it has just stored.
    Writer,
    /// Claims what is due.
    Dispatch,
}

/// A claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The session that has it.
    pub session: i64,
    /// Its number among the claims of this delivery.
    pub fence: i64,
    /// The delivery's id, if it was stored as a fresh one. It may be one that waits by now.
    pub fresh: Option<Uuid>,
}

/// The claims of this process.
#[derive(Debug, Default)]
pub struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    tickets: HashMap<Ticket, Lease>,
    /// The session of each connection, and which connection that was.
    current: HashMap<Role, (i64, u64)>,
    /// Sessions that have lived, with how many claims each has.
    sessions: HashMap<i64, usize>,
    /// Sessions that nothing is claimed or attempted under any more, and that have not been ended.
    idle: Vec<i64>,
}

impl Leases {
    /// The session of this connection, if it has begun one.
    pub fn session(&self, role: Role, connection: u64) -> Option<i64> {
        lock(&self.0).current.get(&role).filter(|(_, of)| *of == connection).map(|(session, _)| *session)
    }

    /// A connection has begun a session.
    pub fn begin(&self, role: Role, connection: u64, session: i64) {
        let mut held = lock(&self.0);
        held.sessions.insert(session, 0);
        held.current.insert(role, (session, connection));
        held.forget_idle();
    }

    /// A delivery was claimed.
    pub fn hold(&self, ticket: Ticket, lease: Lease) {
        let mut held = lock(&self.0);
        held.release(ticket);
        *held.sessions.entry(lease.session).or_default() += 1;
        held.tickets.insert(ticket, lease);
        // It may have had the last claim of another session.
        held.forget_idle();
    }

    /// The claim of a delivery, if this process has it.
    pub fn of(&self, ticket: Ticket) -> Option<Lease> {
        lock(&self.0).tickets.get(&ticket).copied()
    }

    /// Whether the delivery in this row is being attempted in this process.
    pub fn has(&self, row: i64) -> bool {
        lock(&self.0).tickets.keys().any(|ticket| ticket.row == row)
    }

    /// An attempt under this claim has ended, or was not made. The delivery may have been claimed again since: that claim
    /// stays.
    pub fn release(&self, ticket: Ticket, lease: Lease) {
        let mut held = lock(&self.0);
        if held.tickets.get(&ticket) == Some(&lease) {
            held.release(ticket);
            held.forget_idle();
        }
    }

    /// The answer to a claim was lost, so the session may hold rows that this process does not know: the next claim begins a
    /// new one.
    pub fn end_current(&self, role: Role) {
        let mut held = lock(&self.0);
        held.current.remove(&role);
        held.forget_idle();
    }

    /// Sessions that are to be renewed.
    pub fn living(&self) -> Vec<i64> {
        lock(&self.0).sessions.keys().copied().collect()
    }

    /// Sessions that are to be ended.
    pub fn idle(&self) -> Vec<i64> {
        lock(&self.0).idle.clone()
    }

    /// Of the sessions that were to be ended these are still there.
    pub fn ended(&self, asked: &[i64], left: &[i64]) {
        lock(&self.0).idle.retain(|session| !asked.contains(session) || left.contains(session));
    }

    /// Rows that are being attempted in this process: they are not to be claimed here a second time, though their session may
    /// have ended.
    pub fn rows(&self) -> Vec<i64> {
        lock(&self.0).tickets.keys().map(|ticket| ticket.row).collect()
    }

    /// Of the sessions that were to be renewed these live; the others have ended. Says how many have.
    pub fn renewed(&self, asked: &[i64], live: &[i64]) -> usize {
        let mut held = lock(&self.0);
        let before = held.sessions.len();
        for ended in asked.iter().filter(|session| !live.contains(session)) {
            held.sessions.remove(ended);
            held.current.retain(|_, (session, _)| session != ended);
        }
        before - held.sessions.len()
    }
}

impl Held {
    fn release(&mut self, ticket: Ticket) {
        if let Some(lease) = self.tickets.remove(&ticket)
            && let Some(count) = self.sessions.get_mut(&lease.session)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Sessions of connections that are gone end with their last attempt.
    fn forget_idle(&mut self) {
        let (current, idle) = (&self.current, &mut self.idle);
        self.sessions.retain(|session, count| {
            let is_used = *count > 0 || current.values().any(|(used, _)| used == session);
            if !is_used {
                idle.push(*session);
            }
            is_used
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: Ticket = Ticket { row: 1, destination: 0 };

    #[test]
    fn the_session_of_a_lost_connection_lives_as_long_as_an_attempt_under_it() {
        let leases = Leases::default();
        leases.begin(Role::Writer, 1, 10);
        leases.hold(TICKET, Lease { session: 10, fence: 1, fresh: None });
        assert_eq!(leases.session(Role::Writer, 2), None, "another connection");
        leases.begin(Role::Writer, 2, 11);
        let mut living = leases.living();
        living.sort_unstable();
        assert_eq!(living, [10, 11]);
        leases.hold(TICKET, Lease { session: 10, fence: 2, fresh: None });
        leases.release(TICKET, Lease { session: 10, fence: 1, fresh: None });
        assert_eq!(leases.rows(), [1], "it has been claimed again");
        leases.release(TICKET, Lease { session: 10, fence: 2, fresh: None });
        assert_eq!((leases.living(), leases.idle()), (vec![11], vec![10]));
        leases.ended(&[10], &[10]);
        assert_eq!(leases.idle(), [10], "it could not be ended yet");
        leases.ended(&[10], &[]);
        assert!(leases.idle().is_empty());
        leases.end_current(Role::Writer);
        assert_eq!((leases.session(Role::Writer, 2), leases.living()), (None, vec![]));
    }

    #[test]
    fn a_session_that_could_not_be_renewed_has_ended_and_its_attempts_are_known() {
        let leases = Leases::default();
        leases.begin(Role::Dispatch, 1, 10);
        leases.hold(TICKET, Lease { session: 10, fence: 1, fresh: None });
        assert_eq!(leases.renewed(&[10], &[10]), 0);
        assert_eq!(leases.renewed(&[10], &[]), 1);
        assert_eq!((leases.session(Role::Dispatch, 1), leases.rows()), (None, vec![1]));
        assert_eq!(leases.of(TICKET), Some(Lease { session: 10, fence: 1, fresh: None }));
    }
}
