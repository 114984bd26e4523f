//! Reports deliveries that do not verify on routes with `enforce: false`. The sender does not see the report.
//!
//! Every such delivery is counted, and logged at a limited rate. One delivery of a route every
//! [`PAUSE`](crate::routing::diagnose_limit::PAUSE) is also [diagnosed](diagnose) if its body is no longer than [`MAX_BODY`]: as
//! `hooklatch explain` does, but with less effort, and on a blocking thread, so that no delivery waits.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::delivery::stages::Buffered;
use crate::observe::log_limit::LogLimit;
use crate::reject::Reject;
use crate::routing::table::RouteShared;
use crate::schemes::diagnose::{Diagnosis, Effort, diagnose};
use crate::schemes::{RequestHead, SignedRequest, VerifyError};

/// The longest body that is diagnosed, in bytes.
const MAX_BODY: u64 = 64 << 10;

/// The values of the worker thread that a report uses.
#[derive(Clone)]
pub struct Reporter {
    /// Limits the log lines.
    pub log_limit: Rc<LogLimit>,
    /// All routes: the delivery may be signed with a secret of another route.
    pub routes: Arc<[Arc<RouteShared>]>,
}

impl Reporter {
    /// Counts and logs a delivery that does not verify.
    pub fn report(&self, clock: &Clock, delivery: &Buffered, error: VerifyError) {
        let route = &delivery.route.shared;
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
        if delivery.payload.len() <= MAX_BODY && route.diagnose_limit.admit(clock.unix()) {
            self.diagnose(clock.unix(), delivery, reject);
        }
    }

    fn diagnose(&self, now: Duration, delivery: &Buffered, reject: Reject) {
        let own = delivery.route.shared.clone();
        let others: Vec<_> = self.routes.iter().filter(|other| !Arc::ptr_eq(other, &own)).cloned().collect();
        let head = delivery.info.head.clone();
        let request_id = delivery.info.shown_id(Some(&own)).map(str::to_owned);
        let payload = delivery.payload.clone();
        // The task is not awaited: it ends by itself, because `Effort` limits it.
        drop(tokio::task::spawn_blocking(move || {
            let others: Vec<_> = others.iter().map(|other| other.config.suspect()).collect();
            let request = SignedRequest { head: RequestHead::of(&head), body: payload.frames() };
            let diagnosis = diagnose(own.config.suspect(), &others, &request, now, &Effort::brief());
            let Diagnosis { proven, causes, .. } = diagnosis;
            tracing::warn!(
                route = own.config.name,
                scheme = own.config.scheme.name,
                reason = reject.reason(),
                request_id,
                proven,
                causes = causes.join("; "),
                "why a delivery does not verify"
            );
        }));
    }
}
