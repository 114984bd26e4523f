//! The states of a delivery, as one table: state × event → what follows.
//!
//! "In flight" is no state: it is known in memory only, so that a crash at any point repeats an attempt and loses
//! nothing. An attempt may therefore end when a person has changed the delivery meanwhile; the table has these rows, too.
//!
//! ```text
//!              delivered    failed       given up     discard     erase     replay
//! pending      delivered    waits        dead         discarded   erased    afresh
//! dead         delivered    stays        stays        discarded   erased    afresh
//! discarded    delivered    stays        stays        –           erased    afresh
//! delivered    delivered    stays        stays        –           erased    once
//! forwarded    delivered    stays        stays        –           erased    once
//! failed       delivered    stays        stays        –           erased    once
//! refused      delivered    stays        stays        –           erased    once, if it verifies now
//! duplicate    stays        stays        stays        –           erased    –
//! challenge    stays        stays        stays        –           erased    –
//! erased       stays        stays        stays        –           erased    –
//! ```

use crate::store::{Millis, Next, State};

/// What happens to a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// An attempt got a 2xx status.
    Delivered,
    /// An attempt failed, and there will be another one.
    Failed,
    /// An attempt failed, and it was the last one.
    GivenUp,
    /// A person does not want it sent.
    Discard,
    /// A person wants head and body gone.
    Erase,
    /// A person wants it sent again.
    Replay,
}

impl Event {
    /// All events, in the order of the table's columns.
    pub const ALL: [Self; 6] = [Self::Delivered, Self::Failed, Self::GivenUp, Self::Discard, Self::Erase, Self::Replay];
}

/// What follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follows {
    /// It has this state from now on, and waits no more.
    Becomes(State),
    /// It waits for another attempt.
    Waits,
    /// Its state stays.
    Stays,
    /// It is due now, and is retried as if it had just come.
    Afresh,
    /// It gets one attempt; its state changes only if that succeeds.
    Once,
    /// The event is refused.
    Refused,
}

/// The table.
pub const fn follows(state: State, event: Event) -> Follows {
    use Follows::{Afresh, Becomes, Once, Refused, Stays, Waits};
    match (state, event) {
        (State::Pending, Event::Failed) => Waits,
        (State::Pending, Event::GivenUp) => Becomes(State::Dead),
        (State::Pending | State::Dead, Event::Discard) => Becomes(State::Discarded),
        (State::Pending | State::Dead | State::Discarded, Event::Replay) => Afresh,
        (State::Delivered | State::Forwarded | State::Failed | State::Refused, Event::Replay) => Once,
        (_, Event::Erase) => Becomes(State::Erased),
        (State::Erased | State::Duplicate | State::Challenge, Event::Delivered) => Stays,
        (_, Event::Delivered) => Becomes(State::Delivered),
        (_, Event::Failed | Event::GivenUp) => Stays,
        (_, Event::Discard | Event::Replay) => Refused,
    }
}

/// The states in which a delivery can be discarded.
pub const DISCARDED_FROM: &[State] = &[State::Pending, State::Dead];
/// The states from which a replay is attempted at once and retried afresh.
pub const REPLAYED_AFRESH_FROM: &[State] = &[State::Pending, State::Dead, State::Discarded];
/// The states from which a replay is one attempt.
pub const REPLAYED_ONCE_FROM: &[State] = &[State::Delivered, State::Forwarded, State::Failed, State::Refused];

/// What the store is told after an attempt. A delivery that gets one attempt keeps its state if that fails. `retry_at`
/// is none where it was given up.
pub fn after_attempt(delivered: bool, once: bool, retry_at: Option<Millis>) -> Next {
    match (delivered, once, retry_at) {
        (true, ..) => Next::Settle(State::Delivered),
        (false, true, _) => Next::Keep,
        (false, false, Some(at)) => Next::Retry(at),
        (false, false, None) => Next::Settle(State::Dead),
    }
}

#[cfg(test)]
mod tests;
