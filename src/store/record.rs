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
    /// About how much memory it took when it was made.
    weight: usize,
}

impl Record {
    /// A record.
    pub fn new(delivery: Delivery, attempt: Option<Attempt>) -> Self {
        let weight = delivery.weight() + attempt.as_ref().map_or(0, Attempt::weight);
        Self { delivery, attempt, weight }
    }

    /// About how much memory it took when it was made.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Whether it has the budget of refused deliveries: such a record needs no secret.
    pub fn is_of_refused(&self) -> bool {
        matches!(self.delivery.state, State::Refused | State::Challenge)
    }
}

impl From<Delivery> for Record {
    fn from(delivery: Delivery) -> Self {
        Self::new(delivery, None)
    }
}
