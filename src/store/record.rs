//! The record of a delivery that does not wait.

use super::attempt::Attempt;
use super::types::{Delivery, State};

/// A delivery that does not wait, as it is recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// The delivery, in a settled state.
    pub delivery: Delivery,
    /// The attempt to hand it to the upstream at once, if there was one.
    pub attempt: Option<Attempt>,
}

impl Record {
    /// About how much memory it takes.
    pub fn weight(&self) -> usize {
        self.delivery.weight() + self.attempt.as_ref().map_or(0, Attempt::weight)
    }

    /// Whether it has the budget of refused deliveries: such a record needs no secret.
    pub fn is_of_refused(&self) -> bool {
        matches!(self.delivery.state, State::Refused | State::Challenge)
    }
}

impl From<Delivery> for Record {
    fn from(delivery: Delivery) -> Self {
        Self { delivery, attempt: None }
    }
}
