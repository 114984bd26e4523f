//! Limits over all threads: a route's deliveries in flight, its requests per second, and the bytes of bodies in memory.
//!
//! A request over a limit is refused at once; nothing queues. Refuses, in this order:
//! 1. `overloaded`: `max_in_flight` deliveries of the route are in flight, each counted until its upstream's response has been sent;
//! 2. `rate_limited`: the route's `rate_limit` is exceeded;
//! 3. `overloaded`, while the body is read: `buffered_bytes` is used up.
//!
//! All state is atomic, shared by the threads, and keyed by the route's name, so that it outlives a reload.
//!
//! This is no protection for a route against a flood of well-formed requests: requests count before their signature can be
//! checked, so forged ones use up the route's limits. Other routes are not affected: each may always hold [`ROUTE_BYTES`] of
//! bodies.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use prometheus::IntGauge;

use crate::config::{self, RateLimit};
use crate::lock::lock;
use crate::reject::Reject;
use crate::routing::capture::Capture;
use crate::routing::copies::Copies;
use crate::routing::rate::Bucket;

/// Bytes of bodies that each route may hold even if `buffered_bytes` is used up, so that slow senders on one route do not
/// block the others. Most webhooks are smaller.
pub const ROUTE_BYTES: i64 = 64 << 10;

/// The state of each route by name. A route keeps its state over a reload.
#[derive(Debug, Default)]
pub struct LimitStates {
    routes: Mutex<HashMap<String, Weak<RouteState>>>,
}

/// The counters of one route, shared by all threads and all generations of the configuration.
#[derive(Debug, Default)]
struct RouteState {
    in_flight: AtomicU32,
    buffered: AtomicI64,
    /// Holds requests to the `rate_limit`.
    rate: Bucket,
    capture: Capture,
    copies: Arc<Copies>,
    /// Holds the records of refused deliveries to their rate.
    records: RecordLimit,
}

/// Refused deliveries of a route that are recorded in a second, and at once after a pause.
pub const RECORDS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");

/// Holds the records of a route's refused deliveries to [`RECORDS_PER_SECOND`].
#[derive(Debug, Default)]
pub struct RecordLimit(Bucket);

impl RecordLimit {
    /// Whether one more is recorded at `now`.
    pub fn admits(&self, now: Instant) -> bool {
        let rate = RateLimit { per_second: RECORDS_PER_SECOND, burst: RECORDS_PER_SECOND };
        self.0.take(rate, now).is_ok()
    }
}

/// The limits of one route.
#[derive(Debug, Clone)]
pub struct RouteLimits {
    max_in_flight: u32,
    rate: Option<RateLimit>,
    state: Arc<RouteState>,
}

/// A delivery's place among those in flight, released on drop.
#[derive(Debug)]
pub struct Permit(Arc<RouteState>);

/// The bytes of bodies that may be in memory at the same time. Clones share the account.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The bytes in use. The gauge `hooklatch_buffered_bytes` is itself the account.
    held: IntGauge,
    limit: i64,
}

/// The bytes that one body takes from the budget, returned on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    route: Arc<RouteState>,
    bytes: i64,
}

impl LimitStates {
    /// The limits in `config`, over the state of the route of this name.
    pub fn route(&self, config: &config::Route) -> RouteLimits {
        let mut routes = lock(&self.routes);
        let known = routes.get(&config.name).and_then(Weak::upgrade);
        let state = known.unwrap_or_default();
        // Drops the state of routes that are in no running configuration and have no delivery in flight.
        routes.retain(|_, state| state.upgrade().is_some());
        routes.insert(config.name.clone(), Arc::downgrade(&state));
        RouteLimits { max_in_flight: config.max_in_flight, rate: config.rate_limit, state }
    }
}

impl RouteLimits {
    /// The capture of the route's refused requests.
    pub fn capture(&self) -> &Capture {
        &self.state.capture
    }

    /// Copies of the route's deliveries, for those who listen.
    pub fn copies(&self) -> &Arc<Copies> {
        &self.state.copies
    }

    /// Admits a request at `now`, or refuses it.
    ///
    /// # Errors
    /// [`Reject::Overloaded`], [`Reject::RateLimited`].
    pub fn admit(&self, now: Instant) -> Result<Permit, Reject> {
        let permit = Permit(self.state.clone());
        if self.state.in_flight.fetch_add(1, Ordering::Relaxed) >= self.max_in_flight {
            return Err(Reject::Overloaded);
        }
        if let Some(rate) = self.rate {
            self.state.rate.take(rate, now).map_err(|_| Reject::RateLimited)?;
        }
        Ok(permit)
    }
}

