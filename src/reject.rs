//! Every reason why a delivery is not answered by the upstream: one closed list.
//!
//! The text that goes out is constant. What would help an operator goes to the log, what would help an attacker
//! goes nowhere.

use http::StatusCode;

use crate::schemes::VerifyError;

/// What the type of a problem begins with (RFC 9457 section 3.1.1); the reason follows.
pub const PROBLEM_TYPE: &str = "urn:hooklatch:problem:";

/// Who has to act on a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sender, or whoever configured it.
    Sender,
    /// This gateway's limits or state; the sender may try again.
    Gateway,
    /// The handler behind the gateway.
    Upstream,
}

/// Why a delivery was refused, or why no response of the upstream could be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// The path or the host matches no route.
    NoRoute,
    /// The route does not take this method (RFC 9110 section 15.5.6).
    MethodNotAllowed,
    /// The route does not take deliveries from this address.
    IpNotAllowed,
    /// The gateway is shutting down.
    Draining,
    /// A bound over all deliveries is reached: connections, deliveries in flight, bytes of bodies.
    Overloaded,
    /// The route's `rate_limit` is spent (RFC 6585 section 4).
    RateLimited,
    /// Whatever HTTP forbids: ambiguous framing, a body that ended early.
    BadRequest,
    /// The body is longer than the route's `max_body` (RFC 9110 section 15.5.14).
    BodyTooLarge,
    /// The body did not arrive within the route's `body_timeout` (RFC 9110 section 15.5.9).
    BodyTimeout,
    /// The signature does not verify.
    Signature(VerifyError),
    /// No connection to the upstream: name resolution, TCP or TLS.
    UpstreamUnreachable,
    /// The upstream broke off before a complete response head, or sent something that is not HTTP.
    UpstreamFailed,
    /// The upstream's response head did not arrive within the route's `timeout`.
    UpstreamTimeout,
    /// A stage panicked. No refusal that anybody should count on: it is not in [`Reject::ALL`] and has no series.
    Bug,
}

impl Reject {
    /// Every value there is but [`Reject::Bug`]. The stages say in which order they check.
    pub const ALL: [Self; 19] = [
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::IpNotAllowed,
        Self::Draining,
        Self::Overloaded,
        Self::RateLimited,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::Signature(VerifyError::MissingSignature),
        Self::Signature(VerifyError::AmbiguousSignature),
        Self::Signature(VerifyError::MalformedSignature),
        Self::Signature(VerifyError::SignatureMismatch),
        Self::Signature(VerifyError::PayloadMismatch),
        Self::Signature(VerifyError::StaleTimestamp),
        Self::Signature(VerifyError::FutureTimestamp),
        Self::UpstreamUnreachable,
        Self::UpstreamFailed,
        Self::UpstreamTimeout,
    ];

    /// Its place in [`Reject::ALL`]. Matched without `_`: a new reason does not compile until it has one.
    pub const fn index(self) -> Option<usize> {
        Some(match self {
            Self::NoRoute => 0,
            Self::MethodNotAllowed => 1,
            Self::IpNotAllowed => 2,
            Self::Draining => 3,
            Self::Overloaded => 4,
            Self::RateLimited => 5,
            Self::BadRequest => 6,
            Self::BodyTooLarge => 7,
            Self::BodyTimeout => 8,
            Self::Signature(VerifyError::MissingSignature) => 9,
            Self::Signature(VerifyError::AmbiguousSignature) => 10,
            Self::Signature(VerifyError::MalformedSignature) => 11,
            Self::Signature(VerifyError::SignatureMismatch) => 12,
            Self::Signature(VerifyError::PayloadMismatch) => 13,
            Self::Signature(VerifyError::StaleTimestamp) => 14,
            Self::Signature(VerifyError::FutureTimestamp) => 15,
            Self::UpstreamUnreachable => 16,
            Self::UpstreamFailed => 17,
            Self::UpstreamTimeout => 18,
            Self::Bug => return None,
        })
    }

