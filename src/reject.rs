//! Why a delivery gets no response from the upstream: one closed list. And how a delivery ended.
//!
//! A reason's facts stand in one place, the list below. The text that goes out is constant: what helps an operator goes to
//! the log, what would help an attacker goes nowhere.

use http::StatusCode;

use crate::schemes::VerifyError;

/// What the type of a problem begins with (RFC 9457 section 3.1.1); the reason follows.
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
    /// A bound over all deliveries is reached: connections, deliveries in flight, bytes of bodies.
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
    /// The upstream broke off before a complete response head, or sent something that is not HTTP.
    UpstreamFailed,
    /// The upstream's response head did not arrive within the route's `timeout`.
    UpstreamTimeout,
    /// A stage panicked. It is a bug, so it is not in [`Reject::ALL`] and has no series of its own.
    Bug,
}

/// All that is known of a reason.
#[derive(Debug)]
pub struct Facts {
    /// The reason as metrics, logs and responses name it.
    pub reason: &'static str,
    /// The response's status; `None` for what the route's `reject_status` says.
    status: Option<StatusCode>,
    /// Whether a delivery can be refused so before, or after, its route is known.
    scope: Scope,
    /// Who has to act.
    pub fault: Fault,
    /// In how many seconds the sender may try again, if the response says so (RFC 9110 section 10.2.3).
    pub retry_after: Option<u32>,
    /// One sentence for the reader of the response; the same for every delivery.
    pub title: &'static str,
    /// What an operator can check. It goes to the log, never to the sender.
    pub hint: &'static str,
}

/// Who has to act on a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sender, or the person who configured it.
    Sender,
    /// This gateway, its limits or its state. The sender may try again.
    Gateway,
    /// The handler behind the gateway.
    Upstream,
}

/// Where on its way a delivery can be refused for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Before its route is known.
    Gateway,
    /// After.
    Route,
    /// Both.
    Both,
}

/// Writes the list of reasons once, for everything that goes through it.
macro_rules! reasons {
    ($($name:ident $((VerifyError::$error:ident))? => $facts:expr,)+) => {
        impl Reject {
            /// Every reason but [`Reject::Bug`]. The stages say in which order they check.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name $((VerifyError::$error))?),+];

            /// What is known of it.
            pub const fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$name $((VerifyError::$error))? => {
                        const FACTS: &Facts = &$facts;
                        FACTS
                    })+
                    Self::Bug => BUG,
                }
            }
        }
    };
}