impl RouteLimits {
    /// The limit for the records of its refused deliveries.
    pub fn records(&self) -> &RecordLimit {
        &self.state.records
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of `limit` bytes; the gauge `held` counts the bytes in use.
    pub fn new(held: IntGauge, limit: u64) -> Self {
        Self { held, limit: i64::try_from(limit).unwrap_or(i64::MAX) }
    }

    /// An account for one body of a route.
    pub fn open(&self, route: &RouteLimits) -> Reservation {
        Reservation { budget: self.clone(), route: route.state.clone(), bytes: 0 }
    }
}

impl Reservation {
    /// Takes more bytes, so that the reservation holds `total`.
    ///
    /// # Errors
    /// [`Reject::Overloaded`], with nothing taken.
    pub fn grow_to(&mut self, total: u64) -> Result<(), Reject> {
        let more = i64::try_from(total).unwrap_or(i64::MAX).saturating_sub(self.bytes);
        if more <= 0 {
            return Ok(());
        }
        // Adding first and looking then may refuse one too many when two threads meet at the limit, never one too few.
        self.add(more);
        if self.budget.held.get() > self.budget.limit && self.route.buffered.load(Ordering::Relaxed) > ROUTE_BYTES {
            self.add(-more);
            return Err(Reject::Overloaded);
        }
        Ok(())
    }

    /// Gives bytes back, so that the reservation holds at most `total`.
    pub fn shrink_to(&mut self, total: u64) {
        self.add(i64::try_from(total).unwrap_or(i64::MAX).min(self.bytes) - self.bytes);
    }

    fn add(&mut self, bytes: i64) {
        self.budget.held.add(bytes);
        self.route.buffered.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.add(-self.bytes);
    }
}

#[cfg(test)]
impl RouteLimits {
    /// The limits of a route with state of its own.
    pub fn for_tests() -> Self {
        Self { max_in_flight: 1, rate: None, state: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    fn rate(per_second: u32, burst: u32) -> RateLimit {
        let number = |number| NonZeroU32::new(number).unwrap();
        RateLimit { per_second: number(per_second), burst: number(burst) }
    }

    fn route(max_in_flight: u32, rate: Option<RateLimit>) -> RouteLimits {
        RouteLimits { max_in_flight, rate, state: Arc::default() }
    }

    fn budget(limit: u64) -> Budget {
        Budget::new(IntGauge::new("held", "held").unwrap(), limit)
    }

    #[test]
    fn as_many_deliveries_are_in_flight_as_the_limit_says_and_not_one_more() {
        let start = Clock::system().now();
        let limits = route(2, None);
        let first = limits.admit(start).unwrap();
        let _second = limits.admit(start).unwrap();
        assert_eq!(limits.admit(start).unwrap_err(), Reject::Overloaded);
        assert_eq!(limits.admit(start).unwrap_err(), Reject::Overloaded, "a refusal takes no place");
        drop(first);
        assert!(limits.admit(start).is_ok());
    }

    #[test]
    fn a_burst_is_let_in_at_once_and_then_the_rate() {
        let start = Clock::system().now();
        let limits = route(100, Some(rate(10, 3)));
        let at = |millis| limits.admit(start + Duration::from_millis(millis)).map(drop);
        assert_eq!([at(0), at(0), at(0), at(0)], [Ok(()), Ok(()), Ok(()), Err(Reject::RateLimited)]);
        assert_eq!([at(99), at(100), at(100)], [Err(Reject::RateLimited), Ok(()), Err(Reject::RateLimited)]);
        // After a long pause the bucket holds the burst and no more.
        assert_eq!([at(9000), at(9000), at(9000), at(9000)], [Ok(()), Ok(()), Ok(()), Err(Reject::RateLimited)]);
    }

    #[test]
    fn what_is_over_the_limit_in_flight_takes_nothing_of_the_rate() {
        let start = Clock::system().now();
        let limits = route(1, Some(rate(1, 2)));
        let first = limits.admit(start).unwrap();
        assert_eq!(limits.admit(start).unwrap_err(), Reject::Overloaded);
        drop(first);
        assert!(limits.admit(start).is_ok());
        assert_eq!(limits.admit(start).unwrap_err(), Reject::RateLimited);
    }

    #[test]
    fn bytes_are_taken_up_to_the_budget_and_given_back() {
        let (budget, route) = (budget(200_000), route(1, None));
        let mut first = budget.open(&route);
        first.grow_to(150_000).unwrap();
        first.grow_to(150_000).unwrap();
        let mut second = budget.open(&route);
        assert_eq!(second.grow_to(50_001), Err(Reject::Overloaded));
        second.grow_to(50_000).unwrap();
        assert_eq!(second.grow_to(50_001), Err(Reject::Overloaded));
        assert_eq!(budget.held.get(), 200_000);
        drop(first);
        second.grow_to(200_000).unwrap();
        drop(second);
        assert_eq!((budget.held.get(), route.state.buffered.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_route_has_its_share_when_another_has_spent_the_budget() {
        let (budget, greedy, modest) = (budget(1 << 20), route(1, None), route(1, None));
        let mut all = budget.open(&greedy);
        all.grow_to(1 << 20).unwrap();
        assert_eq!(budget.open(&greedy).grow_to(1), Err(Reject::Overloaded));
        let mut small = budget.open(&modest);
        small.grow_to(ROUTE_BYTES as u64).unwrap();
        assert_eq!(small.grow_to(ROUTE_BYTES as u64 + 1), Err(Reject::Overloaded));
    }
}
