//! What the store keeps: plain data, without a type of the gateway or the queue.
//!
//! Times are milliseconds since 1970-01-01T00:00:00Z. The store does not read the request's head: it keeps the bytes that
//! the caller encoded, and gives them back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;
use thiserror::Error;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::details::StoredDetails;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// A duration in milliseconds; [`Millis::MAX`] for a longer one.
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// The state of a delivery as it is stored.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum State {
    /// Queued: at least one destination has not taken it yet.
    #[default]
    Pending = 0,
    /// Each destination answered with a 2xx status.
    Delivered = 1,
    /// Given up by the gateway; kept for a person.
    Dead = 2,
    /// A person said that it is not to be sent.
    Discarded = 3,
    /// Head and body were overwritten; the id and the times stay.
    Erased = 4,
    /// Proxied: the handler answered, with any status.
    Forwarded = 5,
    /// Proxied: the handler did not answer.
    Failed = 6,
    /// Refused by the gateway.
    Refused = 7,
    /// Recognised as a repetition of an earlier delivery.
    Duplicate = 8,
    /// A provider's challenge, answered by the gateway.
    Challenge = 9,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Delivered,
        Self::Dead,
        Self::Discarded,
        Self::Erased,
        Self::Forwarded,
        Self::Failed,
        Self::Refused,
        Self::Duplicate,
        Self::Challenge,
    ];

    /// The number that is stored.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The state with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Which period of [`Keep`] applies; `None` for a state that waits.
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::Pending => None,
            Self::Dead => Some(Class::Dead),
            Self::Refused => Some(Class::Refused),
            Self::Delivered
            | Self::Discarded
            | Self::Erased
            | Self::Forwarded
            | Self::Failed
            | Self::Duplicate
            | Self::Challenge => Some(Class::Delivered),
        }
    }
}

/// Which of the three retention periods a settled delivery has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// `keep.delivered`
    Delivered,
    /// `keep.dead`
    Dead,
    /// `keep.refused`
    Refused,
}

/// The number under which a database counts [`Shown::Retrying`]; other kinds have that of their state.
const RETRYING: u8 = 100;

/// The state of a delivery as people see it: [`State::Pending`] is told apart by attempts and by its route.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Shown {
    /// Queued, no attempt made.
    Pending,
    /// Queued, at least one attempt failed.
    Retrying,
    /// Queued for a route that is not in the configuration.
    Held,
    /// A state that is shown as it is stored.
    Settled(State),
}

impl Shown {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Pending,
        Self::Retrying,
        Self::Held,
        Self::Settled(State::Delivered),
        Self::Settled(State::Dead),
        Self::Settled(State::Discarded),
        Self::Settled(State::Erased),
        Self::Settled(State::Forwarded),
        Self::Settled(State::Failed),
        Self::Settled(State::Refused),
        Self::Settled(State::Duplicate),
        Self::Settled(State::Challenge),
    ];

    /// Its name, as people read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending | Self::Settled(State::Pending) => "pending",
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::Settled(State::Delivered) => "delivered",
            Self::Settled(State::Dead) => "dead",
            Self::Settled(State::Discarded) => "discarded",
            Self::Settled(State::Erased) => "erased",
            Self::Settled(State::Forwarded) => "forwarded",
            Self::Settled(State::Failed) => "failed",
            Self::Settled(State::Refused) => "refused",
            Self::Settled(State::Duplicate) => "duplicate",
            Self::Settled(State::Challenge) => "challenge",
        }
    }

    /// The number under which a database counts it; held ones count as pending.
    pub const fn kind(self) -> u8 {
        match self {
            Self::Pending | Self::Held => State::Pending.number(),
            Self::Retrying => RETRYING,
            Self::Settled(state) => state.number(),
        }
    }

    /// What is counted under this number.
    pub fn of_kind(number: u8) -> Option<Self> {
        if number == RETRYING {
            return Some(Self::Retrying);
        }
        Some(Self::of(State::from_number(number)?, 0, false))
    }

    /// What a delivery of this state, number of attempts and route is shown as.
    pub fn of(state: State, attempts: u32, held: bool) -> Self {
        match state {
            State::Pending if held => Self::Held,
            State::Pending if attempts > 0 => Self::Retrying,
            State::Pending => Self::Pending,
            settled => Self::Settled(settled),
        }
    }
}

/// How long settled deliveries stay, in milliseconds from the moment that settled them.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Delivered, forwarded, failed, discarded, erased, duplicates and challenges.
    pub delivered: Millis,
    /// Dead ones.
    pub dead: Millis,
    /// Refused ones.
    pub refused: Millis,
}

