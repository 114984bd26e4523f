//! Sends a message to an upstream and waits for the head of the response. Every message to an upstream goes through here.
//!
//! A response with status 101 is a failure, because the gateway never asks for another protocol (RFC 9110 section 7.8).

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::InvalidHeaderValue;
use http::{HeaderValue, Response, StatusCode};
use prometheus::IntGauge;

use super::message::{Message, Target};
use super::pool::{Pool, Resending, ResponseBody, SendError, Unanswered};
use super::rotation::{Rotation, Turn};
use super::signature::MessageSigner;
use super::target::target;
use crate::clock::Clock;
use crate::config::{self, HostHeader};
use crate::http1::client::request::{Head, OutgoingRequest};
use crate::metrics::{UpstreamMetrics, UpstreamResult};

type Answer = Result<Response<ResponseBody>, Unanswered>;

/// The destination of a route's messages. All threads share it; each has its own connections: a [`Pool`] for each URL.
pub struct Endpoint {
    /// The route's name, for the log.
    route: String,
    /// The path of the upstream's URLs.
    path: String,
    /// The upstream's URLs, at least one.
    urls: Vec<EndpointUrl>,
    /// Which of several URLs is next; `None` if there is one.
    rotation: Option<Rotation>,
    /// `host_header: preserve`: `Host` is the host that the sender asked for, if the request names one.
    preserves_host: bool,
    /// `resend`: whether a message is sent again if a reused connection fails after bytes of the message were written.
    resends: bool,
    /// The time until the head of the response must have arrived, connecting included.
    timeout: Duration,
    /// `sign`: how messages are signed for the handler.
    signer: Option<MessageSigner>,
    metrics: UpstreamMetrics,
}

/// One of the upstream's URLs.
struct EndpointUrl {
    /// As people see it.
    shown: String,
    /// The default for `Host`.
    host: HeaderValue,
    /// The query, which comes before that of the message.
    query: Option<String>,
    /// 1 if it can be reached; only where there are several.
    reachable: Option<IntGauge>,
}

/// The result of sending a message, and its time.
pub struct Sent {
    /// The response, or the failure.
    pub result: Result<Response<ResponseBody>, SendError>,
    /// How long it took until the head of the response had arrived, or sending failed.
    pub took: Duration,
    /// The position of the URL that it was sent to last.
    pub url: usize,
}

/// A request that is on its way to one URL after another.
struct Sending<'a> {
    endpoint: &'a Endpoint,
    below: &'a Target,
    /// `Host`, if the sender's is preserved.
    host: Option<HeaderValue>,
    clock: &'a Clock,
    started: Instant,
}

impl Endpoint {
    /// The upstream of `route`. `metrics` counts its responses; `reachable` has a gauge for each of several URLs, and is empty
    /// otherwise.
    ///
    /// # Errors
    /// A host that cannot be a field value, which loading the configuration rules out.
    pub fn new(
        route: &config::Route,
        metrics: UpstreamMetrics,
        reachable: Vec<IntGauge>,
    ) -> Result<Self, InvalidHeaderValue> {
        let config::Upstream { urls, resend, host_header, .. } = &route.upstream;
        let mut reachable = reachable.into_iter();
        let made = urls.iter().map(|url| {
            let gauge = reachable.next();
            gauge.iter().for_each(|gauge| gauge.set(1));
            let (shown, query) = (url.to_string(), url.query.clone());
            Ok(EndpointUrl { shown, host: HeaderValue::from_str(&url.authority)?, query, reachable: gauge })
        });
        Ok(Self {
            route: route.name.clone(),
            path: route.upstream.path().to_owned(),
            urls: made.collect::<Result<_, _>>()?,
            rotation: (urls.len() > 1).then(|| Rotation::new(urls.len())),
            preserves_host: *host_header == HostHeader::Preserve,
            resends: *resend,
            timeout: route.timeout,
            signer: route.sign.as_ref().map(MessageSigner::new),
            metrics,
        })
    }

    /// The URLs as people see them, and whether a connection to each could be made when one was last needed. Of a single URL,
    /// nothing is known.
    pub fn urls(&self) -> impl Iterator<Item = (&str, Option<bool>)> {
        let is_reachable = |index| self.rotation.as_ref().map(|rotation| rotation.is_reachable(index));
        self.urls.iter().enumerate().map(move |(index, url)| (url.shown.as_str(), is_reachable(index)))
    }

    /// `turn` has ended without a connection.
    fn unreachable(&self, turn: Turn, now: Instant, error: &SendError) {
        let Some(rest) = self.rotation.as_ref().and_then(|rotation| rotation.unreachable(turn, now)) else { return };
        let Some(url) = self.urls.get(turn.url) else { return };
        url.reachable.iter().for_each(|gauge| gauge.set(0));
        // As seldom as it rests.
        let (route, upstream, rests_seconds) = (&*self.route, &*url.shown, rest.as_secs());
        tracing::warn!(route, upstream, %error, rests_seconds, "an upstream cannot be reached, and rests");
    }

    /// `turn` has had a connection.
    fn reached(&self, turn: Turn) {
        if let Some(rotation) = &self.rotation
            && rotation.reached(turn)
            && let Some(url) = self.urls.get(turn.url)
        {
            url.reachable.iter().for_each(|gauge| gauge.set(1));
            tracing::info!(route = &*self.route, upstream = &*url.shown, "an upstream can be reached again");
        }
    }
}

