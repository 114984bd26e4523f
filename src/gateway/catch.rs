//! Catches panics: a bug costs the delivery that met it, and not its connection or thread.
//!
//! The delivery is refused as [`Reject::Bug`], so that it is answered with its request id, logged, and counted as rejected
//! under its route. The panic hook tells the log where the bug is.
//!
//! Does not tell whether the upstream has the delivery: the bug may be behind the place where it was sent.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::Response;
use tower::Service;

use crate::delivery::response::Body;
use crate::gateway::stage::Here;
use crate::reject::{Refusal, Reject};

/// The stage: refuses a delivery whose handling panics.
pub async fn catch<S, Delivery>(here: Rc<Here<(), S>>, delivery: Delivery) -> Result<Response<Body>, Refusal>
where
    S: Service<Delivery, Response = Response<Body>, Error = Refusal> + Clone,
{
    let mut handling = pin!(here.next(delivery));
    // What the delivery has to itself is dropped with it; what it shares are counters and pools, which are whole at any
    // point where it can panic.
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(Refusal::unread(Reject::Bug))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::time::Duration;

    use http::Request;
    use http_body_util::BodyExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tower::service_fn;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{AccessLog, Networks};
    use crate::delivery::peer::Peer;
    use crate::delivery::request::{Arrived, Inbound, RequestBody};
    use crate::delivery::response::Handled;
    use crate::gateway::observe::{ObserveContext, observe};
    use crate::gateway::receive::{ArriveContext, arrive};
    use crate::gateway::respond::respond;
    use crate::http1::server::connection::{ConnectionLimits, IncomingBody, ServerConnection};
    use crate::metrics::Metrics;
    use crate::net::socket::Socket;

    /// Where a delivery meets the bug.
    async fn work(_: Arrived) -> Result<Response<Body>, Refusal> {
        tokio::task::yield_now().await;
        panic!("a bug")
    }

    async fn handle(request: Arrived) -> Result<Handled, Infallible> {
        Ok(Handled { route: None, result: catch(Here::new((), service_fn(work)), request).await })
    }

    /// What comes with a request without a body.
    async fn inbound() -> Inbound {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let second = Duration::from_secs(1);
        let limits = ConnectionLimits { header_timeout: second, idle_timeout: second, max_header_bytes: 1024 };
        let sender = Rc::new(RefCell::new(ServerConnection::new(Socket::Plain(stream), limits, Clock::system())));
        let peer = Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), false));
        Inbound { body: RequestBody::Http1(IncomingBody::new(sender)), peer }
    }

    #[tokio::test]
    async fn a_delivery_that_meets_a_bug_is_answered_with_its_id_and_counted_without_a_reason() {
        let metrics = Metrics::new(0.0).unwrap();
        let context = ObserveContext {
            clock: Clock::system(),
            in_flight: metrics.in_flight.clone(),
            unmatched: Rc::new(metrics.unmatched()),
            access_log: AccessLog::None,
            log_limit: Rc::default(),
            tracer: None,
        };
        let respond = |request| respond(Here::new((), service_fn(handle)), request);
        let observe = |arrived| observe(Here::new(context.clone(), service_fn(respond)), arrived);
        let arriving = ArriveContext { clock: Clock::system(), trusted_proxies: Networks::default() };
        let request = Request::post("/").header("x-request-id", "id-1").body(inbound().await).unwrap();
        let response = arrive(Here::new(arriving, service_fn(observe)), request).await.unwrap();

        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer = String::from_utf8(body.to_vec()).unwrap();
        assert!(answer.ends_with(r#""reason":"internal_error","request_id":"id-1"}"#), "{answer}");
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        let counted = r#"hooklatch_requests_total{outcome="rejected",route="none",scheme="none"} 1"#;
        assert!(text.lines().any(|line| line == counted), "{text}");
        let reasons = text.lines().filter(|line| line.starts_with("hooklatch_rejections_total"));
        assert!(reasons.clone().count() > 0 && reasons.clone().all(|line| line.ends_with(" 0")), "{text}");
        assert_eq!(metrics.in_flight.get(), 0);
    }
}
