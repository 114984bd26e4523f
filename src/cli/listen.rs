//! `hooklatch listen ROUTE --to URL`: sends a copy of each delivery that a running gateway lets in on a route to a handler on
//! this machine, until Ctrl-C or SIGTERM.
//!
//! The request is the one that the upstream gets, but for `Host` and for what the gateway adds to each attempt. Copies are
//! fetched as soon as the gateway tells of a delivery: of a queued one the gateway keeps little once its handler has taken it,
//! unless a client listens, and even then not for long. They are sent one after the other.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap_complete::ArgValueCandidates;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, spawn_local};

use super::deliveries::Pages;
use super::support::api::{Api, GatewayArgs, encoded, read, with_query};
use super::support::events::{left_out, several};
use super::support::follow::{Heard, WAITS, follow};
use super::support::http::{Transport, beginning, send};
use super::support::line::Line;
use super::support::stop::asked_to_stop;
use super::{Failure, completions};
use crate::acts::recorded::{BODY_CUT, BODY_REDACTED};
use crate::app;
use crate::clock::Clock;
use crate::config;
use crate::http1::client::request::{Head, OutgoingRequest};
use crate::http1::payload::Payload;
use crate::text::plain;
use crate::upstream::target::target;

/// How long the handler may take: long enough for a breakpoint.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long fetching a copy may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Deliveries that wait to be fetched. More are left out, and counted.
const WAITING: usize = 10_000;
/// Copies that are fetched before the handler gets to them.
const FETCHED: usize = 64;
/// Deliveries that are remembered, so that none is sent twice after a lost connection.
const REMEMBERED: usize = 10_000;
/// The states of what was let in.
const LET_IN: [&str; 7] = ["pending", "delivered", "dead", "held", "discarded", "forwarded", "failed"];
/// The most field lines of a delivery that are read.
const MAX_FIELDS: usize = 512;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the route
    #[arg(add = ArgValueCandidates::new(completions::routes))]
    route: String,
    /// The URL of a handler on this machine; the query of each delivery is appended
    #[arg(long, value_name = "URL")]
    to: Uri,
    /// First send what came within this time, such as 10m, or since a time as RFC 3339 writes it
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// What the API says of a route.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Route {
    name: String,
    path: String,
    delivery: String,
    record: String,
}

/// A delivery that the gateway tells of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    id: String,
    event_type: Option<String>,
    request_bytes: u64,
}

/// A request as it is going to be sent, or why it cannot be.
type Copy = Result<OutgoingRequest, String>;

/// Why a copy was not fetched.
enum NotFetched {
    /// The gateway, or the way to it, failed: another try may do.
    Failed(String),
    /// There is no such copy, or it is not allowed.
    Final(String),
}

/// Where copies come from and go to.
struct Listen {
    api: Api,
    route: Route,
    to: Uri,
    /// Deliveries that the stream told of and the handler did not get.
    lost: Cell<u64>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.to.authority().is_none() || !matches!(args.to.scheme_str(), Some("http" | "https")) {
        let example = "such as http://localhost:3000/webhooks";
        return Err(Failure::Usage(format!("--to needs a complete URL, {example}, not {}", args.to)));
    }
    let api = Api::new(&args.gateway)?;
    let route = find(&api, &args.route)?;
    let query = format!("route:{} {}", route.name, LET_IN.map(|state| format!("state:{state}")).join(" "));
    let (last_id, before) = before(&api, &route, &query, args.since.as_deref())?;
    let path = with_query("/api/v1/stream", [("q", Some(query.as_str())), ("copies_of", Some(route.name.as_str()))]);
    let listen = Rc::new(Listen { api, route, to: args.to.clone(), lost: Cell::new(0) });
    let ended = app::runtime()?.block_on(async {
        tokio::select! {
            result = listen.copy(&path, last_id, before) => result,
            signal = asked_to_stop() => Ok(signal?),
        }
    });
    let lost = listen.lost.get();
    if lost > 0 {
        errln!("hooklatch: deliveries that were not sent: {lost}");
    }
    ended
}

/// The route of this name, if it keeps bodies.
fn find(api: &Api, name: &str) -> Result<Route, Failure> {
    let mut answer = api.get("/api/v1/routes")?;
    let routes = answer.get_mut("routes").map(Value::take).unwrap_or_default();
    let routes: Vec<Route> = serde_json::from_value(routes)
        .map_err(|error| Failure::Failed(format!("the answer of {} is not the API's: {error}", api.base())))?;
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    let unknown = || {
        let hint = config::suggestion(name, &names);
        let names = plain(&names.join(", "));
        Failure::Failed(format!("no route is named \"{}\"; the routes are: {names}{hint}", plain(name)))
    };
    let at = names.iter().position(|known| *known == name).ok_or_else(unknown)?;
    let route = routes.into_iter().nth(at).unwrap_or_default();
    if route.delivery != "queue" && route.record != "full" {
        return Err(Failure::Failed(format!(
            "the route \"{name}\" keeps no bodies (record: {}): set `record: full` in the gateway's configuration",
            plain(&route.record)
        )));
    }
    Ok(route)
}

