//! Head, body, attempts and times of a delivery.

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Shape;
use crate::admin::api::detail::{Found, pairs};
use crate::admin::api::recorded::{self, RecordedRequest};
use crate::admin::ui::content::{Content, View, content};
use crate::admin::ui::view::{self, Time, counted, shown};
use crate::config::{Delivery, Record};
use crate::reject::Reject;
use crate::routing::table::RouteShared;
use crate::store::details::BODY;
use crate::store::{self, Shown, State};
use crate::text;

/// A label with its value.
pub struct Fact {
    /// The label.
    pub label: &'static str,
    /// The value.
    pub value: String,
}

/// A field line.
pub struct Header {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Why the value is not that of the request: `hidden`, `redacted`; empty if it is.
    pub note: &'static str,
}

/// The body.
pub struct Body {
    /// The length as it came, in words; empty if it was not read.
    pub size: String,
    /// Its type, as the sender says.
    pub media: String,
    /// The ways to see it: name, address, whether it is this one.
    pub views: Vec<(&'static str, String, bool)>,
    /// What is kept of it.
    pub content: Option<Content>,
    /// Why nothing, or not all, is there.
    pub note: String,
    /// Where more lines are; empty if these are as many as there can be.
    pub all: String,
}

/// An attempt.
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub at: Time,
    /// The class of its result.
    pub class: &'static str,
    /// A sign of the class.
    pub icon: &'static str,
    /// `2xx`, `timeout` and the like.
    pub result: String,
    /// The handler's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: String,
    /// How long it took.
    pub took: String,
    /// Whether a person asked for it.
    pub replay: bool,
    /// The gateway that made it, where there can be several.
    pub gateway: String,
    /// The response's field lines.
    pub head: Vec<[String; 2]>,
    /// The first lines of the response's body.
    pub body: Vec<String>,
    /// Whether the response's body went through to the sender, and nothing of it is kept.
    pub went_through: bool,
}

/// A part of the time that a delivery took, and where it is in a bar: from 0 to 100.
pub struct Span {
    /// What was done.
    pub label: &'static str,
    /// How long it took.
    pub text: String,
    /// Where it begins.
    pub from: u8,
    /// How wide it is.
    pub width: u8,
}

/// What is known beside.
pub fn facts(found: &Found) -> Vec<Fact> {
    let (delivery, details) = (&found.stored.delivery, &found.details);
    let mut facts = Vec::new();
    let mut add = |label, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push(Fact { label, value: shown(value) });
        }
    };
    add("Scheme", Some(&delivery.scheme));
    add("Event", delivery.event_type.as_deref());
    add("Event id", delivery.event_id.as_deref());
    add("Request id", delivery.request_id().as_deref());
    match &details.proxy {
        Some(proxy) => add("From", Some(&format!("{} via {proxy}", delivery.peer))),
        None => add("From", Some(&delivery.peer)),
    }
    add("Host", details.host.as_deref());
    add("Request", Some(&format!("{} {}", delivery.method, delivery.path)));
    add("TLS", Some(if details.tls { "yes" } else { "no" }));
    let was_refused = details.refused.is_some() && found.stored.shown == Shown::Settled(State::Delivered);
    add(
        "Verified",
        match (details.verified, found.stored.shown) {
            (_, Shown::Settled(State::Erased)) => None,
            (true, _) => Some("yes"),
            (false, _) if was_refused => Some("not when it came"),
            (false, _) => Some("no"),
        },
    );
    add("Secret", details.secret_id.as_deref());
    add("Trace", details.trace_id.as_deref());
    add("Gateway", found.stored.gateway.as_deref());
    if let Some(next) = found.stored.next_attempt_at {
        add("Next attempt", Some(&format!("{} UTC", Time::of(next).short)));
    }
    facts
}

/// The field lines of the request.
pub fn headers(request: &RecordedRequest) -> Vec<Header> {
    let header = |field: &recorded::Field| {
        let note = match (field.shown, field.is_hidden()) {
            (true, _) => "",
            (false, true) => "hidden",
            (false, false) => "redacted",
        };
        let value = if note.is_empty() { shown(&recorded::text(&field.value)) } else { String::new() };
        Header { name: shown(&field.name), value, note }
    };
    request.fields.iter().map(header).collect()
}

impl Body {
    /// The body in the view that is asked for.
    pub fn of(
        found: &Found,
        request: Option<&RecordedRequest>,
        route: Option<&RouteShared>,
        shape: &Shape,
        here: &str,
    ) -> Self {
        let came = found.stored.delivery.request_bytes;
        let media = request.and_then(|request| {
            let is_type = |field: &&recorded::Field| field.name.eq_ignore_ascii_case(CONTENT_TYPE.as_str());
            request.fields.iter().find(is_type).map(|field| shown(&recorded::text(&field.value)))
        });
        let views = View::ALL.into_iter().map(|view| {
            let address = Shape { view, all: false, ..*shape }.address(here);
            (view.label(), format!("{address}#body"), view == shape.view)
        });
        Self {
            size: if is_unread(found) { String::new() } else { text::size(came) },
            media: media.unwrap_or_default(),
            views: views.collect(),
            content: found.body.as_ref().map(|body| content(body, shape.view, shape.all)),
            note: note(found, route),
            all: match shape.all {
                true => String::new(),
                false => format!("{}#body", Shape { all: true, ..*shape }.address(here)),
            },
        }
    }
}

/// Whether it was refused by its head.
pub fn is_unread(found: &Found) -> bool {
    // Of a captured one the body was read, and not verified.
    found.details.body_done_us.is_none() && found.body.is_none() && found.stored.shown == Shown::Settled(State::Refused)
}