impl Keep {
    /// The period of a class.
    pub const fn of(&self, class: Class) -> Millis {
        match class {
            Class::Delivered => self.delivered,
            Class::Dead => self.dead,
            Class::Refused => self.refused,
        }
    }
}

/// A dedupe key and how long it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DedupeKey {
    /// A digest over the route and the provider's event id, or over the content.
    pub key: [u8; 16],
    /// From this time on the key is no longer known.
    pub until: Millis,
}

/// When the delivery with this id was received, by the wall clock of that moment: the id is a UUID of version 7.
pub fn received_at(id: Uuid) -> Millis {
    i64::try_from(id.as_u128() >> 80).unwrap_or_default()
}

/// About how much memory a delivery takes in itself, with its row and without attempts, texts, head and body, in bytes.
const ITSELF: usize = 640;

/// One delivery, as it is stored.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// A UUID of version 7: its order is the order of receipt.
    pub id: Uuid,
    /// When the request's first byte came. Of a queued delivery by the clock of the queue, which goes on from the wall clock of the
    /// start: people are told [`received_at`].
    pub received_at: Millis,
    /// The name of the route, or `none`.
    pub route: Arc<str>,
    /// The name of the route's scheme, or empty.
    pub scheme: Arc<str>,
    /// [`State::Pending`] in a delivery to queue, a settled state in a record.
    pub state: State,
    /// Why it was refused, or why it is dead.
    pub reason: Option<Arc<str>>,
    /// The HTTP status that the sender got, or the handler's last one.
    pub status: Option<u16>,
    /// The provider's name for the kind of event.
    pub event_type: Option<SmolStr>,
    /// The provider's id of the event.
    pub event_id: Option<SmolStr>,
    /// Its `X-Request-Id`; [`Delivery::request_id`] is the text.
    pub request_id: RequestId,
    /// The client's address.
    pub peer: SmolStr,
    /// The request's method.
    pub method: SmolStr,
    /// The request's path, without the query.
    pub path: SmolStr,
    /// The length of the request's body as it came.
    pub request_bytes: u64,
    /// From the first byte to the end of the response.
    pub duration_ms: Option<u32>,
    /// The request's head, as the caller encodes it.
    pub head: Bytes,
    /// The request's body, or the part of it that is kept. `None` where none is kept.
    pub body: Option<Bytes>,
    /// What is kept beside: verification and timing.
    pub details: StoredDetails,
}

/// What the store keeps of a delivery's `X-Request-Id`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RequestId {
    /// It is not known.
    #[default]
    Unknown,
    /// It is the delivery's id, and needs no room of its own. A store may give it back as [`RequestId::Named`].
    Own,
    /// This text.
    Named(SmolStr),
}

impl Delivery {
    /// About how much memory it takes.
    pub fn weight(&self) -> usize {
        let request_id = if let RequestId::Named(text) = &self.request_id { Some(text) } else { None };
        let texts = [self.event_type.as_ref(), self.event_id.as_ref(), request_id];
        let texts: usize = texts.into_iter().flatten().map(SmolStr::len).sum();
        let body = self.body.as_ref().map_or(0, Bytes::len);
        ITSELF + texts + self.peer.len() + self.path.len() + self.head.len() + self.details.weight() + body
    }

    /// Whether this is its `X-Request-Id`.
    pub fn has_request_id(&self, text: &str) -> bool {
        let mut own = [0; Hyphenated::LENGTH];
        match &self.request_id {
            RequestId::Unknown => false,
            RequestId::Own => self.id.hyphenated().encode_lower(&mut own) == text,
            RequestId::Named(named) => named == text,
        }
    }

    /// The `X-Request-Id`, if it is known.
    pub fn request_id(&self) -> Option<Cow<'_, str>> {
        match &self.request_id {
            RequestId::Unknown => None,
            RequestId::Own => Some(self.id.to_string().into()),
            RequestId::Named(text) => Some(text.as_str().into()),
        }
    }
}

/// A stored delivery with what the store knows of it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The delivery; in a list without head, body and details.
    pub delivery: Delivery,
    /// Its state as people see it.
    pub shown: Shown,
    /// How many attempts were made, at all destinations.
    pub attempts: u32,
    /// When the next attempt is due, if one waits.
    pub next_attempt_at: Option<Millis>,
    /// The name of the gateway that took it, in a store that gateways share.
    pub gateway: Option<SmolStr>,
}

