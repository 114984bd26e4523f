use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use super::*;
use crate::clock::Clock;
use crate::lock::lock;
use crate::store::memory::{Bounds, Memory};
use crate::store::{Condition, Delivery, Keep, Limits, Parts, Record, RequestId, State as Stage, StoredDetails};

/// A store in memory with this many records.
async fn filled(count: u64) -> Store {
    let keep = Keep { delivered: i64::MAX, dead: i64::MAX, refused: i64::MAX };
    let bounds = Bounds { deliveries: 10_000, ..Bounds::default() };
    let clock = Clock::system();
    let backend = Box::new(Memory::new(bounds, keep));
    let store = Store::start(backend, Limits::default(), clock.clone(), Box::new(|_| ())).unwrap();
    for number in 1..=count {
        while !store.record(Record::from(delivery(number)), clock.now()) {
            tokio::task::yield_now().await;
        }
    }
    while store.get(Uuid::from_u128(count.into())).await.unwrap().is_none() {}
    store
}

fn delivery(number: u64) -> Delivery {
    Delivery {
        id: Uuid::from_u128(number.into()),
        received_at: 0,
        route: "hook".into(),
        scheme: "github".into(),
        state: Stage::Forwarded,
        reason: None,
        status: None,
        event_type: None,
        event_id: None,
        request_id: RequestId::Unknown,
        peer: Default::default(),
        method: Default::default(),
        path: Default::default(),
        request_bytes: 2,
        duration_ms: None,
        head: Bytes::new(),
        body: Some(Bytes::from_static(b"{}")),
        details: StoredDetails::default(),
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn a_client_that_was_away_for_long_gets_the_newest_and_a_gap() {
    run(async {
        let store = filled(2_600).await;
        let resumed = resume(&store, &Filter::default(), Uuid::nil()).await.unwrap();
        let ids: Vec<u128> = resumed.deliveries.iter().map(|stored| stored.delivery.id.as_u128()).collect();
        assert_eq!(ids, (601..=2_600).collect::<Vec<_>>());
        assert!(resumed.left_out > 0);
        let resumed = resume(&store, &Filter::default(), Uuid::from_u128(2_598)).await.unwrap();
        assert_eq!((resumed.deliveries.len(), resumed.left_out), (2, 0));
        let all = resume(&store, &Filter::default(), Uuid::from_u128(600)).await.unwrap();
        assert_eq!((all.deliveries.len(), all.left_out), (2_000, 0));
    });
}

#[test]
fn what_cannot_be_read_for_a_search_is_a_gap() {
    run(async {
        let store = filled(1).await;
        let page = store.list(Filter::default(), 1).await.unwrap();
        let condition = Condition { needs: Needs::Details, holds: Arc::new(|parts| parts.kept == 2) };
        let filter = Filter { conditions: vec![condition], ..Filter::default() };
        let clock = Clock::fixed(UNIX_EPOCH).monotonic();
        let (_hub, seen) = broadcast::channel(1);
        let (out, _lines) = mpsc::channel(WAITING);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut streaming =
            Streaming { store: store.clone(), clock, filter, seen, out, sent: HashSet::new(), _place: place };
        let batch = Seen {
            deliveries: page.deliveries.into_iter().map(|stored| (Arc::new(Told::new(stored)), false)).collect(),
            missed: 0,
        };
        let mut pace = Pace::new(streaming.clock.now());
        streaming.take(&batch, &mut pace).await;
        let events = |pace: &mut Pace| {
            let now = pace.next_flush();
            pace.flush(now).events().iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect::<Vec<_>>()
        };
        assert!(events(&mut pace)[0].starts_with("event: update\n"), "a condition sees how much of a body is kept");
        // So many questions wait that the store refuses another one.
        let (open, opened) = std::sync::mpsc::channel::<()>();
        let opened = Mutex::new(opened);
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        // Says that it has begun, and waits until `open` is dropped.
        let holds = Arc::new(move |_: &Parts<'_>| {
            // Only the first one is waited for.
            let _ended = begin.send(());
            lock(&opened).recv().is_err()
        });
        let slow = Filter { conditions: vec![Condition { needs: Needs::Summary, holds }], ..Filter::default() };
        let ask = || {
            let (store, slow) = (store.clone(), slow.clone());
            tokio::spawn(async move { store.list(slow, 1).await.map(|_| ()) })
        };
        let first = ask();
        tokio::task::yield_now().await;
        // From now on the reader takes none of those that wait.
        begun.recv().unwrap();
        let asked: Vec<_> = std::iter::once(first).chain((0..300).map(|_| ask())).collect();
        for _ in 0..asked.len() {
            tokio::task::yield_now().await;
        }
        streaming.take(&batch, &mut pace).await;
        assert_eq!(events(&mut pace), ["event: gap\ndata: {\"count\":1}\n\n"]);
        drop(open);
        for question in asked {
            question.await.unwrap().ok();
        }
    });
}
