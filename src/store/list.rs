//! Which deliveries to list, and what all stores have in common about it.
//!
//! A [`Filter`] has two parts. What a store has an index for is named in it. The rest are [`Condition`]s: functions of the
//! caller, which the store calls with each delivery that the first part lets through, cheapest first. A page looks at
//! [`LOOKED_AT`] deliveries for [`LOOK_TIME`] at most and says where the next one begins, so that a rare delivery is found
//! over several pages and no query runs for long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::types::{Millis, Shown, State, Stored, received_at};

/// Deliveries that one page looks at, at most.
pub const LOOKED_AT: usize = 20_000;

/// With more states than this, and no route, a list walks all ids instead of a range for each route and state.
pub const MAX_STATES: usize = 4;

/// How long one page looks at deliveries. Others wait for the same thread meanwhile.
pub const LOOK_TIME: Duration = Duration::from_millis(250);

/// Which deliveries to list: all conditions hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these routes; all of them where `None`.
    pub routes: Option<Vec<String>>,
    /// Any of these states; all of them where `None`. [`Shown::Pending`] does not include [`Shown::Retrying`].
    pub states: Option<Vec<Shown>>,
    /// Any of these reasons; with and without a reason where `None`.
    pub reasons: Option<Vec<String>>,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// `X-Request-Id`.
    pub request_id: Option<String>,
    /// The id of the event, of the request or of the delivery.
    pub some_id: Option<String>,
    /// Received at this time or later.
    pub since: Option<Millis>,
    /// Received before this time.
    pub until: Option<Millis>,
    /// With an id below this one.
    pub before: Option<Uuid>,
    /// What else must hold.
    pub conditions: Vec<Condition>,
}

/// What a condition has to see of a delivery, cheapest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Needs {
    /// What a list shows.
    Summary,
    /// Head, details, and how much of the body is kept, too.
    Details,
    /// The body too.
    Body,
}

/// A condition that no index answers.
#[derive(Clone)]
pub struct Condition {
    /// What it sees.
    pub needs: Needs,
    /// Whether it lets a delivery through.
    pub holds: Arc<dyn Fn(&Parts<'_>) -> bool + Send + Sync>,
}

/// A delivery, for a [`Condition`].
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The delivery; with head and details from [`Needs::Details`] on.
    pub stored: &'a Stored,
    /// The length of the body that is kept, from [`Needs::Details`] on; 0 without one.
    pub kept: u64,
    /// The body that is kept, for [`Needs::Body`].
    pub body: Option<&'a [u8]>,
}

/// A page of a list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The deliveries, without head, body and details.
    pub deliveries: Vec<Stored>,
    /// Where the next page begins ([`Filter::before`]); `None` at the end.
    pub next: Option<Uuid>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Filter {
    /// The ids to look at: those below the second, from the first on.
    pub fn ids(&self) -> (Uuid, Uuid) {
        let below = self.before.unwrap_or(Uuid::max());
        let until = self.until.map_or(Uuid::max(), least_id);
        (self.since.map_or(Uuid::nil(), least_id), below.min(until))
    }

    /// As what the states are stored that it lets through, each once.
    pub fn stored_states(&self) -> Vec<State> {
        let mut states: Vec<State> = match &self.states {
            Some(states) => states.iter().map(|shown| stored_as(*shown)).collect(),
            None => State::ALL.to_vec(),
        };
        states.sort_unstable();
        states.dedup();
        states
    }

    /// Whether it lets only held deliveries through.
    pub fn is_of_held(&self) -> bool {
        self.states.as_ref().is_some_and(|states| states.iter().all(|shown| *shown == Shown::Held))
    }

    /// The conditions that see no more and no less than this.
    pub fn conditions(&self, needs: Needs) -> impl Iterator<Item = &Condition> {
        self.conditions.iter().filter(move |condition| condition.needs == needs)
    }

    /// Whether all conditions hold that see no more and no less than this.
    pub fn all_hold(&self, needs: Needs, parts: &Parts<'_>) -> bool {
        self.conditions(needs).all(|condition| (condition.holds)(parts))
    }
}

/// Whether a filter lets through a delivery as a list has it, without head, details and body. The filter's bound by id is left out. A
/// condition on what a list does not have does not hold, even if it is negated.
pub fn matches_summary(filter: &Filter, stored: &Stored) -> bool {
    let parts = Parts { stored, kept: 0, body: None };
    summary_matches(filter, stored)
        && filter.conditions.iter().all(|condition| condition.needs == Needs::Summary && (condition.holds)(&parts))
}

/// Whether a filter lets through a delivery. The caller has filled in head, details and body, as far as they are kept. The filter's
/// bound by id is left out.
pub fn matches(filter: &Filter, stored: &Stored) -> bool {
    let body = stored.delivery.body.as_deref();
    let parts = Parts { stored, kept: length(body), body };
    summary_matches(filter, stored) && filter.conditions.iter().all(|condition| (condition.holds)(&parts))
}

/// How many bytes of a body are kept.
pub fn length(body: Option<&[u8]>) -> u64 {
    body.map_or(0, |body| u64::try_from(body.len()).unwrap_or(u64::MAX))
}

/// Whether what a list shows of a delivery is as a filter wants it, conditions aside.
pub fn summary_matches(filter: &Filter, stored: &Stored) -> bool {
    let delivery = &stored.delivery;
    let one_of = |wanted: &Option<Vec<String>>, value: Option<&str>| {
        wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| value == Some(wanted)))
    };
    let is =
        |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|wanted| value == Some(wanted));
    let has_id = |wanted: &str| {
        delivery.event_id.as_deref() == Some(wanted)
            || delivery.has_request_id(wanted)
            || Uuid::try_parse(wanted) == Ok(delivery.id)
    };
    one_of(&filter.routes, Some(&*delivery.route))
        && filter.states.as_ref().is_none_or(|states| states.contains(&stored.shown))
        && one_of(&filter.reasons, delivery.reason.as_deref())
        && is(&filter.event_id, delivery.event_id.as_deref())
        && filter.request_id.as_deref().is_none_or(|wanted| delivery.has_request_id(wanted))
        && filter.some_id.as_deref().is_none_or(has_id)
        && filter.since.is_none_or(|since| received_at(delivery.id) >= since)
        && filter.until.is_none_or(|until| received_at(delivery.id) < until)
}

/// Whether a state is stored as pending.
pub fn waits(shown: Shown) -> bool {
    matches!(shown, Shown::Pending | Shown::Retrying | Shown::Held)
}

/// As what a state is stored.
pub fn stored_as(shown: Shown) -> State {
    match shown {
        Shown::Pending | Shown::Retrying | Shown::Held => State::Pending,
        Shown::Settled(state) => state,
    }
}

/// The least id that a delivery received at `at` can have.
pub fn least_id(at: Millis) -> Uuid {
    let millis = u128::from(u64::try_from(at).unwrap_or(0).min((1 << 48) - 1));
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_id_of_a_moment_is_below_every_id_of_it() {
        let at = 1_700_000_000_123;
        let low = uuid::Builder::from_unix_timestamp_millis(at, &[0; 10]).into_uuid();
        let before = uuid::Builder::from_unix_timestamp_millis(at - 1, &[0xff; 10]).into_uuid();
        let least = least_id(1_700_000_000_123);
        assert!(before < least && least <= low);
    }
}
