//! When a connection is idle, what it bounds, and what is read of a body that nobody needs.

use std::task::ready;

use http_body_util::{BodyExt as _, Empty};

use super::*;
use crate::server::untaken::UntakenBytes;

const LIMITS: Http2Limits =
    Http2Limits { header_bytes: 1, header_timeout: Duration::from_secs(10), idle_timeout: Duration::from_secs(80) };

fn new_activity() -> Rc<Activity> {
    let all = UntakenBytes::default();
    all.limit_to(u64::MAX);
    Rc::new(Activity::new(Untaken::new(all)))
}

/// The seconds until a connection is idle, while `use_it` runs on it.
#[expect(clippy::disallowed_methods, reason = "the runtime's own clock, which is paused")]
async fn idle_after(activity: &Rc<Activity>, use_it: impl Future<Output = ()>) -> u64 {
    let started = tokio::time::Instant::now();
    tokio::join!(activity.idle(LIMITS), use_it);
    started.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_first_request_has_the_time_of_a_head() {
    assert_eq!(idle_after(&new_activity(), async {}).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_when_its_last_response_has_ended_for_a_while() {
    let activity = new_activity();
    let use_it = async {
        let exchange = Exchange::new(activity.clone());
        tokio::time::sleep(Duration::from_secs(300)).await;
        drop(exchange);
    };
    let idle = idle_after(&activity, use_it).await;
    assert!((380..=390).contains(&idle), "{idle}");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_does_not_take_its_response_is_idle_and_one_whose_upstream_is_slow_is_not() {
    let activity = new_activity();
    let reply =
        ObservedBody::new(Empty::<Bytes>::new().map_err(|never| match never {}), Exchange::new(activity.clone()));
    let idle = idle_after(&activity, async {}).await;
    assert!((90..=100).contains(&idle), "{idle}");
    drop(reply);

    let activity = new_activity();
    let mut reply = ObservedBody::new(Never, Exchange::new(activity.clone()));
    let pending = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll_frame(cx).is_pending())).await;
    assert!(pending);
    let slow = async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        drop(reply);
    };
    let idle = idle_after(&activity, slow).await;
    assert!((380..=390).contains(&idle), "{idle}");
}

/// A body that stays pending.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_said_goodbye_ends_when_nothing_is_open() {
    let activity = new_activity();
    let exchange = Exchange::new(activity.clone());
    let closes = || tokio::time::timeout(Duration::from_secs(60), activity.empty_for(CLOSE));
    assert!(closes().await.is_err());
    drop(exchange);
    assert!(closes().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_last_of_too_many_requests_given_up_is_noticed() {
    let activity = new_activity();
    for _ in 0..MAX_GIVEN_UP {
        drop(Exchange::new(activity.clone()));
    }
    let mut answered = Exchange::new(activity.clone());
    answered.answered = true;
    drop(answered);
    let flooded = || tokio::time::timeout(Duration::from_secs(1), activity.flooded.notified());
    assert!(flooded().await.is_err());
    drop(Exchange::new(activity.clone()));
    assert!(flooded().await.is_ok());
    assert_eq!(activity.open.get(), 0);
}

/// The time for which the rest of a body is read whose parts come one by one, a second apart.
#[expect(clippy::disallowed_methods, reason = "the runtime's own clock, which is paused")]
async fn discarded_for(parts: usize, part: Vec<u8>) -> Duration {
    let started = tokio::time::Instant::now();
    let part = Bytes::from(part);
    let mut left = parts;
    let mut pause = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
    discard(|cx| {
        ready!(pause.as_mut().poll(cx));
        pause = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
        left = left.saturating_sub(1);
        Poll::Ready((left > 0).then(|| Ok::<_, Infallible>(Frame::data(part.clone()))))
    })
    .await;
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_is_read_until_its_end_for_ten_seconds_and_sixteen_mebibytes() {
    assert_eq!(discarded_for(9, vec![0]).await, Duration::from_secs(9));
    assert_eq!(discarded_for(100, vec![0]).await, Duration::from_secs(10));
    assert_eq!(discarded_for(9, vec![0; 8 << 20]).await, Duration::from_secs(3));
}

/// A body of these parts.
struct InParts(Vec<Bytes>);

impl HttpBody for InParts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready((!self.0.is_empty()).then(|| Ok(Frame::data(self.0.remove(0)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_a_response_waits_until_its_part_is_taken_and_is_whole() {
    // A bound of 0 is always reached.
    let activity = Rc::new(Activity::new(Untaken::new(UntakenBytes::default())));
    let parts = [b"one", b"two"].map(|part| Bytes::from_static(part));
    let mut reply = ObservedBody::new(InParts(parts.to_vec()), Exchange::new(activity.clone()));
    let first = reply.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one");
    let mut next = pin!(reply.frame());
    assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
    let taken = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first);
    };
    let (second, ()) = tokio::join!(next, taken);
    assert_eq!(second.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(reply.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the runtime's own clock, which is paused")]
async fn a_response_that_waits_for_room_is_not_given_up_and_one_whose_part_waits_ends_the_connection() {
    let activity = Rc::new(Activity::new(Untaken::new(UntakenBytes::default())));
    let parts = [b"one", b"two"].map(|part| Bytes::from_static(part));
    let mut reply = ObservedBody::new(InParts(parts.to_vec()), Exchange::new(activity.clone()));
    let first = reply.frame().await.unwrap().unwrap();
    let started = tokio::time::Instant::now();
    {
        let mut next = pin!(reply.frame());
        assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
        // Two intervals and the rest of one, as long as the bound is reached.
        activity.stalled(Duration::from_secs(10)).await;
    }
    assert_eq!(started.elapsed().as_secs(), 30);
    assert!(reply.taken.body.borrow().is_some(), "it is the part that has waited for too long");
    drop(first);
    assert!(reply.frame().await.is_some());
}
