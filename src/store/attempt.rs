//! Attempts to hand deliveries on: what is claimed, what came of it, what stays.

use std::sync::Arc;

use bytes::Bytes;
use smol_str::SmolStr;
use uuid::Uuid;

use super::details::StoredDetails;
use super::types::{Millis, State, Stored};
use super::waiting::Waiting;

/// An attempt to hand a delivery to one destination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Which of the route's destinations; 0 is the first.
    pub destination: u16,
    /// From 1, for each destination.
    pub number: u32,
    /// When it began.
    pub at: Millis,
    /// The metric's label: `2xx`, `5xx`, `timeout` and the like.
    pub result: Arc<str>,
    /// The handler's status.
    pub status: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// From the begin of the attempt to the end of the response.
    pub duration_ms: u32,
    /// A person asked for it.
    pub replay: bool,
    /// The name of the gateway that made it, as a store tells it that gateways share.
    pub gateway: Option<SmolStr>,
    /// The response's head, as the caller encodes it.
    pub response_head: Bytes,
    /// The first bytes of the response's body.
    pub response_body: Bytes,
}

impl Attempt {
    /// About how much memory it takes.
    pub fn weight(&self) -> usize {
        256 + self.response_head.len() + self.response_body.len()
    }

    /// Takes out what is erased with its delivery.
    pub fn redact(&mut self) {
        (self.response_head, self.response_body, self.error) = (Bytes::new(), Bytes::new(), None);
    }
}

/// Stands for one delivery at one destination towards the store; valid as long as it is claimed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket {
    pub(super) row: i64,
    pub(super) destination: u16,
}

impl Ticket {
    /// Which of the route's destinations; 0 is the first.
    pub fn destination(self) -> u16 {
        self.destination
    }
}

impl Next {
    /// The state that a delivery gets whose attempt ended so; one that does not wait any more, because a person settled it,
    /// keeps its state unless it was delivered.
    pub fn settles(&self, waits: bool) -> Option<State> {
        match self {
            Self::Settle(state) if waits || *state == State::Delivered => Some(*state),
            Self::Settle(_) | Self::Keep | Self::Retry(_) => None,
        }
    }
}

/// A delivery that is new or has changed.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The delivery's id.
    pub id: Uuid,
    /// Whether it is new.
    pub is_new: bool,
    /// The delivery as lists show it, if it is new and the store is not shared: a follower need not read it, and it may
    /// have gone by then.
    pub stored: Option<Stored>,
}

/// A delivery that is due, claimed for one attempt.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Names it in [`AttemptOutcome`] and in [`Store::release`](super::Store::release).
    pub ticket: Ticket,
    /// The delivery's id.
    pub id: Uuid,
    /// When the request's first byte came.
    pub received_at: Millis,
    /// Its place in the queue.
    pub waiting: Waiting,
    /// The route's scheme when it came.
    pub scheme: Arc<str>,
    /// What else is known of it.
    pub details: StoredDetails,
    /// The request's head, as the caller encoded it.
    pub head: Bytes,
    /// The request's body.
    pub body: Bytes,
}

/// What an attempt leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Another attempt at this time.
    Retry(Millis),
    /// This destination is done, and the delivery has this state: delivered or dead.
    Settle(State),
    /// This destination is done; the delivery keeps the state that it had.
    Keep,
}

/// The outcome of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptOutcome {
    /// The delivery's id.
    pub id: Uuid,
    /// Which delivery at which destination.
    pub ticket: Ticket,
    /// [`Waiting::since`]: if a person has had the delivery sent again meanwhile, this outcome leaves that alone.
    pub since: Millis,
    /// What happened.
    pub attempt: Attempt,
    /// What follows.
    pub next: Next,
    /// Why it is dead.
    pub reason: Option<Arc<str>>,
    /// What stays once the delivery is settled; `None` leaves all as it is.
    pub settled: Option<Settled>,
}

/// What stays of a settled delivery.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Whether anything stays; if not, the delivery is forgotten with its attempts.
    pub is_kept: bool,
    /// The head; `None` leaves it as it is.
    pub head: Option<Bytes>,
    /// The body.
    pub body: KeptBody,
    /// A secret goes: the former bytes are overwritten in all files.
    pub secret: bool,
}

/// What stays of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptBody {
    /// All of it.
    AsItIs,
    /// These bytes instead.
    Only(Bytes),
    /// Nothing.
    Nothing,
}

/// What a delivery to queue came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// Committed and synced. With a ticket for each destination, where it was to be claimed at once.
    Stored(Ticket),
    /// The dedupe key belongs to this earlier delivery.
    Duplicate(Uuid),
}
