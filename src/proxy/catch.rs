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

use super::reject::{Refusal, Reject};
use super::respond::Body;
use super::stage::Here;

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
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use http::Request;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tower::service_fn;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{AccessLog, Networks};
    use crate::metrics::Metrics;
    use crate::proxy::arrive::{ArriveContext, arrive};
    use crate::proxy::delivery::{Arrived, Inbound, Peer};
    use crate::proxy::observe::{ObserveContext, observe};
    use crate::proxy::respond::{Handled, respond};

    /// Where a delivery meets the bug.
    async fn work(_: Arrived) -> Result<Response<Body>, Refusal> {
        tokio::task::yield_now().await;
        panic!("a bug")
    }

    async fn handle(request: Arrived) -> Result<Handled, Infallible> {
        Ok(Handled { route: None, result: catch(Here::new((), service_fn(work)), request).await })
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
        let peer = Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), false));
        let observe = |arrived| observe(Here::new(context.clone(), service_fn(respond)), arrived);
        let arriving = ArriveContext { clock: Clock::system(), trusted_proxies: Networks::default() };
        let arrive = |request: Request<Incoming>| {
            let request = request.map(|body| Inbound { body, peer: peer.clone() });
            arrive(Here::new(arriving.clone(), service_fn(observe)), request)
        };
        let (mut sender, gateway) = tokio::io::duplex(4096);
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(gateway), hyper::service::service_fn(arrive));
        let mut answer = String::new();
        let send = async {
            sender.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nx-request-id: id-1\r\n\r\n").await.unwrap();
            sender.read_to_string(&mut answer).await.unwrap();
        };
        let (ended, ()) = tokio::join!(connection, send);

        ended.unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains(r#""reason":"internal_error","request_id":"id-1"}"#), "{answer}");
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        let counted = r#"hooklatch_requests_total{outcome="rejected",route="none",scheme="none"} 1"#;
        assert!(text.lines().any(|line| line == counted), "{text}");
        let reasons = text.lines().filter(|line| line.starts_with("hooklatch_rejections_total"));
        assert!(reasons.clone().count() > 0 && reasons.clone().all(|line| line.ends_with(" 0")), "{text}");
        assert_eq!(metrics.in_flight.get(), 0);
    }
}
