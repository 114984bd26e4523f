//! `delivery` of a route: forward each delivery while the provider waits, or store it, answer the provider, and send it to
//! the handler from a queue.
//!
//! Refused, in addition to the errors of each reader: 1. `delivery: queue` without `store`; 2. a key of the queue on a
//! route without one; 3. `enforce: false` with a queue, because only a delivery that verifies is stored; 4. a response to
//! the provider whose status is not a success, or that has a body although its status allows none; 5. `circuit: true`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::raw::Node;
use super::reader::{Field, Section};
use super::retry::{self, Retry};
use super::units::{read_count, read_timeout};

pub(super) const MODES: [(&str, Mode); 2] = [("proxy", Mode::Proxy), ("queue", Mode::Queue)];
/// The keys of a route that have a meaning only with `delivery: queue`.
pub(super) const QUEUE_KEYS: [&str; 6] = ["response", "retry", "max_concurrent", "max_rate", "circuit", "paused"];
pub(super) const RESPONSE_STATUSES: RangeInclusive<u16> = 200..=299;
pub(super) const DEFAULT_CONTENT_TYPE: &str = "text/plain";
pub(super) const DEFAULT_CONCURRENT: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);
pub(super) const DEFAULT_CIRCUIT: Circuit =
    Circuit { failures: NonZeroU32::MIN.saturating_add(9), max_wait: Duration::from_secs(60) };

/// What happens to a delivery once it has been verified.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// It is forwarded at once; the provider gets the handler's response.
    Proxy,
    /// It is stored, the provider gets an answer, and the gateway sends it to the handler until that accepts it.
    Queue(Box<Queue>),
}

/// How a route with a queue answers the provider and sends what it has stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// The answer to the provider once the delivery is stored.
    pub response: QueueResponse,
    /// When a failed attempt is repeated, and when a delivery is given up.
    pub retry: Retry,
    /// The most attempts in progress at once. Default 32.
    pub max_concurrent: NonZeroU32,
    /// The most attempts a second; `None`, the default, for no limit.
    pub max_rate: Option<NonZeroU32>,
    /// When attempts stop because the upstream is down; `None`: never.
    pub circuit: Option<Circuit>,
    /// Whether no attempts are made until this is false. Default false.
    pub paused: bool,
}

/// The answer to the provider for a delivery that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueResponse {
    /// 200 to 299. Default 200.
    pub status: StatusCode,
    /// Empty by default, and always with status 204 or 205.
    pub body: Bytes,
    /// The header `Content-Type`. Default `text/plain`.
    pub content_type: HeaderValue,
}

/// When attempts stop because the upstream is down, and how often one of them probes whether it is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circuit {
    /// The number of failed attempts in a row after which attempts stop. Default 10.
    pub failures: NonZeroU32,
    /// The longest wait between two probes; the first wait is 1 s, and each further one twice as long. Default 1 m.
    pub max_wait: Duration,
}

/// The word that the file gives for [`Delivery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Proxy,
    Queue,
}

impl Queue {
    /// How a route in proxy mode sends what waits for it all the same: replays, and deliveries from a time when it had a queue.
    pub fn of_proxy() -> Self {
        Self {
            response: QueueResponse::default(),
            retry: Retry::default(),
            max_concurrent: DEFAULT_CONCURRENT,
            max_rate: None,
            circuit: None,
            paused: false,
        }
    }
}

impl Delivery {
    /// The queue's settings; those of [`Queue::of_proxy`] in proxy mode.
    pub fn queue(&self) -> Queue {
        match self {
            Self::Queue(queue) => queue.as_ref().clone(),
            Self::Proxy => Queue::of_proxy(),
        }
    }

    /// The word in the file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Queue(_) => "queue",
        }
    }
}

impl Default for QueueResponse {
    fn default() -> Self {
        let content_type = HeaderValue::from_static(DEFAULT_CONTENT_TYPE);
        Self { status: StatusCode::OK, body: Bytes::new(), content_type }
    }
}

/// Reads the key `delivery`. A queue needs `has_store`: whether the file has a store.
pub(super) fn read_mode(section: &mut Section<'_>, has_store: bool) -> Option<Mode> {
    section.optional("delivery", Mode::Proxy, |field| {
        let mode = field.one_of(&MODES)?;
        if mode == Mode::Queue && !has_store {
            field.error("queue needs a store: set store.path to a folder");
        }
        Some(mode)
    })
}

/// Reads the keys of the queue. `mode` is `None` if its word is wrong: the keys are checked all the same.
pub(super) fn read(section: &mut Section<'_>, mode: Option<Mode>) -> Option<Delivery> {
    if mode == Some(Mode::Proxy) {
        for key in QUEUE_KEYS {
            if let Some(field) = section.get(key) {
                field.error("has a meaning only with delivery: queue: add that to the route, or remove this key");
            }
        }
        return Some(Delivery::Proxy);
    }
    let response = section.optional("response", QueueResponse::default(), read_response);
    let retry = section.optional("retry", Retry::default(), retry::read);
    let max_concurrent = section.optional("max_concurrent", DEFAULT_CONCURRENT, read_count);
    let max_rate = section.optional("max_rate", None, |field| read_count(field).map(Some));
    let circuit = section.optional("circuit", Some(DEFAULT_CIRCUIT), read_circuit);
    let paused = section.optional("paused", false, Field::boolean);
    mode?;
    Some(Delivery::Queue(Box::new(Queue {
        response: response?,
        retry: retry?,
        max_concurrent: max_concurrent?,
        max_rate: max_rate?,
        circuit: circuit?,
        paused: paused?,
    })))
}

fn read_response(field: &Field<'_>) -> Option<QueueResponse> {
    let default = QueueResponse::default();
    let mut section = field.section()?;
    let status = section.optional("status", default.status, read_status);
    let body = section.optional("body", default.body, |field| Some(Bytes::copy_from_slice(field.text()?.as_bytes())));
    let content_type = section.optional("content_type", default.content_type, |field| field.parsed(parse_content_type));
    section.finish(|_| None);
    let (status, body) = (status?, body?);
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) && !body.is_empty() {
        field.error_below("body", format!("must be empty: a response with status {} has no body", status.as_u16()));
        return None;
    }
    Some(QueueResponse { status, body, content_type: content_type? })
}

fn read_status(field: &Field<'_>) -> Option<StatusCode> {
    let status = field.integer((*RESPONSE_STATUSES.start()).into(), (*RESPONSE_STATUSES.end()).into())?;
    field.checked(StatusCode::from_u16(u16::try_from(status).ok()?))
}

fn parse_content_type(text: &str) -> Result<HeaderValue, &'static str> {
    let plain = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let value = HeaderValue::from_str(text).ok().filter(|_| plain);
    value.ok_or("must be a media type, such as text/plain or application/json")
}

/// `false`, or a map.
fn read_circuit(field: &Field<'_>) -> Option<Option<Circuit>> {
    match field.node() {
        Node::Bool(false) => return Some(None),
        Node::Bool(true) => {
            field.error("must be false or a map, such as { failures: 10, max_wait: 1m }: it is on without this key");
            return None;
        }
        _ => {}
    }
    let mut section = field.section()?;
    let failures = section.optional("failures", DEFAULT_CIRCUIT.failures, read_count);
    let max_wait = section.optional("max_wait", DEFAULT_CIRCUIT.max_wait, read_timeout);
    section.finish(|_| None);
    Some(Some(Circuit { failures: failures?, max_wait: max_wait? }))
}
