//! Answers to connections on which there is no request to pass on: the same problem+json as for every refusal, made
//! without a stack to go through. The connection is closed after it.
//!
//! The list of reasons has none of its own for a head: what is no HTTP, or too large, is a `bad_request`, and what does
//! not come in time a `body_timeout`.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};

use crate::clock::Clock;
use crate::config::AccessLog;
use crate::delivery::response::Body;
use crate::gateway::problem::json;
use crate::gateway::request_id::{X_REQUEST_ID, new_request_id};
use crate::http1::server::date::{Dates, HttpDate};
use crate::http1::server::response::closing_response;
use crate::metrics::{NO_ROUTE, ObserveMetrics};
use crate::observe::log_limit::LogLimit;
use crate::reject::Outcome;
use crate::reject::Reject;

/// Why there is no request to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early {
    /// What came is not HTTP, or could be read in more than one way.
    Bad,
    /// Too many bytes or lines of headers (RFC 6585 section 5).
    TooLarge,
    /// A head of which not all came in time.
    Late,
    /// More connections than there may be.
    Overloaded,
}

/// What refusing needs of its thread.
#[derive(Clone)]
pub struct EarlyContext {
    /// For when a line was written.
    pub clock: Clock,
    /// For the date of an answer.
    pub dates: Rc<Dates>,
    /// Counts what has no route.
    pub unmatched: Rc<ObserveMetrics>,
    /// Whether there are lines about it; what is put there counts from then on.
    pub access_log: Rc<Cell<AccessLog>>,
    /// Bounds the lines, together with those about refused deliveries.
    pub log_limit: Rc<LogLimit>,
}

impl Early {
    /// Refuses what came from `peer`: counts it as a refusal without a route, and logs it; the answer.
    pub fn refuse(self, context: &EarlyContext, peer: SocketAddr) -> Response<Body> {
        context.unmatched.delivery(Outcome::Rejected, 0.0);
        context.unmatched.rejection(self.reject());
        let response = self.response();
        if context.access_log.get() != AccessLog::None
            && let Some(suppressed) = context.log_limit.admit(context.clock.now())
        {
            tracing::info!(
                route = NO_ROUTE,
                scheme = NO_ROUTE,
                outcome = Outcome::Rejected.as_str(),
                reason = self.reject().reason(),
                status = response.status().as_u16(),
                request_id = response.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()),
                %peer,
                suppressed = (suppressed > 0).then_some(suppressed),
                hint = self.reject().hint(),
                "delivery"
            );
        }
        response
    }

    /// The same, the answer as it goes out by HTTP/1.1.
    pub fn refuse_in_bytes(self, context: &EarlyContext, peer: SocketAddr) -> Vec<u8> {
        bytes(self.refuse(context, peer), context.dates.at(context.clock.now()))
    }

    /// The reason, by which it is counted.
    const fn reject(self) -> Reject {
        match self {
            Self::Bad | Self::TooLarge => Reject::BadRequest,
            Self::Late => Reject::BodyTimeout,
            Self::Overloaded => Reject::Overloaded,
        }
    }

    fn response(self) -> Response<Body> {
        let reject = self.reject();
        let (status, title) = match self {
            Self::TooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are more than the gateway allows")
            }
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "The request's head did not arrive in time"),
            Self::Bad | Self::Overloaded => (reject.status(StatusCode::UNAUTHORIZED), reject.title()),
        };
        let id = new_request_id();
        let mut response = json(status, reject.reason(), title, Some(&id));
        response.headers_mut().insert(X_REQUEST_ID, id);
        if let Some(seconds) = reject.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// An answer as it goes out by HTTP/1.1.
fn bytes(response: Response<Body>, date: HttpDate) -> Vec<u8> {
    let (head, body) = response.into_parts();
    closing_response(&head, &body.into_text(), date)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn an_early_answer_is_a_whole_response() {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        let date = Dates::new(clock.clone()).at(clock.now());
        let text = String::from_utf8(bytes(Early::Overloaded.response(), date)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.ends_with("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\nconnection: close\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["reason"], &problem["status"]), (&"overloaded".into(), &503.into()));
        assert!(head.contains(&format!("\r\nx-request-id: {}\r\n", problem["request_id"].as_str().unwrap())));
    }

    #[test]
    fn each_has_its_status() {
        let all = [Early::Bad, Early::TooLarge, Early::Late, Early::Overloaded];
        assert_eq!(all.map(|early| early.response().status().as_u16()), [400, 431, 408, 503]);
    }
}
