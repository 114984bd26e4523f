//! `GET /api/v1/stream`: deliveries as they come and change, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! - `delivery` and `update` have a summary, or several as `{"deliveries":[…]}`; `delivery` has an id.
//! - `gap` says how many were left out, at least: `{"count":N}`.
//!
//! There are at most [`MAX_STREAMS`]. Each has at most ten events a second: what comes more often is sent together. Who reads too
//! slowly gets `gap`, and the stream ends. After `Last-Event-ID` come first the deliveries that are newer than that one; of those
//! that were being answered at that time, some may be missing.
//!
//! With `copies_of=ROUTE` whole requests of that route's deliveries can be fetched for a while: those of a queue after their
//! handler has taken them, whatever the route records, and those whose bodies are recorded in part. The copies outlive the
//! stream for [`LINGER`], so that one that breaks off and is opened again misses none.
//!
//! [`hub`] hears what has been committed, once for all streams; [`events`] is the text of events; [`pace`] collects them; what
//! they tell of is [`told`].

mod events;
mod hub;
mod pace;
#[cfg(test)]
mod tests;
mod told;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use uuid::Uuid;

use super::copies;
use super::deliveries::filter;
use super::query::{Id, Query};
use crate::admin::AdminContext;
use crate::admin::problem::Problem;
use crate::clock::MonotonicClock;
use crate::routing::copies::Listening;
use crate::routing::table::RouteShared;
use crate::store::{Filter, Needs, Store, StoreError, Stored, list};
use hub::{Hub, Seen};
use pace::Pace;
use told::Told;

/// Streams at once.
const MAX_STREAMS: usize = 32;
/// Events that wait for a slow reader, before it is given up.
const WAITING: usize = 8;
/// After this time without an event comes a comment, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Deliveries that are sent after `Last-Event-ID`; older ones are a gap.
const MAX_RESUMED: usize = 2_000;
/// Pages that are read for it: a search that finds little does not go through the whole store.
const MAX_PAGES: usize = 8;
/// Deliveries of a page that is read.
const PAGE: usize = 500;

/// For so long after a stream has ended copies of its route's deliveries are kept.
const LINGER: Duration = Duration::from_secs(30);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The streams.
#[derive(Debug)]
pub struct Streams {
    places: Arc<Semaphore>,
    hub: Hub,
}

impl Default for Streams {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_STREAMS)), hub: Hub::default() }
    }
}

/// `GET /api/v1/stream`
///
/// # Errors
/// 400 for a wrong query, 503 for too many streams or from the store.
pub async fn stream(
    State(context): State<Arc<AdminContext>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.only(&["q", "copies_of"], &[])?;
    let filter = filter(&context, &query)?;
    let copies = match query.get("copies_of") {
        None => None,
        Some(name) => {
            let running = (context.running)();
            let route = running.route(name).ok_or_else(|| Problem::bad_query("copies_of: no route has this name"))?;
            Some(Copies { route: route.clone(), listening: route.limits.copies().listen() })
        }
    };
    let place = context.streams.places.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        let detail = format!("{MAX_STREAMS} streams are open already");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail)
    })?;
    let store = context.queue.store.clone();
    // First of all, so that nothing is missed between the list and the stream.
    let seen = context.streams.hub.follow(&store);
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).and_then(|id| Id::parse(id).ok());
    let resumed = match last {
        Some(Id(last)) => {
            let mut resumed = resume(&store, &filter, last).await?;
            if let Some(copies) = &copies {
                copies.add_after(last, &store, &filter, &mut resumed).await?;
            }
            resumed
        }
        None => Resumed::default(),
    };
    let (out, lines) = mpsc::channel(WAITING);
    let streaming = Streaming { store, clock: context.clock, filter, seen, out, sent: HashSet::new(), _place: place };
    tokio::spawn(async move {
        streaming.run(resumed).await;
        if let Some(Copies { listening, .. }) = copies {
            tokio::time::sleep(LINGER).await;
            drop(listening);
        }
    });
    let mut response = super::reply(StatusCode::OK, "text/event-stream", Body::new(Lines(lines)));
    // A stream that ends ends its connection.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// What came since the last event that a client has seen.
#[derive(Debug, Default)]
struct Resumed {
    /// Oldest first.
    deliveries: Vec<Stored>,
    /// How many older ones are left out, at least.
    left_out: u64,
}

async fn resume(store: &Store, filter: &Filter, last: Uuid) -> Result<Resumed, StoreError> {
    let mut resumed = Resumed::default();
    let mut filter = Filter { before: None, ..filter.clone() };
    for pages_left in (0..MAX_PAGES).rev() {
        let page = store.list(filter.clone(), PAGE.min(MAX_RESUMED + 1 - resumed.deliveries.len())).await?;
        let is_last = page.deliveries.last().is_some_and(|stored| stored.delivery.id <= last);
        resumed.deliveries.extend(page.deliveries.into_iter().filter(|stored| stored.delivery.id > last));
        if resumed.deliveries.len() > MAX_RESUMED {
            resumed.deliveries.truncate(MAX_RESUMED);
            resumed.left_out = 1;
            break;
        }
        let Some(next) = page.next.filter(|next| !is_last && *next > last) else { break };
        resumed.left_out = u64::from(pages_left == 0);
        filter.before = Some(next);
    }
    resumed.deliveries.reverse();
    Ok(resumed)
}

