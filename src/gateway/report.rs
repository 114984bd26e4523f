//! Tells operators of deliveries that do not verify on routes with `enforce: false`; the sender is told nothing.
//!
//! Each is counted, and logged at a bounded rate. Why it does not verify is found out for one delivery of a route every
//! [`PAUSE`], if its body is no longer than [`MAX_BODY`]: by [`diagnose`], as `hooklatch explain` does it but with less
//! effort, and on a thread for such work, so that no delivery waits for it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::delivery::stages::Buffered;
use crate::gateway::observe::LogLimit;
use crate::reject::Reject;
use crate::routing::table::Common;
use crate::schemes::diagnose::{Diagnosis, Effort, diagnose};
use crate::schemes::{RequestHead, SignedRequest, VerifyError};

/// The time between two diagnoses of one route, over all threads.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest body that is looked into, in bytes.
const MAX_BODY: u64 = 64 << 10;

/// When the last diagnosis of a route was made.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

/// What reports need of their thread.
#[derive(Clone)]
pub struct Reporter {
    /// Bounds the lines about deliveries.
    pub log_limit: Rc<LogLimit>,
    /// All routes: a delivery may be signed for another one.
    pub routes: Rc<[Arc<Common>]>,
}

impl Pace {
    /// Whether the next one may be made at `now`, the time since 1970-01-01T00:00:00Z.
    fn admit(&self, now: Duration) -> bool {
        // Zero is never.
        let now = now.as_secs().max(1);
        let due = |last: u64| (last == 0 || now.abs_diff(last) >= PAUSE.as_secs()).then_some(now);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

impl Reporter {
    /// Counts and logs a delivery that does not verify.
    pub fn report(&self, clock: &Clock, delivery: &Buffered, error: VerifyError) {
        let route = &delivery.route;
        let reject = Reject::from(error);
        route.metrics.observe.rejection(reject);
        if let Some(suppressed) = self.log_limit.admit(clock.now()) {
            tracing::warn!(
                route = route.config.name,
                scheme = route.config.scheme.name,
                reason = reject.reason(),
                suppressed,
                "forwarding a delivery that does not verify, as enforce is false"
            );
        }
        if delivery.payload.len() <= MAX_BODY && route.diagnosed.admit(clock.unix()) {
            self.diagnose(clock.unix(), delivery, reject);
        }
    }

    fn diagnose(&self, now: Duration, delivery: &Buffered, reject: Reject) {
        let own = delivery.route.common();
        let others: Vec<_> = self.routes.iter().filter(|other| !Arc::ptr_eq(other, &own)).cloned().collect();
        let head = delivery.arrival.head.clone();
        let request_id = delivery.arrival.request_id.clone();
        let payload = delivery.payload.clone();
        // It ends by itself, within the effort; nobody waits for it.
        drop(tokio::task::spawn_blocking(move || {
            let others: Vec<_> = others.iter().map(|other| other.config.suspect()).collect();
            let request = SignedRequest { head: RequestHead::of(&head), body: payload.frames() };
            let diagnosis = diagnose(own.config.suspect(), &others, &request, now, &Effort::brief());
            let Diagnosis { proven, causes, .. } = diagnosis;
            tracing::warn!(
                route = own.config.name,
                scheme = own.config.scheme.name,
                reason = reject.reason(),
                request_id = request_id.to_str().ok(),
                proven,
                causes = causes.join("; "),
                "why a delivery does not verify"
            );
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_diagnosed_once_in_a_while_also_after_a_clock_was_set_back() {
        let pace = Pace::default();
        let admit = |seconds| pace.admit(Duration::from_secs(seconds));
        assert!(admit(1000));
        assert!(!admit(1000) && !admit(1009) && !admit(999));
        assert!(admit(1010));
        assert!(!admit(1019));
        assert!(admit(10));
    }
}
