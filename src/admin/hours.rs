//! What became of each route's deliveries within the last hour, and how long attempts took, from the counters that are there
//! anyway: they are noted once a minute, so that a delivery costs nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::AdminContext;
use crate::lock::lock;
use crate::metrics::Times;
use crate::reject::Outcome;
use crate::routing::table::RouteShared;

/// How often the counters are noted.
const INTERVAL: Duration = Duration::from_secs(60);
/// Notes of an hour: the first one is as old as an hour, once there are so many.
const NOTES: usize = 60;

/// How often each outcome came, in the order of [`Outcome::ALL`].
type Totals = [u64; Outcome::ALL.len()];

/// The counters of a route at some time.
#[derive(Clone, Copy, Debug, Default)]
struct Note {
    totals: Totals,
    times: Times,
}

/// The counters of the last hour, by route.
#[derive(Debug, Default)]
pub struct Hours(Mutex<HashMap<String, VecDeque<Note>>>);

/// The last hour of a route. It covers up to a minute more.
#[derive(Debug)]
pub struct LastHour {
    /// Deliveries by outcome, for those outcomes that the route can have.
    pub outcomes: Vec<(Outcome, u64)>,
    /// How long each attempt to reach its handler took, up to the answer's head or the failure.
    pub times: Times,
}

impl Hours {
    /// The last hour of a route.
    pub fn last(&self, route: &RouteShared) -> LastHour {
        let now = route.metrics.observe.totals();
        let notes = lock(&self.0);
        let hour_ago = notes.get(&route.config.name).filter(|notes| notes.len() >= NOTES).and_then(VecDeque::front);
        let hour_ago = hour_ago.copied().unwrap_or_default();
        let before = |outcome: Outcome| hour_ago.totals.get(outcome.index()).copied().unwrap_or(0);
        let counts = Outcome::ALL.into_iter().zip(now).filter_map(|(outcome, count)| Some((outcome, count?)));
        LastHour {
            // A route that went and came back counts from zero again.
            outcomes: counts.map(|(outcome, count)| (outcome, count.saturating_sub(before(outcome)))).collect(),
            times: route.metrics.upstream.times().since(&hour_ago.times),
        }
    }

    fn note(&self, routes: &[Arc<RouteShared>]) {
        let mut notes = lock(&self.0);
        notes.retain(|name, _| routes.iter().any(|route| route.config.name == *name));
        for route in routes {
            let totals = route.metrics.observe.totals().map(Option::unwrap_or_default);
            let of_route = notes.entry(route.config.name.clone()).or_default();
            if of_route.len() >= NOTES {
                of_route.pop_front();
            }
            of_route.push_back(Note { totals, times: route.metrics.upstream.times() });
        }
    }
}

/// Notes the counters every minute, as long as the admin listener runs.
pub async fn sample(context: Arc<AdminContext>) {
    let mut minutes = tokio::time::interval(INTERVAL);
    loop {
        minutes.tick().await;
        context.hours.note(&(context.running)().routes);
    }
}
