//! The closed list of reasons for a refusal, and the outcomes of a delivery.
//!
//! All facts about a reason stand in one place, the list below. The text of a response is constant. A hint for operators goes to
//! the log; facts that would help an attacker go nowhere.

mod facts;

use http::StatusCode;

use crate::schemes::VerifyError;

/// The prefix of a problem's type (RFC 9457 section 3.1.1); the reason follows.
pub const PROBLEM_TYPE: &str = "urn:hooklatch:problem:";

/// Why a delivery was refused, or why the upstream gave no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// No route has this path and host.
    NoRoute,
    /// The route does not accept this method (RFC 9110 section 15.5.6).
    MethodNotAllowed,
    /// The route does not accept deliveries from this address.
    IpNotAllowed,
    /// The gateway is shutting down.
    Draining,
    /// A limit is reached: connections, the route's deliveries in flight, or bytes of bodies.
    Overloaded,
    /// The route's `rate_limit` is exceeded (RFC 6585 section 4).
    RateLimited,
    /// The request breaks a rule of HTTP: ambiguous framing, a body that ended early.
    BadRequest,
    /// The field lines are more or longer than the gateway accepts (RFC 6585 section 5).
    HeaderTooLarge,
    /// The request target is longer than the gateway accepts (RFC 9110 section 15.5.15).
    UriTooLong,
    /// The head did not arrive within `header_timeout` (RFC 9110 section 15.5.9).
    HeaderTimeout,
    /// The body is longer than the route's `max_body` (RFC 9110 section 15.5.14).
    BodyTooLarge,
    /// The body did not arrive within the route's `body_timeout` (RFC 9110 section 15.5.9).
    BodyTimeout,
    /// The signature does not verify.
    Signature(VerifyError),
    /// A delivery with the same dedupe key is at the handler, which has not answered yet.
    DuplicateInFlight,
    /// `store.max_size` or `store.min_free` is reached.
    StorageFull,
    /// A write to the store has failed.
    StorageFailed,
    /// More deliveries wait for the store than it can sync in time.
    StorageSlow,
    /// No connection to the upstream: name resolution, TCP or TLS failed.
    UpstreamUnreachable,
    /// The upstream's connection ended before a complete response head, or the response is not HTTP.
    UpstreamFailed,
    /// The upstream's response head did not arrive within the route's `timeout`.
    UpstreamTimeout,
    /// A stage panicked, which is a bug. Not in [`Reject::ALL`], so it has no metric series.
    Bug,
}

/// The facts about a reason.
#[derive(Debug)]
pub struct Facts {
    /// The reason as metrics, logs and responses name it.
    pub reason: &'static str,
    /// The response's status; `None` for the route's `reject_status`.
    status: Option<StatusCode>,
    /// Whether the reason can occur before the route is known, after, or both.
    scope: Scope,
    /// The party that has to act.
    pub fault: Fault,
    /// The value of `Retry-After` in seconds, if the response has the field (RFC 9110 section 10.2.3).
    pub retry_after: Option<u32>,
    /// The text of the response: one sentence, the same for every delivery.
    pub title: &'static str,
    /// Advice for the operator. It goes to the log, never to the sender.
    pub hint: &'static str,
}

/// The party that has to act on a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sender, or the person who configured it.
    Sender,
    /// This gateway, its limits or its state. The sender may try again.
    Gateway,
    /// The handler behind the gateway.
    Upstream,
}

/// When a delivery can be refused for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Before its route is known.
    Gateway,
    /// After its route is known.
    Route,
    /// Before and after.
    Both,
}

impl Reject {
    /// The position in [`Reject::ALL`], by which counters are stored; `None` for [`Reject::Bug`].
    pub fn index(self) -> Option<usize> {
        Self::ALL.iter().position(|reject| *reject == self)
    }

