//! What people do to deliveries and routes, asked for in the gateway's process.

use std::time::Duration;

use bytes::Bytes;
use hooklatch::acts::Refused;
use hooklatch::acts::bulk::{MAX_RUNNING, Progress, RunState};
use hooklatch::store::details::{Details, FieldLine, RequestRecord};
use hooklatch::store::{self, Filter, RequestId, Shown, State, StoredDetails};
use uuid::Uuid;

use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::sender::{Delivery, sha256};
use crate::support::upstream::Seen;

/// Replays of what waits, is dead, was delivered, refused or proxied.
mod replay;

/// Why a delivery is refused.
mod explain;

/// Discard, erase, pause, and replays in bulk.
mod others;

/// A route on which nothing is tried again by itself while a test runs.
const PATIENT: &str = "circuit: false, retry: { schedule: [1h] }";
/// A route that gives up at once.
const GIVES_UP: &str = "circuit: false, retry: { max_attempts: 1 }";

/// What comes of an act.
fn done<T>(act: impl Future<Output = T>) -> T {
    hooklatch::app::runtime().unwrap().block_on(act)
}

/// The id of the delivery that the upstream has seen.
fn id(seen: &Seen) -> Uuid {
    seen.one("hooklatch-delivery-id").parse().unwrap()
}

/// A delivery that failed once, and what the upstream saw of it.
fn failed_once(queued: &mut Queued, body: &str) -> Seen {
    queued.accepts(&Delivery::circleci(body));
    let seen = queued.fails("500 Internal Server Error");
    poll("the attempt is written", || {
        let counts = queued.metrics();
        let of = |state| counts.get("hooklatch_queue_deliveries", &[("route", "hook"), ("state", state)]);
        of("retrying") + of("dead") >= 1.0 && of("pending") == 0.0
    });
    seen
}

/// What is recorded of a delivery to the route `hook` in this state, with a body.
fn record(state: State, body: &str) -> store::Delivery {
    let received_at = i64::try_from(now().as_millis()).unwrap();
    store::Delivery {
        id: uuid::Builder::from_unix_timestamp_millis(received_at.unsigned_abs(), &[7; 10]).into_uuid(),
        received_at,
        route: "hook".into(),
        scheme: "circleci".into(),
        state,
        reason: None,
        status: None,
        event_type: None,
        event_id: None,
        request_id: RequestId::Named("id-1".into()),
        peer: "192.0.2.1".into(),
        method: "POST".into(),
        path: "/hook".into(),
        request_bytes: body.len() as u64,
        duration_ms: None,
        head: Bytes::new(),
        body: Some(Bytes::copy_from_slice(body.as_bytes())),
        details: StoredDetails::default(),
    }
}

fn now() -> Duration {
    hooklatch::clock::Clock::system().unix()
}

/// The recorded head of a request with these field lines.
fn request(lines: &[(&'static str, &str)]) -> Details {
    let lines = [("host", "gateway.example")].iter().chain(lines);
    let fields = lines.map(|(name, value)| FieldLine {
        name: Bytes::from_static(name.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        redacted: *value == "redacted",
    });
    let request = RequestRecord {
        method: "POST".to_owned(),
        target: "/hook?a=%20".to_owned(),
        version: "HTTP/1.1".to_owned(),
        fields: fields.collect(),
    };
    Details { request: Some(request), tls: true, ..Details::default() }
}

/// The refused delivery of this body and these details, in a gateway with these keys of the route.
fn refused(keys: &str, details: &Details, body: &str) -> (Queued, Uuid) {
    let mut queued = Queued::of("circleci", keys);
    queued.stop();
    let kept = store::Delivery { details: details.clone().into(), ..record(State::Refused, body) };
    let id = kept.id;
    queued.record(kept);
    queued.restart_of("circleci", keys);
    (queued, id)
}

/// CircleCI's signature of a body with a secret.
fn signature(secret: &str, body: &str) -> String {
    format!("v1={}", sha256(secret, body.as_bytes()))
}
