//! How long a page of a list takes over a database of 1,000,000 records: by what has an index, and by what has none.
//!
//! `cargo bench --bench lists` prints the median and the 95th percentile of the first page, and how many pages it takes to
//! find a delivery that only a look at each finds; `-- --records 100000` takes another number. Without `--bench`, as in
//! `cargo test --benches`, it takes a few records, to see that it works.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hooklatch::clock::Clock;
use hooklatch::search::Query;
use hooklatch::store::backend::{Backend, Reader, Write};
use hooklatch::store::sqlite::Sqlite;
use hooklatch::store::{Delivery, Keep, RequestId, State};
use uuid::{Builder, Uuid};

/// When the first record was received: 2026-01-01.
const START: u64 = 1_767_225_600_000;
/// Milliseconds between two records.
const EVERY: u64 = 250;
const BATCH: u64 = 10_000;
const ROUTES: u64 = 40;

/// What is asked. The rare ones are one of 100,000.
const QUERIES: [&str; 18] = [
    "",
    "route:route-1",
    "route:rare",
    "state:forwarded",
    "state:refused",
    "state:dead",
    "is:waiting",
    "-state:forwarded",
    "reason:stale_timestamp",
    "reason:rare_reason",
    "route:route-1 reason:stale_timestamp",
    "event_id:evt_77",
    "id:req_77",
    "status:5xx",
    "event:invoice.*",
    "peer:10.0.0.0/8",
    "evt_999",
    "body:needle",
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let bench = arguments.iter().any(|argument| argument == "--bench");
    let records = arguments.windows(2).find(|pair| pair[0] == "--records").map(|pair| pair[1].parse().unwrap());
    let records: u64 = records.unwrap_or(if bench { 1_000_000 } else { 1_000 });
    let rounds = if bench { 200 } else { 2 };

    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let year = 365 * 86_400_000;
    let keep = Keep { delivered: year, dead: year, refused: year };
    let mut store = Sqlite::open(folder.path(), keep, Clock::system()).unwrap();
    let begun = Instant::now();
    for first in (0..records).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<Write> = (first..records.min(first + BATCH)).map(write).collect();
        store.commit(&batch, i64::try_from(START).unwrap(), &mut |_| ()).unwrap();
        store.maintain(i64::try_from(START).unwrap()).unwrap();
    }
    println!("{records} records written in {:.1} s", begun.elapsed().as_secs_f64());
    println!("{:<40} {:>6} {:>10} {:>10} {:>6} {:>10}", "search", "found", "p50 ms", "p95 ms", "pages", "longest ms");
    let mut reader = store.reader().unwrap();
    for text in QUERIES {
        ask(&mut *reader, text, rounds, i64::try_from(START + records * EVERY).unwrap());
    }
}

/// Asks for the first page again and again, then page by page until 50 are found or there are no more.
fn ask(reader: &mut dyn Reader, text: &str, rounds: usize, now: i64) {
    let mut query = Query::new(now);
    query.text(text).unwrap();
    let mut filter = query.filter();
    let mut took = Vec::new();
    let limit = Duration::from_secs(5);
    let begun = Instant::now();
    while took.len() < rounds && begun.elapsed() < limit {
        let begun = Instant::now();
        reader.list(&filter, 50).unwrap();
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let (mut found, mut pages, mut longest) = (0, 0, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let page = reader.list(&filter, 50 - found).unwrap();
        longest = longest.max(begun.elapsed());
        found += page.deliveries.len();
        pages += 1;
        filter.before = page.next;
        if found == 50 || filter.before.is_none() {
            break;
        }
    }
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (p50, p95) = (took[took.len() / 2], took[took.len() * 95 / 100]);
    println!("{text:<40} {found:>6} {:>10.2} {:>10.2} {pages:>6} {:>10.2}", ms(p50), ms(p95), ms(longest));
}

fn write(number: u64) -> Write {
    // Spread over the rows, the same in each run.
    let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let rare = number % 100_000 == 77;
    let state = match dice % 100 {
        _ if rare => State::Dead,
        0 => State::Failed,
        1..=9 => State::Refused,
        10 => State::Duplicate,
        _ => State::Forwarded,
    };
    let reason = match state {
        State::Dead => Some("rare_reason"),
        State::Refused if dice.is_multiple_of(2) => Some("stale_timestamp"),
        State::Refused => Some("signature_mismatch"),
        State::Failed => Some("upstream_timeout"),
        _ => None,
    };
    let random: [u8; 10] = std::array::from_fn(|at| dice.to_le_bytes()[at % 4] ^ u8::try_from(at).unwrap());
    let id: Uuid = Builder::from_unix_timestamp_millis(START + number * EVERY, &random).into_uuid();
    let delivery = Delivery {
        id,
        received_at: i64::try_from(START + number * EVERY).unwrap(),
        route: if rare { "rare".into() } else { format!("route-{}", dice % ROUTES).into() },
        scheme: "stripe".into(),
        state,
        reason: reason.map(Into::into),
        status: Some(if rare { 500 } else { 200 }),
        event_type: Some(if rare { "invoice.paid" } else { "charge.succeeded" }.into()),
        event_id: Some(format!("evt_{number}").into()),
        request_id: RequestId::Named(format!("req_{number}").into()),
        peer: if rare { "10.1.2.3" } else { "192.0.2.1" }.into(),
        method: "POST".into(),
        path: "/webhooks/stripe".into(),
        request_bytes: 1_000,
        duration_ms: Some(12),
        head: Bytes::new(),
        body: (number % 10 == 7).then(|| Bytes::from(if rare { "a needle" } else { "hay" }.repeat(100))),
        details: Bytes::from_static(&[0; 60]).into(),
    };
    Write::Record(Arc::new(delivery.into()))
}
