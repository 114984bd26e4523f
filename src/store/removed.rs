//! The ids of deliveries that have made room, so that people are told so: the latest ones of this process.

use std::collections::VecDeque;

use uuid::Uuid;

/// Ids that are remembered.
const MOST: usize = 50_000;

/// The latest ids that were removed, in that order. One is added with each record, but hardly any is ever asked for: so there
/// is no index.
#[derive(Debug, Default)]
pub struct Removed(VecDeque<Uuid>);

impl Removed {
    /// A delivery is not kept any more.
    pub fn add(&mut self, id: Uuid) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    /// Whether a delivery was kept once.
    pub fn has(&self, id: &Uuid) -> bool {
        self.0.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ids_are_remembered() {
        let mut removed = Removed::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=MOST {
            removed.add(id(number));
        }
        assert!(!removed.has(&id(0)) && removed.has(&id(1)) && removed.has(&id(MOST)));
        assert_eq!(removed.0.len(), MOST);
    }
}