    /// The reason as metrics, logs and responses name it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::Signature(error) => error.name(),
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Bug => "internal_error",
        }
    }

    /// The response's status; `signature` is what the route answers to a signature that does not verify.
    pub const fn status(self, signature: StatusCode) -> StatusCode {
        match self {
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::IpNotAllowed => StatusCode::FORBIDDEN,
            Self::Draining | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Signature(_) => signature,
            Self::UpstreamUnreachable | Self::UpstreamFailed => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for whoever reads the response; the same for every delivery.
    pub const fn title(self) -> &'static str {
        match self {
            Self::NoRoute => "No route is configured for this host and path",
            Self::MethodNotAllowed => "The route does not take this method",
            Self::IpNotAllowed => "The route does not take deliveries from this address",
            Self::Draining => "The gateway is shutting down",
            Self::Overloaded => "The gateway has as much to do as it may",
            Self::RateLimited => "The route gets more requests than it may",
            Self::BadRequest => "The request is not valid HTTP",
            Self::BodyTooLarge => "The body is larger than the route allows",
            Self::BodyTimeout => "The body did not arrive in time",
            Self::Signature(VerifyError::MissingSignature) => "The signature header is missing or empty",
            Self::Signature(VerifyError::AmbiguousSignature) => "The signature header is there more than once",
            Self::Signature(VerifyError::MalformedSignature) => "The signature is not in the scheme's format",
            Self::Signature(VerifyError::SignatureMismatch) => "The signature matches no secret of the route",
            Self::Signature(VerifyError::PayloadMismatch) => "The body differs from the payload that was signed",
            Self::Signature(VerifyError::StaleTimestamp) => "The signed time is longer ago than the route tolerates",
            Self::Signature(VerifyError::FutureTimestamp) => {
                "The signed time is further ahead than the route tolerates"
            }
            Self::UpstreamUnreachable => "The upstream cannot be reached",
            Self::UpstreamFailed => "The upstream broke off before it answered",
            Self::UpstreamTimeout => "The upstream did not answer in time",
            Self::Bug => "The gateway failed",
        }
    }

    /// What an operator can look at, for the log; nothing of it goes to the sender.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoRoute => "`hooklatch check` lists the routes with their hosts and paths",
            Self::MethodNotAllowed => {
                "`methods` of the route says which it takes; a browser asks with GET, providers send POST"
            }
            Self::IpNotAllowed => "`allowed_ips` of the route; a proxy in front belongs into server.trusted_proxies",
            Self::Draining => "the gateway stops; the sender has to send it again",
            Self::Overloaded => {
                "server.max_connections, server.buffered_bytes or `max_in_flight` of the route is spent"
            }
            Self::RateLimited => "`rate_limit` of the route is spent",
            Self::BadRequest => {
                "the sender, or a proxy in front, does not keep to HTTP, or speaks TLS where server.tls is not set"
            }
            Self::BodyTooLarge => "`max_body` of the route says how large it may be",
            Self::BodyTimeout => "`body_timeout` of the route says how long it may take",
            Self::Signature(VerifyError::MissingSignature) => {
                "is a secret set at the provider? `hooklatch send ROUTE` sends a signed delivery"
            }
            Self::Signature(VerifyError::AmbiguousSignature) => "the sender, or a proxy in front, repeats the header",
            Self::Signature(VerifyError::MalformedSignature) => "is `scheme` of the route that of this provider?",
            Self::Signature(VerifyError::SignatureMismatch | VerifyError::PayloadMismatch) => {
                "another secret, or a body that was changed on its way: `hooklatch explain ROUTE --request FILE` says which"
            }
            Self::Signature(VerifyError::StaleTimestamp) => {
                "an old delivery, or a clock that is wrong; `tolerance` of the route says how old it may be"
            }
            Self::Signature(VerifyError::FutureTimestamp) => "a clock is wrong, the sender's or this machine's",
            Self::UpstreamUnreachable => "does the handler run, and does `upstream` of the route lead to it?",
            Self::UpstreamFailed => "the handler closed the connection, or what listens there does not speak HTTP",
            Self::UpstreamTimeout => "the handler takes longer than `timeout` of the route",
            Self::Bug => "a fault of the gateway: please report it, with the log around it",
        }
    }

    /// In how many seconds the sender may try again, where that is said (RFC 9110 section 10.2.3). Bounds are free again
    /// as soon as one delivery is done, and a rate is of at least one request a second.
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Overloaded | Self::RateLimited => Some(1),
            Self::NoRoute
            | Self::MethodNotAllowed
            | Self::IpNotAllowed
            | Self::Draining
            | Self::BadRequest
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::Signature(_)
            | Self::UpstreamUnreachable
            | Self::UpstreamFailed
            | Self::UpstreamTimeout
            | Self::Bug => None,
        }
    }

    /// Who has to act.
    pub const fn fault(self) -> Fault {
        match self {
            Self::NoRoute
            | Self::MethodNotAllowed
            | Self::IpNotAllowed
            | Self::RateLimited
            | Self::BadRequest
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::Signature(_) => Fault::Sender,
            Self::Draining | Self::Overloaded | Self::Bug => Fault::Gateway,
            Self::UpstreamUnreachable | Self::UpstreamFailed | Self::UpstreamTimeout => Fault::Upstream,
        }
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered.
    Forwarded,
    /// The gateway answered it itself: an endpoint challenge.
    Challenge,
    /// The gateway refused it.
    Rejected,
    /// The upstream gave no answer.
    UpstreamError,
}

impl Outcome {
    /// Every value there is.
    pub const ALL: [Self; 4] = [Self::Forwarded, Self::Challenge, Self::Rejected, Self::UpstreamError];

    /// Its place in [`Outcome::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Forwarded => 0,
            Self::Challenge => 1,
            Self::Rejected => 2,
            Self::UpstreamError => 3,
        }
    }

    /// Whether a route has deliveries that end so; `challenges` says whether it answers any.
    pub const fn is_possible(self, challenges: bool) -> bool {
        challenges || !matches!(self, Self::Challenge)
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Challenge => "challenge",
            Self::Rejected => "rejected",
            Self::UpstreamError => "upstream_error",
        }
    }
}

impl From<Reject> for Outcome {
    fn from(reject: Reject) -> Self {
        match reject.fault() {
            Fault::Sender | Fault::Gateway => Self::Rejected,
            Fault::Upstream => Self::UpstreamError,
        }
    }
}

/// A [`Reject`], and whether its sender may have more of the request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reject: Reject,
    /// Whether the body has not been read to its end: then the connection cannot be used again, and the response says so
    /// (RFC 9112 section 9.6).
    pub unread: bool,
}

impl Refusal {
    /// A refusal before the body's end.
    pub fn unread(reject: impl Into<Reject>) -> Self {
        Self { reject: reject.into(), unread: true }
    }
}

/// A refusal after the body's end.
impl<R: Into<Reject>> From<R> for Refusal {
    fn from(reject: R) -> Self {
        Self { reject: reject.into(), unread: false }
    }
}

impl From<VerifyError> for Reject {
    fn from(error: VerifyError) -> Self {
        Self::Signature(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_is_at_its_place() {
        let places: Vec<_> = Reject::ALL.into_iter().map(Reject::index).collect();
        assert_eq!(places, Vec::from_iter((0..Reject::ALL.len()).map(Some)));
    }

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
}
