//! Refuses what no stage can handle, since there is no request: the same problem+json as for any refusal, counted and logged
//! without a route. The connection is closed after it.

use std::net::SocketAddr;
use std::rc::Rc;

use http::Response;

use super::current::{Current, Serving};
use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::response::Body;
use crate::gateway::problem::problem_without_route;
use crate::http1::server::date::{Dates, HttpDate};
use crate::http1::server::response::closing_response;
use crate::metrics::ObserveMetrics;
use crate::observe::access_log::log_without_request;
use crate::observe::log_limit::LogLimit;
use crate::reject::{Outcome, Reject};

/// What refusing needs of its thread.
#[derive(Clone)]
pub struct RefuseContext {
    /// Says when a line was written.
    pub clock: Clock,
    /// For the date of a response.
    pub dates: Rc<Dates>,
    /// Counts what has no route.
    pub unmatched: Rc<ObserveMetrics>,
    /// Says whether refusals are logged.
    pub current: Current<Serving>,
    /// Bounds the lines, together with those about refused deliveries.
    pub log_limit: Rc<LogLimit>,
}

impl RefuseContext {
    /// Refuses what came from `peer`: counts it as a refusal without a route, and logs it. Returns the response.
    pub fn refuse(&self, reject: Reject, peer: SocketAddr) -> Response<Body> {
        self.unmatched.delivery(Outcome::Rejected, 0.0);
        self.unmatched.rejection(reject);
        let response = problem_without_route(reject);
        if self.current.get().access_log != AccessLog::None
            && let Some(suppressed) = self.log_limit.admit(self.clock.now())
        {
            log_without_request(reject, &response, peer, suppressed);
        }
        response
    }

    /// The same, with the response as HTTP/1.1 writes it.
    pub fn refuse_in_bytes(&self, reject: Reject, peer: SocketAddr) -> Vec<u8> {
        bytes(self.refuse(reject, peer), self.dates.at(self.clock.now()))
    }
}

/// A response as HTTP/1.1 writes it.
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