/// Sends `message` to `endpoint` over a connection of one of `pools`, which has one for each URL, at the time `started`, with the
/// field lines `also` of this attempt. Counts the response or the failure.
pub async fn send(
    endpoint: &Endpoint,
    pools: &[Rc<Pool>],
    message: Message,
    also: &Head,
    clock: &Clock,
    started: Instant,
) -> Sent {
    let Message { id, method, target: below, host, fields: mut head, payload } = message;
    let sending = Sending { endpoint, below: &below, host: host.filter(|_| endpoint.preserves_host), clock, started };
    let turn = endpoint.rotation.as_ref().and_then(|rotation| rotation.turn(started, &[])).unwrap_or(Turn::ONLY);
    sending.direct(turn, |target, host| head.begin(method, target, host));
    head.lines(also);
    if let Some(signer) = &endpoint.signer {
        signer.write(&mut head, id, clock.unix_at(started), &payload);
    }
    let request = head.with(payload);
    let (sent, url) = match &endpoint.rotation {
        None => (sending.send_once(pools, turn, request).await.map_err(|unanswered| unanswered.error), turn.url),
        Some(rotation) => sending.send_in_turn(pools, rotation, turn, request).await,
    };
    let took = clock.now().saturating_duration_since(started);
    endpoint.metrics.duration.observe(took.as_secs_f64());
    let result = match sent {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(SendError::Failed(io::Error::other("the upstream switches protocols without being asked to")))
        }
        result => result,
    };
    endpoint.metrics.result(match &result {
        Ok(response) => UpstreamResult::Status(response.status().as_u16()),
        Err(SendError::Unreachable(_)) => UpstreamResult::Unreachable,
        Err(SendError::Failed(_)) => UpstreamResult::Failed,
        Err(SendError::Late) => UpstreamResult::Timeout,
    });
    Sent { result, took, url }
}

impl Sending<'_> {
    /// Gives the request target and `Host` for a URL to `with`.
    fn direct<T>(&self, turn: Turn, with: impl FnOnce(&[&str], Option<&HeaderValue>) -> T) -> T {
        let url = self.endpoint.urls.get(turn.url);
        let query = url.and_then(|url| url.query.as_deref());
        let target = target(&self.endpoint.path, self.below.rest(), query, self.below.query());
        with(&target, self.host.as_ref().or(url.map(|url| &url.host)))
    }

    /// Sends to the URL of `turn`.
    async fn send_once(&self, pools: &[Rc<Pool>], turn: Turn, request: OutgoingRequest) -> Answer {
        let Endpoint { resends, metrics, timeout, .. } = self.endpoint;
        let resending = Resending { allowed: *resends, count: &metrics.resends };
        // Each URL has a pool.
        let Some(pool) = pools.get(turn.url) else { return Err(SendError::Late.into()) };
        pool.send(request, resending, self.started, self.started + *timeout).await
    }

    /// Sends to the URL of `turn`, and if there is no connection to it, to the others. Returns the position of the last one.
    async fn send_in_turn(
        &self,
        pools: &[Rc<Pool>],
        rotation: &Rotation,
        turn: Turn,
        request: OutgoingRequest,
    ) -> (Result<Response<ResponseBody>, SendError>, usize) {
        match self.send_once(pools, turn, request).await {
            // Boxed, since it is rarely needed.
            Err(Unanswered { error, unsent: Some(request) }) => {
                Box::pin(self.send_on(pools, rotation, turn, error, request)).await
            }
            sent => {
                self.note_reached(turn, &sent);
                (sent.map_err(|unanswered| unanswered.error), turn.url)
            }
        }
    }

    /// Notes that the URL of `turn` can be reached. What was late on a connection that was kept does not say so: the other
    /// end may have gone.
    fn note_reached(&self, turn: Turn, sent: &Answer) {
        if !matches!(sent, Err(Unanswered { error: SendError::Late, .. })) {
            self.endpoint.reached(turn);
        }
    }

    /// Sends to one URL after another, after `turn` had no connection.
    async fn send_on(
        &self,
        pools: &[Rc<Pool>],
        rotation: &Rotation,
        mut turn: Turn,
        mut error: SendError,
        mut request: Box<OutgoingRequest>,
    ) -> (Result<Response<ResponseBody>, SendError>, usize) {
        let mut tried = Vec::new();
        loop {
            let now = self.clock.now();
            let is_late = matches!(error, SendError::Late);
            // A later one may have had no time left to be reached.
            if !is_late || tried.is_empty() {
                self.endpoint.unreachable(turn, now, &error);
            }
            tried.push(turn.url);
            let next = if is_late { None } else { rotation.turn(now, &tried) };
            let Some(next) = next else { return (Err(error), turn.url) };
            turn = next;
            let directed = self.direct(turn, |target, host| request.directed(target, host));
            match self.send_once(pools, turn, directed).await {
                Err(Unanswered { error: why, unsent: Some(unsent) }) => (error, request) = (why, unsent),
                sent => {
                    self.note_reached(turn, &sent);
                    return (sent.map_err(|unanswered| unanswered.error), turn.url);
                }
            }
        }
    }
}