/// Why nothing, or not all, of a body is there.
fn note(found: &Found, route: Option<&RouteShared>) -> String {
    let (stored, details) = (&found.stored, &found.details);
    let came = stored.delivery.request_bytes;
    match &found.body {
        Some(body) if found.is_body_cut() => format!(
            "Cut: {} of {} are kept. record_body of the route says how much is; what is cut cannot be sent again.",
            text::size(body.len() as u64),
            text::size(came)
        ),
        Some(_) if details.had_secret_in_body() => "A secret in it is replaced by the text redacted.".to_owned(),
        Some(_) => String::new(),
        None if stored.shown == Shown::Settled(State::Erased) => "Erased: head and body were overwritten.".to_owned(),
        None if is_unread(found) => "Not read: the delivery was refused by its head.".to_owned(),
        None if details.redacted.iter().any(|what| what == BODY) => {
            "Not shown: it has a secret in it that is not found any more.".to_owned()
        }
        None => match route.map(|route| route.config.record) {
            Some(record @ (Record::Metadata | Record::None)) => format!(
                "Not kept: the route has record: {}. record: full keeps head and body of later deliveries.",
                record.as_str()
            ),
            Some(Record::Full) => "Not kept.".to_owned(),
            None => "Not kept: the configuration has no route of this name.".to_owned(),
        },
    }
}

impl Attempt {
    /// What is shown of an attempt.
    pub fn of(found: &Found, attempt: &store::Attempt) -> Self {
        let (class, icon) = match (&*attempt.result, attempt.status) {
            ("2xx", _) => ("good", "✓"),
            (_, Some(_)) => ("warn", "!"),
            (_, None) => ("bad", "✗"),
        };
        let body = content(&attempt.response_body, View::Raw, false).lines;
        Self {
            number: attempt.number,
            at: Time::of(attempt.at),
            class,
            icon,
            result: shown(&attempt.result),
            status: attempt.status,
            error: attempt.error.as_deref().map(shown).unwrap_or_default(),
            took: view::took_whole(attempt.duration_ms),
            replay: attempt.replay,
            gateway: attempt.gateway.as_deref().map(shown).unwrap_or_default(),
            head: pairs(&attempt.response_head).into_iter().map(|pair| pair.map(|text| shown(&text))).collect(),
            body,
            went_through: found.went_through(attempt),
        }
    }
}

/// The parts of the time, from the first byte to the end of the answer.
pub fn timing(found: &Found) -> Vec<Span> {
    let details = &found.details;
    let millis = |micros: u64| micros as f64 / 1000.0;
    let body = details.body_done_us.map(millis);
    let verification = details.verification_us.map(millis);
    let upstream = details.upstream_us.map(millis);
    let total = found.stored.delivery.duration_ms;
    let sum = [body, verification, upstream].into_iter().flatten().sum::<f64>();
    let whole = total.map_or(sum, f64::from).max(sum);
    let percent = |part: f64| {
        let share = if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 };
        // At most 100.
        share as u8
    };
    let mut from = 0.0;
    let mut spans = Vec::new();
    for (label, part) in
        [("Head and body received", body), ("Signature checked", verification), ("Handler answered", upstream)]
    {
        let Some(part) = part else { continue };
        spans.push(Span { label, text: view::took(part), from: percent(from), width: percent(part).max(1) });
        from += part;
    }
    if let Some(total) = total {
        spans.push(Span { label: "In all", text: view::took_whole(total), from: 0, width: 100 });
    }
    spans
}

/// The reason of a refusal.
pub fn reject(found: &Found) -> Option<Reject> {
    found.stored.delivery.reason.as_deref().and_then(Reject::named)
}

/// The status beside the outcome: that of a refusal where it was refused, or else of what came last.
pub fn status(found: &Found, route: Option<&RouteShared>) -> Option<u16> {
    match found.stored.shown {
        Shown::Settled(State::Refused | State::Failed) => sender_status(found, route),
        _ => found.stored.delivery.status,
    }
}

/// The refusal that the sender got.
fn refused(found: &Found) -> Option<Reject> {
    found.details.refused.as_deref().and_then(Reject::named).or_else(|| reject(found))
}

/// The status that the sender got. A replay writes its status over it.
fn sender_status(found: &Found, route: Option<&RouteShared>) -> Option<u16> {
    if !found.attempts.iter().any(|attempt| attempt.replay) {
        return found.stored.delivery.status;
    }
    match refused(found) {
        Some(reject) => {
            let signature = route.map_or(StatusCode::UNAUTHORIZED, |route| route.config.reject_status);
            Some(reject.status(signature).as_u16())
        }
        None => found.attempts.first().filter(|first| !first.replay).and_then(|first| first.status),
    }
}

/// What the sender got.
pub fn answer(found: &Found, route: Option<&RouteShared>) -> String {
    let status = sender_status(found, route).map_or_else(|| "an answer".to_owned(), |status| status.to_string());
    let queue = route.and_then(|route| match &route.config.delivery {
        Delivery::Queue(queue) => Some(queue.response.status.as_u16()),
        Delivery::Proxy => None,
    });
    match (found.stored.shown, refused(found), queue) {
        (_, Some(reject), _) => format!("{status}, application/problem+json: {}", reject.facts().title),
        (Shown::Settled(State::Duplicate), ..) => format!("{status}, with Hooklatch-Duplicate: true"),
        (Shown::Settled(State::Challenge), ..) => format!("{status}, the answer to its challenge"),
        (Shown::Settled(State::Forwarded), ..) => format!("{status}, as the handler answered"),
        (_, _, Some(response)) => format!("{response}, once the delivery was stored"),
        _ if route.is_none() => "not known: the configuration has no route of this name".to_owned(),
        _ => format!("{status} ({})", counted(found.attempts.len() as u64, "attempt", "attempts")),
    }
}
