//! The list of reasons, with all facts of each. What a reason is called, which status it has and what people read of it stands
//! here and nowhere else.

use http::StatusCode;

use super::{Facts, Fault, Reject, Scope};
use crate::schemes::VerifyError;

/// Makes [`Reject::ALL`] and [`Reject::facts`] from one list of reasons.
macro_rules! reasons {
    ($($name:ident $((VerifyError::$error:ident))? => $facts:expr,)+) => {
        impl Reject {
            /// Every reason except [`Reject::Bug`]. Each stage documents the order of its checks.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name $((VerifyError::$error))?),+];

            /// The facts about the reason.
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
        hint: "the sender, or a proxy in front, breaks a rule of HTTP, or one of the two speaks TLS and the other does not",
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
