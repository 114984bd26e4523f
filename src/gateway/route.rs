//! Finds the route of a request by its path and host, as raw bytes: no decoding, no dot-segment folding.
//!
//! Refuses, in this order:
//! 1. `bad_request`: several `Host` lines, an HTTP/1.1 request with none (RFC 9112 section 3.2), an HTTP/2 request with
//!    neither `:authority` nor `Host` or with two that differ (RFC 9113 section 8.3.1);
//! 2. `draining`: the gateway is shutting down;
//! 3. `no_route`: no route has this path and host;
//! 4. `method_not_allowed`: the route does not accept the method, and the request is not one of its challenges;
//! 5. `ip_not_allowed`: the client is not in the route's `allowed_ips`.
//!
//! An exact path beats a prefix, a longer prefix beats a shorter one, and at the same path a route with a host beats a route
//! without one.
//! The host of a request in absolute-form is that of its target (RFC 9112 section 3.2.2).

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version};
use tower::Service;

use crate::config;
use crate::delivery::peer::Peer;
use crate::delivery::request::Received;
use crate::delivery::response::{Completed, Handled};
use crate::delivery::stages::Routed;
use crate::gateway::stage::Next;
use crate::gateway::{capture, discard};
use crate::http1::field::is_host_byte;
use crate::reject::{Refusal, Reject};
use crate::routing::limits::Budget;
use crate::routing::table::{Route, Router};
use crate::schemes::{Asked, RequestHead};

/// The values of the worker thread that the routing stage uses.
#[derive(Clone)]
pub struct RouteContext {
    /// The routes.
    pub router: Rc<Router>,
    /// Whether the gateway is shutting down.
    pub draining: Rc<Cell<bool>>,
    /// For the bodies of refused requests that are captured.
    pub budget: Budget,
}

/// The stage: finds the route and checks the method.
pub async fn route<S>(next: Rc<Next<RouteContext, S>>, received: Received) -> Result<Handled, Infallible>
where
    S: Service<Routed, Response = Completed, Error = Refusal> + Clone,
{
    let Received { info, body } = received;
    let (route, checked) = find(&next.context, &info.head, &info.peer);
    Ok(match (route, checked) {
        (Some(route), Ok(asked)) => {
            let result = next.run(Routed { info, route: route.clone(), body, asked }).await;
            Handled { route: Some(route), result }
        }
        (route, checked) => {
            let reject = checked.err().unwrap_or(Reject::NoRoute);
            let refusal = match &route {
                Some(route) => capture::refuse(&next.context.budget, &info, route, body, reject).await,
                // Two readers could see two requests in what follows, so the connection ends (RFC 9112 section 11.2).
                None if reject == Reject::BadRequest => Refusal::unread(reject),
                None => discard::refuse(&info.head.headers, body, reject).await,
            };
            Handled { route, result: Err(refusal) }
        }
    })
}

/// The route, if one matches, and the result of its checks. `Ok(Some)` holds the challenge, if the request is one.
fn find(context: &RouteContext, head: &Parts, peer: &Peer) -> (Option<Rc<Route>>, Result<Option<Asked>, Reject>) {
    let host = match host(head.version, &head.uri, &head.headers) {
        Ok(host) => host,
        Err(reject) => return (None, Err(reject)),
    };
    let route = context.router.find(head.uri.path(), host).cloned();
    let checked = match &route {
        _ if context.draining.get() => Err(Reject::Draining),
        None => Err(Reject::NoRoute),
        Some(route) => check(&route.shared.config, head, peer),
    };
    (route, checked)
}

/// What the route makes of a request for it: refuses the method or the client, or finds a challenge in the head.
pub(super) fn check(config: &config::Route, head: &Parts, peer: &Peer) -> Result<Option<Asked>, Reject> {
    let asked = config.verifier.challenges().and_then(|challenges| challenges.in_head(RequestHead::of(head)));
    if asked.is_none() && !config.methods.contains(&head.method) {
        return Err(Reject::MethodNotAllowed);
    }
    if lets_in(config, peer.client) { Ok(asked) } else { Err(Reject::IpNotAllowed) }
}

/// Whether the route accepts deliveries from the client.
fn lets_in(config: &config::Route, client: IpAddr) -> bool {
    config.allowed_ips.is_empty() || config.allowed_ips.contains(client)
}

/// The host that the request is for, as the sender wrote it; `None` for an HTTP/1.0 request without `Host`.
pub fn host<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Reject> {
    let mut lines = headers.get_all(HOST).iter();
    let line = lines.next().map(HeaderValue::to_str).transpose().map_err(|_| Reject::BadRequest)?;
    let authority = uri.authority().map(Authority::as_str);
    let host = authority.or(line);
    let consistent = match version {
        Version::HTTP_2 => host.is_some() && authority.zip(line).is_none_or(|(a, b)| a.eq_ignore_ascii_case(b)),
        Version::HTTP_11 => line.is_some(),
        _ => true,
    };
    // No user information (RFC 9110 section 4.2.4).
    if lines.next().is_some() || !consistent || !host.is_none_or(|host| host.bytes().all(is_host_byte)) {
        return Err(Reject::BadRequest);
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(version: Version, target: &str, hosts: &[&[u8]]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        request
    }

    fn host(request: &Request<()>) -> Result<Option<&str>, Reject> {
        super::host(request.version(), request.uri(), request.headers())
    }

    #[test]
    fn a_request_has_one_host() {
        let bad = |version, target, hosts: &[&[u8]]| host(&request(version, target, hosts)).map(|_| ()).unwrap_err();
        assert_eq!(bad(Version::HTTP_11, "/", &[]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"a", b"a"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"a b"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"user@a"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "/", &[b"\xff"]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "http://a/", &[]), Reject::BadRequest);
        assert_eq!(bad(Version::HTTP_11, "http://user@a/", &[b"a"]), Reject::BadRequest);
        assert_eq!(host(&request(Version::HTTP_11, "http://a/", &[b"b"])), Ok(Some("a")));
        assert_eq!(host(&request(Version::HTTP_11, "/", &[b"b:80"])), Ok(Some("b:80")));
        assert_eq!(host(&request(Version::HTTP_10, "/", &[])), Ok(None));
        assert_eq!(bad(Version::HTTP_11, "http://user@a/", &[b"a"]), Reject::BadRequest);
    }

    #[test]
    fn the_host_of_http_2_is_its_authority() {
        let two = |target, hosts: &[&[u8]]| {
            host(&request(Version::HTTP_2, target, hosts)).map(|host| host.map(str::to_owned))
        };
        assert_eq!(two("https://a:8443/", &[]), Ok(Some("a:8443".to_owned())));
        assert_eq!(two("https://a/", &[b"A"]), Ok(Some("a".to_owned())));
        assert_eq!(two("/", &[b"a"]), Ok(Some("a".to_owned())));
        for (target, hosts) in
            [("https://a/", &[b"b".as_slice()][..]), ("/", &[]), ("https://u@a/", &[]), ("/", &[b"a", b"a"])]
        {
            assert_eq!(two(target, hosts), Err(Reject::BadRequest), "{target} {hosts:?}");
        }
    }
}
