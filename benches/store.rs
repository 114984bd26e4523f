//! How many deliveries a second the store takes, synced: 64 callers on two threads, 3 KB each, one worker of SQLite.
//!
//! `cargo bench --bench store` prints deliveries a second, the answer's median and 99th percentile, and the processor's
//! time; `-- --deliver` completes each delivery too, `-- --seconds 10` runs for as long. Without `--bench`, as in
//! `cargo test --benches`, it takes a few deliveries, to see that it works.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hooklatch::clock::Clock;
use hooklatch::store::sqlite::Sqlite;
use hooklatch::store::{
    Accepted, Attempt, AttemptOutcome, DedupeKey, Delivery, Keep, KeptBody, Limits, Next, RequestId, Settled, State,
    Store,
};
use uuid::Uuid;

const THREADS: u64 = 2;
const CALLERS: u64 = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let bench = arguments.iter().any(|argument| argument == "--bench");
    let deliver = arguments.iter().any(|argument| argument == "--deliver");
    let seconds = arguments.windows(2).find(|pair| pair[0] == "--seconds").map_or(5, |pair| pair[1].parse().unwrap());
    let time = if bench { Duration::from_secs(seconds) } else { Duration::from_millis(50) };

    let folder = tempfile::TempDir::new_in(std::env::var("STORE_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let day = 86_400_000;
    let keep = Keep { delivered: day, dead: day, refused: day };
    let backend = Sqlite::open(folder.path(), keep, Clock::system()).unwrap();
    let (batches, commits) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counted, timed) = (Arc::clone(&batches), Arc::clone(&commits));
    let note = Box::new(move |committed: hooklatch::store::Committed| {
        counted.fetch_add(1, Ordering::Relaxed);
        timed.lock().unwrap().push(committed.took);
    });
    let limits = Limits { min_free: 0, ..Limits::default() };
    let store = Store::start(Box::new(backend), limits, Clock::system(), note).unwrap();

    let (begun, cpu) = (Instant::now(), processor_time());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, callers(store, begun + time, deliver))
            })
        })
        .collect();
    let mut took: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let elapsed = begun.elapsed();
    store.close();
    let (closed, cpu) = (begun.elapsed(), processor_time() - cpu);
    took.sort_unstable();
    let mut commits = commits.lock().unwrap().clone();
    commits.sort_unstable();
    assert!(!took.is_empty());
    let at = |of: &[Duration], part: f64| of[((of.len() - 1) as f64 * part) as usize];
    println!(
        "deliveries       {} in {:.2} s, closed after {:.2} s",
        took.len(),
        elapsed.as_secs_f64(),
        closed.as_secs_f64()
    );
    println!("a second         {:.0}", took.len() as f64 / elapsed.as_secs_f64());
    println!("answer           p50 {:?}, p99 {:?}, max {:?}", at(&took, 0.5), at(&took, 0.99), at(&took, 1.0));
    println!("commit           p50 {:?}, p99 {:?}, max {:?}", at(&commits, 0.5), at(&commits, 0.99), at(&commits, 1.0));
    println!("deliveries/batch {:.1}", took.len() as f64 / batches.load(Ordering::Relaxed) as f64);
    println!("processor        {:.1} µs a delivery", cpu.as_secs_f64() * 1e6 / took.len() as f64);
    let size: u64 = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    println!("files            {} MiB", size >> 20);
}

async fn callers(store: Store, end: Instant, deliver: bool) -> Vec<Duration> {
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let store = store.clone();
            tokio::task::spawn_local(async move {
                let body = Bytes::from(vec![b'x'; 3 * 1024]);
                let mut took = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    let id = Uuid::now_v7();
                    let key = DedupeKey { key: *Uuid::new_v4().as_bytes(), until: i64::MAX };
                    let delivery = delivery(id, &body);
                    let since = delivery.received_at;
                    let accepted = store.accept(delivery, Some(key), 1, true).await.unwrap();
                    took.push(begun.elapsed());
                    if let (Accepted::Stored(ticket), true) = (accepted, deliver) {
                        store.complete(outcome(id, ticket, since)).unwrap();
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.unwrap());
    }
    took
}

fn delivery(id: Uuid, body: &Bytes) -> Delivery {
    let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
    Delivery {
        id,
        received_at: i64::try_from(seconds).unwrap() * 1_000 + i64::from(nanos / 1_000_000),
        route: "github".into(),
        scheme: "github".into(),
        state: State::Pending,
        reason: None,
        status: None,
        event_type: Some("push".into()),
        event_id: Some(Uuid::new_v4().to_string().into()),
        // As the gateway gives one if the sender names none.
        request_id: RequestId::Own,
        peer: "192.0.2.1".into(),
        method: "POST".into(),
        path: "/github".into(),
        request_bytes: 3 * 1024,
        duration_ms: None,
        head: Bytes::from_static(&[b'h'; 400]),
        body: Some(body.clone()),
        details: Bytes::from_static(b"{}").into(),
    }
}

/// What a route with `record: metadata` says: the head stays, the body goes.
fn outcome(id: Uuid, ticket: hooklatch::store::Ticket, since: i64) -> AttemptOutcome {
    AttemptOutcome {
        id,
        ticket,
        since,
        attempt: Attempt {
            destination: 0,
            number: 1,
            at: 0,
            result: "2xx".into(),
            status: Some(200),
            error: None,
            duration_ms: 1,
            replay: false,
            gateway: None,
            response_head: Bytes::from_static(&[b'h'; 120]),
            response_body: Bytes::new(),
        },
        next: Next::Settle(State::Delivered),
        reason: None,
        settled: Some(Settled { is_kept: true, head: None, body: KeptBody::Nothing, secret: false }),
    }
}

/// The processor's time of this process.
fn processor_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime).try_into().unwrap()
}
