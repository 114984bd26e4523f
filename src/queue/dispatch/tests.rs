//! What follows from a panic, and which deliveries begin when.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use bytes::Bytes;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::*;
use crate::config::{Sources, UrlPlace};
use crate::metrics::Metrics;
use crate::net::connect::Connector;
use crate::routing::limits::LimitStates;
use crate::routing::table::RouteShared;
use crate::store::memory::{Bounds, Memory};
use crate::store::{Keep, Limits, Millis, RequestId, StoredDetails};
use crate::upstream::pool::Pool;

const ROUTES: &str = "
store: { path: store }
routes:
- { name: hook, path: /hook, scheme: circleci, secrets: [{ env: SECRET }], upstream: 'http://127.0.0.1:9', delivery: queue }
";

struct Secret;

impl Sources for Secret {
    fn env(&self, _: &str) -> Option<OsString> {
        Some("a-secret-for-tests".into())
    }

    fn file(&self, _: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().start_paused(true).build_local(LocalOptions::default()).unwrap()
}

fn dispatcher() -> Rc<Dispatcher> {
    let clock = Clock::system();
    let mut config = crate::config::parse(ROUTES, Path::new(""), &Secret).unwrap();
    let shared =
        RouteShared::new(config.routes.remove(0), &Metrics::new(0.0).unwrap(), &LimitStates::default()).unwrap();
    let place = UrlPlace::Tcp { host: "127.0.0.1".to_owned(), port: 9 };
    let pool = Pool::new(Arc::new(Connector::new(place, Duration::from_secs(1), None).unwrap()));
    let keep = Keep { delivered: Millis::MAX, dead: Millis::MAX, refused: Millis::MAX };
    let memory = Memory::new(Bounds::default(), keep);
    let store = Store::start(Box::new(memory), Limits::default(), clock.clone(), Box::new(|_| ())).unwrap();
    let (alive, _) = mpsc::channel(1);
    let context = DispatchContext {
        queue: Arc::new(Queue::new(store, &clock)),
        clock,
        log_limit: Rc::default(),
        draining: Rc::default(),
        alive: alive.downgrade(),
    };
    Dispatcher::new(context, Rc::new(Route::new(Arc::new(shared), [pool])))
}

fn delivery(received_at: Millis) -> Delivery {
    Delivery {
        id: Uuid::from_u128(1),
        received_at,
        route: "hook".into(),
        scheme: "circleci".into(),
        state: State::Pending,
        reason: None,
        status: None,
        event_type: None,
        event_id: None,
        request_id: RequestId::Unknown,
        peer: "".into(),
        method: "POST".into(),
        path: "/hook".into(),
        request_bytes: 0,
        duration_ms: None,
        head: Bytes::new(),
        body: Some(Bytes::new()),
        details: StoredDetails::default(),
    }
}

#[test]
fn a_panic_in_an_attempt_fails_it_and_the_delivery_is_tried_again_later() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let queue = dispatcher.context.queue.clone();
        let started = dispatcher.context.clock.now();
        let now = queue.millis(started);
        let accepted = queue.store.accept(delivery(now), None, 1, true).await.unwrap();
        let Accepted::Stored(ticket) = accepted else { panic!("{accepted:?}") };
        let job = Job { ticket, id: Uuid::from_u128(1), received_at: now, waiting: Waiting::received(now) };
        let panics = dispatcher.clone();
        let attempt = tokio::task::spawn_local(async move {
            let _open = Open { dispatcher: panics, attempt: Some((job, None)), started };
            panic!("on purpose");
        });
        assert!(attempt.await.unwrap_err().is_panic());
        dispatcher.lane.wake.notified().await;
        let later = now + crate::store::millis(Duration::from_secs(3600));
        assert!(queue.store.claim("hook", 0, now, 1).await.unwrap().is_empty(), "it waits its backoff");
        let due = queue.store.claim("hook", 0, later, 1).await.unwrap();
        assert_eq!((due[0].ticket, due[0].waiting.attempts, due[0].waiting.counted), (ticket, 1, 1));
        let (_, attempts) = queue.store.get(job.id).await.unwrap().unwrap();
        assert_eq!((&*attempts[0].result, attempts[0].error.as_deref()), ("failed", Some("internal error")));
    });
}

#[test]
fn what_is_claimed_and_not_begun_is_given_back_and_a_cut_off_attempt_is_not_written() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let store = &dispatcher.context.queue.store;
        let started = dispatcher.context.clock.now();
        let now = dispatcher.context.queue.millis(started);
        store.accept(delivery(now), None, 1, false).await.unwrap();
        let claimed = store.claim("hook", 0, now, 1).await.unwrap();
        assert!(store.claim("hook", 0, now, 1).await.unwrap().is_empty());
        drop(Unbegun { store, current: None, claimed: claimed.into_iter() });
        let claimed = store.claim("hook", 0, now, 1).await.unwrap().remove(0);
        let Claimed { ticket, id, received_at, waiting, .. } = claimed;
        let job = Job { ticket, id, received_at, waiting };
        drop(Open { dispatcher: dispatcher.clone(), attempt: Some((job, None)), started });
        let (stored, attempts) = store.get(id).await.unwrap().unwrap();
        assert_eq!((stored.attempts, attempts.len()), (0, 0));
    });
}

