//! Refuses a connection or bytes that do not form a request, so that no stage can handle them. The response is the same
//! problem+json as for any refusal; the refusal is counted and logged without a route. The connection is closed afterwards.

use std::net::SocketAddr;
use std::rc::Rc;

use http::Response;

use super::current::{Current, Serving};
use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::response::Body;
use crate::gateway::problem::problem_without_route;
use crate::gateway::request_id::delivery_id;
use crate::http1::server::date::{Dates, HttpDate};
use crate::http1::server::response::closing_response;
use crate::metrics::ObserveMetrics;
use crate::observe::access_log::log_without_request;
use crate::observe::log_limit::LogLimit;
use crate::record::recorder::Recorder;
use crate::reject::{Outcome, Reject};

/// The values of the worker thread that a refusal uses.
#[derive(Clone)]
pub struct RefuseContext {
    /// Reads the time.
    pub clock: Clock,
    /// Makes the `Date` of the response.
    pub dates: Rc<Dates>,
    /// The counters of requests that match no route.
    pub unmatched: Rc<ObserveMetrics>,
    /// The current configuration. Its `access_log` decides whether the refusal is logged.
    pub current: Current<Serving>,
    /// Records the refusal.
    pub recorder: Recorder,
    /// Limits the log lines, together with the lines about refused deliveries.
    pub log_limit: Rc<LogLimit>,
}

impl RefuseContext {
    /// Refuses a connection or request from `peer`: counts and logs a refusal without a route. Returns the response.
    pub fn refuse(&self, reject: Reject, peer: SocketAddr) -> Response<Body> {
        self.unmatched.delivery(Outcome::Rejected, 0.0);
        self.unmatched.rejection(reject);
        let response = problem_without_route(reject);
        let now = self.clock.now();
        self.recorder.without_request(delivery_id(self.clock.unix_at(now)), reject, &response, peer, now);
        if self.current.get().access_log != AccessLog::None
            && let Some(suppressed) = self.log_limit.admit(now)
        {
            log_without_request(reject, &response, peer, suppressed);
        }
        response
    }

    /// Refuses as [`refuse`](Self::refuse) does. Returns the bytes of the response in HTTP/1.1.
    pub fn refuse_in_bytes(&self, reject: Reject, peer: SocketAddr) -> Vec<u8> {
        bytes(self.refuse(reject, peer), self.dates.at(self.clock.now()))
    }
}

/// The bytes of a response in HTTP/1.1.
fn bytes(response: Response<Body>, date: HttpDate) -> Vec<u8> {
    let (head, body) = response.into_parts();
    closing_response(&head, &body.into_text(), date)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_refusal_without_a_request_is_a_whole_response() {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        let date = Dates::new(clock.clone()).at(clock.now());
        let text = String::from_utf8(bytes(problem_without_route(Reject::Overloaded), date)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.ends_with("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\nconnection: close\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["reason"], &problem["status"]), (&"overloaded".into(), &503.into()));
        assert!(head.contains(&format!("\r\nx-request-id: {}\r\n", problem["request_id"].as_str().unwrap())));
    }
}