/// The newest delivery that came before, after which the stream begins, and those that are to be sent first, oldest first.
/// Of a route that records nothing the newest one is not known: its stream begins when it is opened.
fn before(api: &Api, route: &Route, query: &str, since: Option<&str>) -> Result<(Option<String>, Vec<Told>), Failure> {
    let newest = Pages::new(Some(query), &[]).next(api, 1)?.unwrap_or_default();
    // Every id is greater than the nil UUID.
    let last_id = newest.first().map_or_else(|| uuid::Uuid::nil().to_string(), |newest| told(newest).id);
    let mut before = Vec::new();
    if let Some(since) = since {
        let query = format!("{query} since:{}", quoted(since));
        let mut pages = Pages::new(Some(&query), &[]);
        while let Some(page) = pages.next(api, usize::MAX)? {
            before.extend(page.iter().map(told).filter(|told| told.id <= last_id));
        }
        before.reverse();
    }
    Ok((Some(last_id).filter(|_| route.record != "none"), before))
}

/// A value in the search language.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn told(summary: &Value) -> Told {
    Told::deserialize(summary).unwrap_or_default()
}

/// The ids of the last deliveries.
#[derive(Default)]
struct Remembered {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Remembered {
    /// Whether this one is new. It is remembered.
    fn is_new(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

impl Listen {
    /// Sends what came before, then what the stream tells of. Ends only with a failure.
    async fn copy(self: &Rc<Self>, path: &str, last_id: Option<String>, before: Vec<Told>) -> Result<(), Failure> {
        let (tell, told) = channel(WAITING);
        let (fetch, fetched) = channel(FETCHED);
        let mut seen = Remembered::default();
        let mut is_first = true;
        let act = |heard| {
            match heard {
                Heard::Connected if is_first => {
                    is_first = false;
                    errln!(
                        "hooklatch: listening to {} at {}, sending to {}; Ctrl-C ends",
                        self.route.name,
                        self.api.base(),
                        self.to
                    );
                }
                // The gateway keeps copies for half a minute, unless it has been started anew.
                Heard::Connected if self.route.record == "none" => {
                    errln!(
                        "hooklatch: connected again; the route has record: none, so what its handler has taken in the \
                         meantime may be missing"
                    );
                }
                Heard::Connected => {
                    errln!("hooklatch: connected again");
                }
                Heard::Event(event) => {
                    let data = serde_json::from_str::<Value>(&event.data).unwrap_or_default();
                    match event.kind.as_str() {
                        "delivery" => self.take(&tell, &mut seen, &data),
                        "gap" => {
                            errln!("hooklatch: {}deliveries are not sent: --since sends them", left_out(&data));
                        }
                        _ => {}
                    }
                }
            }
            Ok(())
        };
        tokio::select! {
            failure = follow(&self.api, path, last_id, act) => Err(failure),
            () = self.fetch_all(before, told, fetch) => Ok(()),
            sent = self.send_all(fetched) => sent,
        }
    }

    /// Begins to fetch each delivery at once, as long as there is room.
    async fn fetch_all(
        self: &Rc<Self>,
        before: Vec<Told>,
        mut told: Receiver<Told>,
        fetch: Sender<(Told, JoinHandle<Copy>)>,
    ) {
        let mut before = VecDeque::from(before);
        loop {
            let next = match before.pop_front() {
                Some(next) => Some(next),
                None => told.recv().await,
            };
            let (Some(next), Ok(place)) = (next, fetch.reserve().await) else { return };
            let (listen, id) = (self.clone(), next.id.clone());
            place.send((next, spawn_local(async move { listen.fetch(&id).await })));
        }
    }

    /// The copy of a delivery. A try that fails is repeated a few times.
    async fn fetch(&self, id: &str) -> Copy {
        let mut waits = WAITS.into_iter();
        loop {
            let why = match self.fetch_once(id).await {
                Ok(request) => return Ok(request),
                Err(NotFetched::Final(why)) => return Err(why),
                Err(NotFetched::Failed(why)) => why,
            };
            let Some(wait) = waits.next() else { return Err(format!("not fetched: {why}")) };
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }

    async fn fetch_once(&self, id: &str) -> Result<OutgoingRequest, NotFetched> {
        let path = format!("/api/v1/deliveries/{}/http?upstream=true&signatures=true", encoded(id));
        let exchange = async {
            let response = self.api.open(Method::GET, &path, None, &[]).await?;
            let (status, headers) = (response.status(), response.headers());
            let said = [
                (BODY_CUT, "its body is recorded in part (record_body)"),
                (BODY_REDACTED, "its body has the secret in it, which is not recorded"),
            ];
            let why = said.into_iter().find(|(name, _)| headers.contains_key(name)).map(|(_, why)| why);
            io::Result::Ok((status, why, read(response.into_body()).await?))
        };
        let timed = tokio::time::timeout(FETCH_TIMEOUT, exchange).await;
        let (status, why_not, message) = match timed {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(NotFetched::Failed(error.to_string())),
            Err(_) => return Err(NotFetched::Failed("no answer in time".to_owned())),
        };
        let not = |why: &str| NotFetched::Final(format!("not sent: {why}"));
        match status {
            StatusCode::OK => match why_not {
                Some(why) => Err(not(why)),
                None => self.request(&message).ok_or_else(|| not("it cannot be read")),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(not("its body is not kept any more (`record: full` keeps it)"))
            }
            status if status.is_server_error() => {
                Err(NotFetched::Failed(self.api.refusal(status, &message).to_string()))
            }
            status => Err(NotFetched::Final(format!("not fetched: {}", self.api.refusal(status, &message)))),
        }
    }

    /// The request for the handler, of a message that the gateway sent.
    fn request(&self, message: &[u8]) -> Option<OutgoingRequest> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(end) = request.parse(message).ok()? else { return None };
        let body = Bytes::copy_from_slice(message.get(end..)?);
        let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
        let uri: Uri = request.path?.parse().ok()?;
        let mut head = Head::for_body(body.len() as u64);
        for field in request.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            if name != HOST && name != CONTENT_LENGTH {
                head.line(field.name, &HeaderValue::from_bytes(field.value).ok()?);
            }
        }
        head.content_length(body.len() as u64);
        let host = HeaderValue::from_str(self.to.authority()?.as_str()).ok()?;
        // What follows the prefix of a prefix route goes along, as it does to an upstream.
        let prefix = self.route.path.strip_suffix('*');
        let rest = prefix.and_then(|prefix| uri.path().strip_prefix(prefix));
        head.begin(method, &target(self.to.path(), rest, self.to.query(), uri.query()), Some(&host));
        Some(head.with(Payload::from(body)))
    }

    /// Sends each copy as it has been fetched, and prints its line.
    async fn send_all(&self, mut fetched: Receiver<(Told, JoinHandle<Copy>)>) -> Result<(), Failure> {
        let clock = Clock::system();
        while let Some((told, copy)) = fetched.recv().await {
            let copy = copy.await.unwrap_or_else(|_| Err("not fetched: a bug".to_owned()));
            let begun = clock.now();
            let at = clock.unix();
            let result = match copy {
                Err(why) => {
                    self.lose_one();
                    why
                }
                Ok(request) => {
                    let answer = self.send(request).await;
                    let took = clock.now().saturating_duration_since(begun).as_millis();
                    match answer {
                        Ok(status) => format!("{} in {took} ms", status.as_u16()),
                        Err(error) => {
                            self.lose_one();
                            format!("no answer after {took} ms: {error}")
                        }
                    }
                }
            };
            let Told { event_type, request_bytes, .. } = &told;
            let event = event_type.as_deref();
            let line = Line { at, route: &self.route.name, event, bytes: Some(*request_bytes), result: &result };
            outln!("{}", line.text());
        }
        Ok(())
    }

    /// Puts the new deliveries of an event into the queue.
    fn take(&self, tell: &Sender<Told>, seen: &mut Remembered, data: &Value) {
        let new = several(data).iter().map(told).filter(|told| !told.id.is_empty());
        for next in new.collect::<Vec<_>>() {
            if seen.is_new(&next.id) && tell.try_send(next).is_err() {
                errln!("hooklatch: too many deliveries wait for the handler: one is not sent");
                self.lose_one();
            }
        }
    }

    fn lose_one(&self) {
        self.lost.set(self.lost.get() + 1);
    }

    /// Sends a request to the handler: the status of its answer, which is read to its end, so that the handler can write it.
    async fn send(&self, request: OutgoingRequest) -> io::Result<StatusCode> {
        let exchange = async {
            let response = send(&self.to, Transport::default(), request, HANDLER_TIMEOUT).await?;
            let status = response.status();
            beginning(response.into_body()).await.map(|_| status)
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handler takes too long");
        tokio::time::timeout(HANDLER_TIMEOUT, exchange).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_new_once_and_old_ones_are_forgotten() {
        let mut seen = Remembered::default();
        assert!(seen.is_new("a") && !seen.is_new("a"));
        for number in 0..REMEMBERED {
            assert!(seen.is_new(&number.to_string()));
        }
        assert!(seen.is_new("a"), "it was forgotten");
        assert_eq!((seen.ids.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn what_people_type_is_one_value_of_the_search() {
        assert_eq!(quoted(r#"10m" -state:\"#), r#""10m\" -state:\\""#);
    }
}
