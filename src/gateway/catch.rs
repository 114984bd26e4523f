//! Catches panics: a bug fails the delivery that triggers it, but not its connection or thread.
//!
//! Below the routing stage, a panic becomes the refusal [`Reject::Bug`]: the delivery is answered with its request id, logged,
//! and counted as rejected under its route. A panic in an earlier stage gets the same response with a new request id; it is
//! neither counted nor logged as a delivery. The panic hook logs the position of the bug in the code.
//!
//! After a panic the upstream may or may not have the delivery: the panic can happen after the request was sent.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::problem::problem_without_route;
use super::stage::{Boxed, Erased, Next};
use crate::delivery::response::{Body, Completed, StageResult};
use crate::reject::{Refusal, Reject};

/// The stage: refuses a delivery if a stage below it panics.
pub async fn catch<S, Delivery>(next: Rc<Next<(), S>>, delivery: Delivery) -> StageResult
where
    S: Service<Delivery, Response = Completed, Error = Refusal> + Clone,
{
    let mut handling = pin!(next.run(delivery));
    poll_fn(|cx| poll_guarded(handling.as_mut(), cx, || Err(Refusal::unread(Reject::Bug)))).await
}

/// All stages, guarded as a whole: a request whose handling panics outside of [`catch`] is answered too.
pub struct CatchAll<D>(Erased<D, Response<Body>, Infallible>);

/// The future of [`CatchAll`].
pub struct Guarded {
    /// `None` after a panic before the first poll.
    handling: Option<Boxed<Response<Body>, Infallible>>,
}

impl<D> CatchAll<D> {
    /// `stages`, which must always be ready, guarded.
    pub fn new<S>(stages: S) -> Self
    where
        S: Service<D, Response = Response<Body>, Error = Infallible, Future: 'static> + Clone + 'static,
    {
        Self(Erased::new(stages))
    }

    /// The layer that guards the stages below it.
    pub fn layer<S>() -> impl Layer<S, Service = Self>
    where
        S: Service<D, Response = Response<Body>, Error = Infallible, Future: 'static> + Clone + 'static,
    {
        layer_fn(Self::new)
    }
}

impl<D> Clone for CatchAll<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D> Service<D> for CatchAll<D> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Guarded;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: D) -> Guarded {
        Guarded { handling: catch_unwind(AssertUnwindSafe(|| self.0.call(request))).ok() }
    }
}

impl Future for Guarded {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let bug = || Ok(problem_without_route(Reject::Bug));
        match &mut self.handling {
            Some(handling) => poll_guarded(handling.as_mut(), cx, bug),
            None => Poll::Ready(bug()),
        }
    }
}

/// Polls `handling`; if it panics, the result is what `otherwise` makes. The delivery's own values are dropped with it. The
/// values that it shares are counters and pools, which are consistent at every point where a panic is possible.
fn poll_guarded<T>(
    handling: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    cx: &mut Context<'_>,
    otherwise: impl Fn() -> T,
) -> Poll<T> {
    catch_unwind(AssertUnwindSafe(|| handling.poll(cx))).unwrap_or_else(|_| Poll::Ready(otherwise()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::service_fn;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{AccessLog, Networks};
    use crate::delivery::peer::Peer;
    use crate::delivery::request::{Inbound, Received, RequestBody};
    use crate::delivery::response::Handled;
    use crate::gateway::observe::{ObserveContext, observe};
    use crate::gateway::receive::{ReceiveContext, receive};
    use crate::gateway::respond::respond;
    use crate::http1::as_sent::SentHead;
    use crate::metrics::Metrics;
    use crate::record::recorder::Recorder;
    use crate::store::memory::{Bounds, Memory};
    use crate::store::{Filter, Keep, Limits, Millis, Shown, State, Store, Stored};

    /// A stage with a bug.
    async fn work(_: Received) -> StageResult {
        tokio::task::yield_now().await;
        panic!("a bug")
    }

    async fn handle(request: Received) -> Result<Handled, Infallible> {
        Ok(Handled { route: None, result: catch(Next::new((), service_fn(work)), request).await })
    }

    async fn answer(response: Response<Body>) -> String {
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_delivery_that_meets_a_bug_is_answered_with_its_id_and_counted_without_a_reason() {
        let metrics = Metrics::new(0.0).unwrap();
        let keep = Keep { delivered: Millis::MAX, dead: Millis::MAX, refused: Millis::MAX };
        let memory = Box::new(Memory::new(Bounds::default(), keep));
        let store = Store::start(memory, Limits::default(), Clock::system(), Box::new(|_| ())).unwrap();
        let context = ObserveContext {
            recorder: Recorder::new(store.clone(), Arc::default(), metrics.records.over_rate.clone()),
            clock: Clock::system(),
            in_flight: metrics.in_flight.clone(),
            unmatched: Rc::new(metrics.unmatched()),
            access_log: AccessLog::None,
            log_limit: Rc::default(),
            tracer: None,
        };
        let respond = |request| respond(Next::new((), service_fn(handle)), request);
        let observe = |received| observe(Next::new(context.clone(), service_fn(respond)), received);
        let receiving = ReceiveContext { clock: Clock::system(), trusted_proxies: Networks::default() };
        let peer = Rc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), false));
        let inbound = Inbound { body: RequestBody::Empty, peer, sent: SentHead::default() };
        let request = Request::post("/").header("x-request-id", "id-1").body(inbound).unwrap();
        let response = receive(Next::new(receiving, service_fn(observe)), request).await.unwrap();

        let answer = answer(response).await;
        assert!(answer.ends_with(r#""reason":"internal_error","request_id":"id-1"}"#), "{answer}");
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        let counted = r#"hooklatch_requests_total{outcome="rejected",route="none",scheme="none"} 1"#;
        assert!(text.lines().any(|line| line == counted), "{text}");
        let reasons = text.lines().filter(|line| line.starts_with("hooklatch_rejections_total"));
        assert!(reasons.clone().count() > 0 && reasons.clone().all(|line| line.ends_with(" 0")), "{text}");
        assert_eq!(metrics.in_flight.get(), 0);
        store.close();
        let recorded = store.list(Filter::default(), 10).await.unwrap().deliveries;
        let [Stored { delivery, shown: Shown::Settled(State::Refused), .. }] = &recorded[..] else {
            panic!("{recorded:?}")
        };
        assert_eq!(
            (delivery.reason.as_deref(), delivery.request_id().as_deref()),
            (Some("internal_error"), Some("id-1"))
        );
    }

    #[tokio::test]
    async fn a_panic_outside_of_the_stages_that_know_deliveries_is_answered_too() {
        async fn broken(_: ()) -> Result<Response<Body>, Infallible> {
            tokio::task::yield_now().await;
            panic!("a bug")
        }
        let response = CatchAll::new(service_fn(broken)).call(()).await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let answer = answer(response).await;
        assert!(answer.ends_with(&format!(r#""reason":"internal_error","request_id":"{id}"}}"#)), "{answer}");
    }
}