reasons! {
    NoRoute => Facts {
        reason: "no_route",
        status: Some(StatusCode::NOT_FOUND),
        scope: Scope::Gateway,
        fault: Fault::Sender,
        retry_after: None,
        title: "No route is configured for this host and path",
        hint: "`hooklatch check` lists the routes with their hosts and paths",
    },
    MethodNotAllowed => Facts {
        reason: "method_not_allowed",
        status: Some(StatusCode::METHOD_NOT_ALLOWED),
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The route does not accept this method",
        hint: "`methods` of the route lists those that it accepts; a browser asks with GET, providers send POST",
    },
    IpNotAllowed => Facts {
        reason: "ip_not_allowed",
        status: Some(StatusCode::FORBIDDEN),
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The route does not accept deliveries from this address",
        hint: "see `allowed_ips` of the route; a proxy in front belongs in server.trusted_proxies",
    },
    Draining => Facts {
        reason: "draining",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        scope: Scope::Both,
        fault: Fault::Gateway,
        retry_after: None,
        title: "The gateway is shutting down",
        hint: "the gateway stops; the sender has to send it again",
    },
    Overloaded => Facts {
        reason: "overloaded",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        scope: Scope::Both,
        fault: Fault::Gateway,
        retry_after: Some(1),
        title: "The gateway is at capacity",
        hint: "server.max_connections, server.buffered_bytes or `max_in_flight` of the route is reached",
    },
    RateLimited => Facts {
        reason: "rate_limited",
        status: Some(StatusCode::TOO_MANY_REQUESTS),
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: Some(1),
        title: "The route's rate limit is exceeded",
        hint: "`rate_limit` of the route is exceeded",
    },
    BadRequest => Facts {
        reason: "bad_request",
        status: Some(StatusCode::BAD_REQUEST),
        scope: Scope::Both,
        fault: Fault::Sender,
        retry_after: None,
        title: "The request is not valid HTTP",
        hint: "the sender, or a proxy in front, breaks a rule of HTTP, or speaks TLS where server.tls is not set",
    },
    HeaderTimeout => Facts {
        reason: "header_timeout",
        status: Some(StatusCode::REQUEST_TIMEOUT),
        scope: Scope::Gateway,
        fault: Fault::Sender,
        retry_after: None,
        title: "The request's head did not arrive in time",
        hint: "server.header_timeout says how long a head may take; a scanner, or a slow or broken sender",
    },
    HeaderTooLarge => Facts {
        reason: "header_too_large",
        status: Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        scope: Scope::Gateway,
        fault: Fault::Sender,
        retry_after: None,
        title: "The request's header fields are larger than the gateway accepts",
        hint: "server.max_header_bytes is exceeded, or there are more than 100 header lines",
    },
    UriTooLong => Facts {
        reason: "uri_too_long",
        status: Some(StatusCode::URI_TOO_LONG),
        scope: Scope::Gateway,
        fault: Fault::Sender,
        retry_after: None,
        title: "The request target is longer than the gateway accepts",
        hint: "the request line is longer than 8 KiB; is the path or query that you entered at the provider right?",
    },
    BodyTooLarge => Facts {
        reason: "body_too_large",
        status: Some(StatusCode::PAYLOAD_TOO_LARGE),
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The body is larger than the route allows",
        hint: "`max_body` of the route says how large it may be",
    },
    BodyTimeout => Facts {
        reason: "body_timeout",
        status: Some(StatusCode::REQUEST_TIMEOUT),
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The body did not arrive in time",
        hint: "`body_timeout` of the route says how long it may take",
    },
    Signature(VerifyError::MissingSignature) => Facts {
        reason: VerifyError::MissingSignature.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The signature header is missing or empty",
        hint: "is a secret set at the provider? `hooklatch send ROUTE` sends a signed delivery",
    },
    Signature(VerifyError::AmbiguousSignature) => Facts {
        reason: VerifyError::AmbiguousSignature.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The signature header appears more than once",
        hint: "the sender, or a proxy in front, repeats the header",
    },
    Signature(VerifyError::MalformedSignature) => Facts {
        reason: VerifyError::MalformedSignature.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The signature is not in the scheme's format",
        hint: "is `scheme` of the route that of this provider?",
    },
    Signature(VerifyError::SignatureMismatch) => Facts {
        reason: VerifyError::SignatureMismatch.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The signature matches no secret of the route",
        hint: "another secret, or a body that was changed on the way: `hooklatch explain ROUTE --request FILE` says which",
    },
    Signature(VerifyError::PayloadMismatch) => Facts {
        reason: VerifyError::PayloadMismatch.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The body differs from the payload that was signed",
        hint: "the signature is right, but fields outside of what it covers differ: `hooklatch explain ROUTE --request FILE` shows them",
    },
    Signature(VerifyError::StaleTimestamp) => Facts {
        reason: VerifyError::StaleTimestamp.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The signed time is older than the route tolerates",
        hint: "an old delivery, or a wrong clock; `tolerance` of the route says how old it may be",
    },
    Signature(VerifyError::FutureTimestamp) => Facts {
        reason: VerifyError::FutureTimestamp.name(),
        status: None,
        scope: Scope::Route,
        fault: Fault::Sender,
        retry_after: None,
        title: "The signed time is further ahead than the route tolerates",
        hint: "a clock is wrong: the sender's or this machine's",
    },
    DuplicateInFlight => Facts {
        reason: "duplicate_in_flight",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        scope: Scope::Route,
        fault: Fault::Gateway,
        retry_after: Some(1),
        title: "The same delivery is at the handler already",
        hint: "the handler has not answered the first one yet; the provider sends this one again",
    },
    StorageFull => Facts {
        reason: "storage_full",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        scope: Scope::Route,
        fault: Fault::Gateway,
        retry_after: Some(60),
        title: "The gateway has no room to store the delivery",
        hint: "store.max_size is reached, or less than store.min_free is free on the file system",
    },
    StorageFailed => Facts {
        reason: "storage_failed",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        scope: Scope::Route,
        fault: Fault::Gateway,
        retry_after: Some(60),
        title: "The gateway cannot store deliveries",
        hint: "a write to the store has failed; the log says why. Repair the disk, then restart the gateway",
    },
    StorageSlow => Facts {
        reason: "storage_slow",
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        scope: Scope::Route,
        fault: Fault::Gateway,
        retry_after: Some(1),
        title: "The gateway cannot store the delivery in time",
        hint: "more deliveries wait for the disk than it can sync: hooklatch_store_sync_seconds shows how long a commit takes",
    },
    UpstreamUnreachable => Facts {
        reason: "upstream_unreachable",
        status: Some(StatusCode::BAD_GATEWAY),
        scope: Scope::Route,
        fault: Fault::Upstream,
        retry_after: None,
        title: "The upstream cannot be reached",
        hint: "does the handler run, and does `upstream` of the route lead to it?",
    },
    UpstreamFailed => Facts {
        reason: "upstream_failed",
        status: Some(StatusCode::BAD_GATEWAY),
        scope: Scope::Route,
        fault: Fault::Upstream,
        retry_after: None,
        title: "The upstream broke off before it answered",
        hint: "the handler closed the connection, or what listens there does not speak HTTP",
    },
    UpstreamTimeout => Facts {
        reason: "upstream_timeout",
        status: Some(StatusCode::GATEWAY_TIMEOUT),
        scope: Scope::Route,
        fault: Fault::Upstream,
        retry_after: None,
        title: "The upstream did not answer in time",
        hint: "the handler takes longer than `timeout` of the route",
    },
}

const BUG: &Facts = &Facts {
    reason: "internal_error",
    status: Some(StatusCode::INTERNAL_SERVER_ERROR),
    scope: Scope::Both,
    fault: Fault::Gateway,
    retry_after: None,
    title: "The gateway failed",
    hint: "a bug of the gateway: please report it, with the lines of the log around it",
};

impl Reject {
    /// Its position in [`Reject::ALL`], which counters are kept by.
    pub fn index(self) -> Option<usize> {
        Self::ALL.iter().position(|reject| *reject == self)
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

    /// What an operator can check; for the log.
    pub const fn hint(self) -> &'static str {
        self.facts().hint
    }

    /// Whether the upstream is at fault. Then there is no refusal by the gateway to count.
    pub const fn is_of_the_upstream(self) -> bool {
        matches!(self.facts().fault, Fault::Upstream)
    }

    /// Whether a delivery without a route can be refused so.
    pub const fn needs_no_route(self) -> bool {
        matches!(self.facts().scope, Scope::Gateway | Scope::Both)
    }

    /// Whether a delivery with a route can be refused so.
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

/// A [`Reject`], and whether the request was read to its end.
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