#[test]
fn a_delivery_that_cannot_be_read_is_dead_and_not_claimed_any_more() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let queue = dispatcher.context.queue.clone();
        let now = queue.millis(dispatcher.context.clock.now());
        let head = Bytes::from_static(b"\xff\xff\xff");
        queue.store.accept(Delivery { head, ..delivery(now) }, None, 1, false).await.unwrap();
        dispatcher.attempt_due().await.unwrap();
        tokio::task::yield_now().await;
        // A change is answered after what was handed in before it.
        queue.store.change(crate::store::Change::Pause { route: "x".into(), paused: true }).await.unwrap();
        let (stored, attempts) = queue.store.get(Uuid::from_u128(1)).await.unwrap().unwrap();
        assert_eq!(stored.shown, crate::store::Shown::Settled(State::Dead));
        assert_eq!((stored.delivery.reason.as_deref(), attempts.len()), (Some("unreadable"), 1));
        assert!(!queue.store.is_claimed(Uuid::from_u128(1)).await.unwrap());
        assert_eq!(dispatcher.lane.free(1), 1);
    });
}

#[test]
fn a_receipt_that_was_noted_by_a_slow_clock_makes_nothing_dead_early() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let now = dispatcher.context.queue.millis(dispatcher.context.clock.now());
        let accepted = dispatcher.context.queue.store.accept(delivery(now), None, 1, true).await.unwrap();
        let Accepted::Stored(ticket) = accepted else { panic!("{accepted:?}") };
        let days = |count: i64| count * 86_400_000;
        let next = |received: Millis, noted: Millis| {
            let id = uuid::Builder::from_unix_timestamp_millis(received.unsigned_abs(), &[7; 10]).into_uuid();
            let job =
                Job { ticket, id, received_at: noted, waiting: Waiting { counted: 9, ..Waiting::received(noted) } };
            job.outcome(Ended::panicked(), &RetryPolicy::default(), (now, now, Duration::ZERO), 0.5, None).next
        };
        assert!(matches!(next(now - days(1), now - days(4)), Next::Retry(_)));
        assert_eq!(next(now - days(4), now - days(4)), Next::Settle(State::Dead));
    });
}

#[test]
fn on_a_paused_route_nothing_starts() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let now = dispatcher.context.clock.now();
        assert!(dispatcher.start(now).is_ok());
        let store = &dispatcher.context.queue.store;
        store.change(crate::store::Change::Pause { route: "hook".into(), paused: true }).await.unwrap();
        assert!(dispatcher.start(now).is_err());
    });
}

/// Starts as many attempts as may be under way at once.
fn fill(dispatcher: &Dispatcher) -> Vec<Start> {
    let now = dispatcher.context.clock.now();
    std::iter::from_fn(|| dispatcher.start(now).ok()).collect()
}

#[test]
fn those_in_line_begin_in_their_order_each_when_an_attempt_ends() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let mut under_way = fill(&dispatcher);
        let begun = Rc::new(RefCell::new(Vec::new()));
        let wait = |number: usize| {
            let (dispatcher, begun) = (dispatcher.clone(), begun.clone());
            tokio::task::spawn_local(async move {
                let start = dispatcher.turn(1).await;
                begun.borrow_mut().push(number);
                start
            })
        };
        let first = wait(1);
        let second = wait(2);
        tokio::task::yield_now().await;
        assert!(begun.borrow().is_empty() && dispatcher.lane.has_line());
        under_way.pop();
        let first = first.await.unwrap().unwrap();
        tokio::task::yield_now().await;
        assert_eq!(*begun.borrow(), [1]);
        // Those that come now do not go past the second.
        under_way.pop();
        let later = [3, 4, 5].map(wait);
        let mut last = second.await.unwrap();
        assert!(last.is_some());
        drop(first);
        for next in later {
            // The place of the one before is free again.
            last = next.await.unwrap().or_else(|| panic!("a place: {:?}", begun.borrow()));
        }
        assert!(last.is_some());
        assert_eq!(*begun.borrow(), [1, 2, 3, 4, 5]);
        assert!(!dispatcher.lane.has_line());
    });
}

#[test]
fn nothing_stays_in_line_for_long_nor_when_the_dispatcher_is_replaced_and_the_line_has_an_end() {
    runtime().block_on(async {
        let dispatcher = dispatcher();
        let mut under_way = fill(&dispatcher);
        let within = |millis, bytes| {
            let dispatcher = dispatcher.clone();
            tokio::time::timeout(Duration::from_millis(millis), async move { dispatcher.turn(bytes).await.is_some() })
        };
        assert!(within(99, 1).await.is_err(), "it stands in line");
        assert_eq!(within(101, 1).await, Ok(false));
        assert_eq!(within(0, 9 << 20).await, Ok(false), "too large for the line");

        // All leave as soon as the first finds out.
        let waiting = [(); 3].map(|()| {
            let dispatcher = dispatcher.clone();
            tokio::task::spawn_local(async move { dispatcher.turn(1).await.is_some() })
        });
        tokio::task::yield_now().await;
        dispatcher.replace();
        under_way.pop();
        let all = async {
            for waits in waiting {
                assert!(!waits.await.unwrap());
            }
        };
        tokio::time::timeout(Duration::from_millis(1), all).await.expect("at once");
        assert!(!dispatcher.lane.has_line());
    });
}

#[test]
fn what_leads_a_route_goes_on_after_a_panic_and_ends_when_it_is_done() {
    runtime().block_on(async {
        let runs = Rc::new(Cell::new(0));
        let counted = runs.clone();
        go_on_after_panics("hook", || {
            let runs = counted.clone();
            async move {
                runs.set(runs.get() + 1);
                assert!(runs.get() == 3, "on purpose");
            }
        })
        .await;
        assert_eq!(runs.get(), 3);
    });
}