/// One stream.
struct Streaming {
    store: Store,
    clock: MonotonicClock,
    filter: Filter,
    seen: broadcast::Receiver<Seen>,
    out: mpsc::Sender<Bytes>,
    /// What was sent after `Last-Event-ID` and may come again.
    sent: HashSet<Uuid>,
    _place: OwnedSemaphorePermit,
}

/// The copies of a route's deliveries, which are kept as long as this is there.
struct Copies {
    route: Arc<RouteShared>,
    listening: Listening,
}

impl Copies {
    /// Adds what came after this delivery and is in no list any more.
    async fn add_after(
        &self,
        last: Uuid,
        store: &Store,
        filter: &Filter,
        resumed: &mut Resumed,
    ) -> Result<(), StoreError> {
        let copies = self.route.limits.copies().after(last);
        let there = store.summaries(copies.iter().map(|copy| copy.id).collect()).await?;
        let there: HashSet<Uuid> = there.iter().map(|stored| stored.delivery.id).collect();
        let gone = copies.iter().filter(|copy| !there.contains(&copy.id));
        let found = gone.filter(|copy| list::matches(filter, &copies::whole(&self.route, copy)));
        resumed.deliveries.extend(found.map(|copy| copies::stored(&self.route, copy)));
        resumed.deliveries.sort_by_key(|stored| stored.delivery.id);
        Ok(())
    }
}

impl Streaming {
    async fn run(mut self, resumed: Resumed) {
        self.sent = resumed.deliveries.iter().map(|stored| stored.delivery.id).collect();
        let mut pace = Pace::new(self.clock.now());
        pace.leave_out(resumed.left_out);
        resumed.deliveries.into_iter().for_each(|stored| pace.add(Arc::new(Told::new(stored)), true));
        if !self.send(events::opening()) {
            return;
        }
        let mut quiet_since = self.clock.now();
        loop {
            tokio::select! {
                () = self.out.closed() => return,
                seen = self.seen.recv() => match seen {
                    Ok(seen) => self.take(&seen, &mut pace).await,
                    Err(broadcast::error::RecvError::Lagged(batches)) => pace.leave_out(batches),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = tokio::time::sleep_until(pace.next_flush().into()), if pace.has_something() => {
                    quiet_since = self.clock.now();
                    let flush = pace.flush(quiet_since);
                    let count = flush.count();
                    // Many summaries take long to write; other requests do not wait for them. A panic has been logged.
                    let events = tokio::task::spawn_blocking(move || flush.events()).await;
                    if !events.is_ok_and(|events| events.into_iter().all(|event| self.send(event))) {
                        self.give_up(count);
                        return;
                    }
                }
                () = tokio::time::sleep_until((quiet_since + KEEP_ALIVE).into()), if !pace.has_something() => {
                    quiet_since = self.clock.now();
                    if !self.send(events::comment()) {
                        self.give_up(0);
                        return;
                    }
                }
            }
        }
    }

    async fn take(&mut self, seen: &Seen, pace: &mut Pace) {
        pace.leave_out(seen.missed);
        for (told, is_new) in seen.deliveries.iter() {
            if *is_new && self.sent.remove(&told.stored.delivery.id) {
                continue;
            }
            match self.lets_through(&told.stored).await {
                Ok(true) => pace.add(told.clone(), *is_new),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "what was committed cannot be read for a stream");
                    pace.leave_out(1);
                }
            }
        }
    }

    /// Whether the filter lets a delivery through. What it has to know of head and body is read for it alone.
    async fn lets_through(&self, stored: &Stored) -> Result<bool, StoreError> {
        if self.filter.conditions.iter().all(|condition| condition.needs == Needs::Summary) {
            return Ok(list::matches_summary(&self.filter, stored));
        }
        let id = stored.delivery.id;
        // It may have made room meanwhile.
        let Some((mut whole, _)) = self.store.get(id).await? else { return Ok(false) };
        whole.delivery.body = self.store.body(id).await?;
        Ok(list::matches(&self.filter, &whole))
    }

    /// Hands on an event; the last place is left for a `gap`.
    fn send(&self, event: Bytes) -> bool {
        self.out.capacity() > 1 && self.out.try_send(event).is_ok()
    }

    /// Says how many a slow reader misses at least. Then the stream ends.
    fn give_up(&self, count: u64) {
        // Without a place the client finds the end of the stream all the same.
        let _full = self.out.try_send(events::gap(count));
    }
}

/// The body of a response: what comes out of the channel.
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
