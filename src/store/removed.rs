//! The ids of deliveries that have made room, so that people are told so: the latest ones of this process.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// Ids that are remembered.
const MOST: usize = 50_000;

/// The latest ids that were removed.
#[derive(Debug, Default)]
pub struct Removed {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Removed {
    /// A delivery is not kept any more.
    pub fn add(&mut self, id: Uuid) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Whether a delivery was kept once.
    pub fn has(&self, id: &Uuid) -> bool {
        self.ids.contains(id)
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
            removed.add(id(number));
        }
        assert!(!removed.has(&id(0)) && removed.has(&id(1)) && removed.has(&id(MOST)));
        assert_eq!((removed.ids.len(), removed.order.len()), (MOST, MOST));
    }
}