impl Stored {
    /// A delivery as lists show it, of a route that is not held, in a store that is not shared.
    pub fn new(delivery: &Delivery, attempts: u32, next_attempt_at: Option<Millis>) -> Self {
        let (head, details) = Default::default();
        let delivery = Delivery { head, body: None, details, ..delivery.clone() };
        Self { shown: Shown::of(delivery.state, attempts, false), delivery, attempts, next_attempt_at, gateway: None }
    }
}

/// A change that a person or the configuration asks for.
#[derive(Clone, Debug)]
pub enum Change {
    /// Gives a delivery the state `to`, if its state is one of `from`; it does not wait any more.
    Settle {
        /// The delivery.
        id: Uuid,
        /// The states in which this is allowed.
        from: &'static [State],
        /// The state that it gets.
        to: State,
    },
    /// Overwrites head, body, details and responses of a delivery; id and times stay.
    Erase {
        /// The delivery.
        id: Uuid,
    },
    /// Makes a delivery due again, if its state is one of `from`, and no replay of it is due already.
    Requeue {
        /// The delivery.
        id: Uuid,
        /// The states in which this is allowed.
        from: &'static [State],
        /// The destinations that it goes to.
        destinations: u16,
        /// When it is due.
        at: Millis,
        /// One attempt, which changes the state only by its success; else it waits and retries afresh.
        once: bool,
        /// The head that it has from now on; `None` leaves it as it is.
        head: Option<Bytes>,
    },
    /// Pauses a route, or resumes it.
    Pause {
        /// The route's name.
        route: Arc<str>,
        /// Whether its deliveries wait until it is resumed.
        paused: bool,
    },
    /// Notes what the configuration says of a route, and pauses or resumes it accordingly.
    PauseByFile {
        /// The route's name.
        route: Arc<str>,
        /// The value of its key `paused`.
        paused: bool,
    },
    /// Brings attempts of a route that are due later than `latest` forward to it, up to 1,000 at once.
    Cut {
        /// The route's name.
        route: Arc<str>,
        /// The latest time that an attempt may be due.
        latest: Millis,
    },
    /// Says whether a route is missing from the configuration: its deliveries are shown as held, and are not claimed.
    Hold {
        /// The route's name.
        route: Arc<str>,
        /// Whether it is missing.
        held: bool,
    },
}

/// What came of a [`Change`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Changed {
    /// It was made. [`Change::Requeue`] says how many attempts were made before, [`Change::Cut`] how many it moved.
    Done(u32),
    /// The delivery's state does not allow it.
    Not(State),
    /// The delivery's body is not kept, or not in full.
    NoBody,
    /// No delivery has this id.
    Unknown,
}

/// Why the store does not do what it was asked for.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum StoreError {
    /// `max_size` or `min_free` is reached, or the disk is full. Heals by itself.
    #[error("the store is full")]
    Full,
    /// More waits for the writer than can be synced in time.
    #[error("the store is slow: more waits for the disk than can be written in time")]
    Slow,
    /// A write or a sync failed; nothing is written until the restart.
    #[error("the store has failed: {0}")]
    Failed(Arc<str>),
    /// The database cannot be reached, or has refused what it was asked. Heals by itself.
    #[error("the database cannot be reached: {0}")]
    Unreachable(Arc<str>),
    /// A query took longer than it may.
    #[error("the query took too long")]
    TimedOut,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// How many deliveries a route has in each state.
pub type Counts = BTreeMap<(Arc<str>, Shown), u64>;

/// What the store keeps of a route.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RouteState {
    /// Its deliveries wait until it is resumed, by a person or the configuration.
    pub paused: bool,
    /// What the key `paused` of the configuration said last.
    pub paused_by_file: bool,
    /// Missing from the configuration.
    pub held: bool,
}

/// How much room the store takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sizes {
    /// Bytes of all files in the folder, or bytes in memory.
    pub used: u64,
    /// Free bytes of the file system beside those that the store needs for itself; `None` in memory.
    pub free: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_number_of_its_place() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(state.number()), number);
            assert_eq!(State::from_number(state.number()), Some(state));
        }
        assert_eq!(State::from_number(10), None);
    }

    #[test]
    fn each_kind_is_counted_under_a_number_of_its_own_and_held_as_pending() {
        for shown in Shown::ALL {
            let counted = if shown == Shown::Held { Shown::Pending } else { shown };
            assert_eq!(Shown::of_kind(shown.kind()), Some(counted));
        }
        assert_eq!(Shown::of_kind(99), None);
    }
}