    /// The reason of this name, if there is one.
    pub fn named(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reject| reject.reason() == reason)
    }

    /// The reason as metrics, logs and responses name it.
    pub const fn reason(self) -> &'static str {
        self.facts().reason
    }

    /// The response's status; `signature` is the route's `reject_status`.
    pub const fn status(self, signature: StatusCode) -> StatusCode {
        match self.facts().status {
            Some(status) => status,
            None => signature,
        }
    }

    /// Advice for the operator, for the log.
    pub const fn hint(self) -> &'static str {
        self.facts().hint
    }

    /// Whether the upstream is at fault. The gateway then does not count a rejection.
    pub const fn is_of_the_upstream(self) -> bool {
        matches!(self.facts().fault, Fault::Upstream)
    }

    /// Whether a delivery without a route can be refused for this reason.
    pub const fn needs_no_route(self) -> bool {
        matches!(self.facts().scope, Scope::Gateway | Scope::Both)
    }

    /// Whether a delivery with a route can be refused for this reason.
    pub const fn can_have_a_route(self) -> bool {
        matches!(self.facts().scope, Scope::Route | Scope::Both)
    }
}

impl From<VerifyError> for Reject {
    fn from(error: VerifyError) -> Self {
        Self::Signature(error)
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered.
    Forwarded,
    /// The gateway stored it, and delivers it from its queue.
    Accepted,
    /// It was there before, and was answered as if it were accepted.
    Duplicate,
    /// The gateway answered it itself: an endpoint challenge.
    Challenge,
    /// The gateway refused it.
    Rejected,
    /// The upstream gave no answer.
    UpstreamError,
}

impl Outcome {
    /// Every value.
    pub const ALL: [Self; 6] =
        [Self::Forwarded, Self::Accepted, Self::Duplicate, Self::Challenge, Self::Rejected, Self::UpstreamError];

    /// Its position in [`Outcome::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Forwarded => 0,
            Self::Accepted => 1,
            Self::Duplicate => 2,
            Self::Challenge => 3,
            Self::Rejected => 4,
            Self::UpstreamError => 5,
        }
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Challenge => "challenge",
            Self::Rejected => "rejected",
            Self::UpstreamError => "upstream_error",
        }
    }
}

impl From<Reject> for Outcome {
    fn from(reject: Reject) -> Self {
        match reject.facts().fault {
            Fault::Sender | Fault::Gateway => Self::Rejected,
            Fault::Upstream => Self::UpstreamError,
        }
    }
}

/// A reason for a refusal, and whether the request was read in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reject: Reject,
    /// Whether part of the body is unread. The connection cannot be used again then, and the response has `Connection: close`
    /// (RFC 9112 section 9.6).
    pub unread: bool,
    /// `Retry-After` in seconds, where it is not that of the reason.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal of a request whose body has not been read in full.
    pub fn unread(reject: impl Into<Reject>) -> Self {
        Self { reject: reject.into(), unread: true, retry_after: None }
    }
}

/// A refusal of a request that has been read in full.
impl<R: Into<Reject>> From<R> for Refusal {
    fn from(reject: R) -> Self {
        Self { reject: reject.into(), unread: false, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Reject::ALL.iter().map(|reject| reject.reason()).collect();
        assert_eq!(names.len(), Reject::ALL.len());
    }

    #[test]
    fn only_signature_faults_take_the_routes_reject_status() {
        for reject in Reject::ALL {
            let taken = reject.status(StatusCode::IM_A_TEAPOT) == StatusCode::IM_A_TEAPOT;
            assert_eq!(taken, matches!(reject, Reject::Signature(_)), "{}", reject.reason());
        }
    }

    #[test]
    fn a_refusal_has_a_route_or_none_and_upstream_errors_have_one() {
        for reject in Reject::ALL {
            assert!(reject.needs_no_route() || reject.can_have_a_route(), "{}", reject.reason());
            assert!(!(reject.is_of_the_upstream() && reject.needs_no_route()), "{}", reject.reason());
        }
    }
}
