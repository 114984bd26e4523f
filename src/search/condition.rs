//! The conditions: which of them the store looks up, and what the others see of a delivery.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use memchr::memmem::Finder;
use smol_str::SmolStr;

use super::pattern::Pattern;
use crate::record::shown::has_secret;
use crate::store::{Condition, Filter, Millis, Needs, Parts, Shown, Stored, received_at};

/// A text that a delivery has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attribute {
    /// The route's name.
    Route,
    /// Why it was refused, or is dead.
    Reason,
    /// The provider's name for the kind of event.
    EventType,
    /// The provider's id of the event.
    EventId,
    /// `X-Request-Id`.
    RequestId,
    /// The id of the event, the request or the delivery.
    SomeId,
}

/// Numbers from the least to the most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// The least number.
    pub least: u64,
    /// The greatest number.
    pub most: u64,
}

/// A condition.
#[derive(Clone, Debug)]
pub enum Test {
    /// A text of the delivery is as the pattern says.
    Text(Attribute, Pattern),
    /// The event id, event type, request id, path or delivery id is as the pattern says.
    Word(Pattern),
    /// The state is one of these.
    States(Vec<Shown>),
    /// The status is one of these.
    Status(Range),
    /// The client's address is in this network.
    Peer(IpNet),
    /// Received at this time or later.
    Since(Millis),
    /// Received before this time.
    Until(Millis),
    /// The length of the body as it came, in bytes.
    Size(Range),
    /// How long it took, in milliseconds.
    Took(Range),
    /// At least one byte of the body is kept.
    HasBody,
    /// The body that is kept has these bytes. No body with a secret in it is looked at.
    Body(Box<Finder<'static>>),
    /// A header of this name, in lower case, is there, and one of its lines is as the pattern says.
    Header {
        /// The name.
        name: String,
        /// What its value must be.
        value: Option<Pattern>,
    },
}

impl Range {
    fn has(self, number: impl Into<u64>) -> bool {
        (self.least..=self.most).contains(&number.into())
    }
}

impl Test {
    /// Adds to a filter that one of these tests must hold.
    pub fn any(mut tests: Vec<Self>, filter: &mut Filter) {
        if let [only] = &*tests
            && only.narrows(filter)
        {
            return;
        }
        if let Some(states) = tests.iter().map(Self::states).collect::<Option<Vec<_>>>() {
            return narrow(&mut filter.states, states.concat());
        }
        for (attribute, wanted) in [(Attribute::Route, &mut filter.routes), (Attribute::Reason, &mut filter.reasons)] {
            if let Some(texts) = tests.iter().map(|test| test.exact(attribute)).collect::<Option<Vec<_>>>() {
                return narrow(wanted, texts);
            }
        }
        let needs = tests.iter().map(Self::needs).max().unwrap_or(Needs::Summary);
        tests.shrink_to_fit();
        let holds = move |parts: &Parts<'_>| tests.iter().any(|test| test.may_see(parts) && test.holds(parts));
        filter.conditions.push(Condition { needs, holds: Arc::new(holds) });
    }

    /// Adds to a filter that this test must not hold.
    pub fn without(self, filter: &mut Filter) {
        match &self {
            Self::States(states) => {
                let others = Shown::ALL.into_iter().filter(|shown| !states.contains(shown)).collect();
                narrow(&mut filter.states, others);
            }
            Self::Since(time) => earliest(&mut filter.until, *time),
            Self::Until(time) => latest(&mut filter.since, *time),
            _ => {
                let needs = self.needs();
                let holds = move |parts: &Parts<'_>| self.may_see(parts) && !self.holds(parts);
                filter.conditions.push(Condition { needs, holds: Arc::new(holds) });
            }
        }
    }

    /// Puts the test into the part of a filter that the store looks up, if it belongs there and the place is free.
    fn narrows(&self, filter: &mut Filter) -> bool {
        let free = |place: &mut Option<String>, attribute| {
            let text = self.exact(attribute).filter(|_| place.is_none());
            text.map(|text| *place = Some(text)).is_some()
        };
        match self {
            Self::Since(time) => latest(&mut filter.since, *time),
            Self::Until(time) => earliest(&mut filter.until, *time),
            Self::Text(Attribute::EventId, _) => return free(&mut filter.event_id, Attribute::EventId),
            Self::Text(Attribute::RequestId, _) => return free(&mut filter.request_id, Attribute::RequestId),
            Self::Text(Attribute::SomeId, _) => return free(&mut filter.some_id, Attribute::SomeId),
            _ => return false,
        }
        true
    }

    fn states(&self) -> Option<Vec<Shown>> {
        match self {
            Self::States(states) => Some(states.clone()),
            _ => None,
        }
    }

    fn exact(&self, wanted: Attribute) -> Option<String> {
        match self {
            Self::Text(attribute, pattern) if *attribute == wanted => pattern.exact().map(str::to_owned),
            _ => None,
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Text(..)
            | Self::Word(_)
            | Self::States(_)
            | Self::Status(_)
            | Self::Peer(_)
            | Self::Since(_)
            | Self::Until(_)
            | Self::Size(_)
            | Self::Took(_) => Needs::Summary,
            Self::Header { .. } | Self::HasBody => Needs::Details,
            Self::Body(_) => Needs::Body,
        }
    }

    /// Whether the test may look at the delivery. If not, it does not let it through, and no more if it is negated.
    fn may_see(&self, parts: &Parts<'_>) -> bool {
        let stored = parts.stored;
        match self {
            Self::Body(_) => stored.delivery.details.decode().is_ok_and(|details| !has_secret(stored.shown, &details)),
            _ => true,
        }
    }

    fn holds(&self, parts: &Parts<'_>) -> bool {
        let stored = parts.stored;
        let delivery = &stored.delivery;
        let some = |text: &Option<SmolStr>, pattern: &Pattern| text.as_deref().is_some_and(|text| pattern.fits(text));
        let request_id = |pattern: &Pattern| delivery.request_id().is_some_and(|text| pattern.fits(&text));
        let own = |pattern: &Pattern| pattern.fits(&delivery.id.to_string());
        match self {
            Self::Text(Attribute::Route, pattern) => pattern.fits(&delivery.route),
            Self::Text(Attribute::Reason, pattern) => delivery.reason.as_deref().is_some_and(|text| pattern.fits(text)),
            Self::Text(Attribute::EventType, pattern) => some(&delivery.event_type, pattern),
            Self::Text(Attribute::EventId, pattern) => some(&delivery.event_id, pattern),
            Self::Text(Attribute::RequestId, pattern) => request_id(pattern),
            Self::Text(Attribute::SomeId, pattern) => {
                some(&delivery.event_id, pattern) || request_id(pattern) || own(pattern)
            }
            Self::Word(pattern) => {
                [&delivery.event_id, &delivery.event_type].iter().any(|text| some(text, pattern))
                    || request_id(pattern)
                    || pattern.fits(&delivery.path)
                    || pattern.is_whole(&delivery.id.to_string())
            }
            Self::States(states) => states.contains(&stored.shown),
            Self::Status(range) => delivery.status.is_some_and(|status| range.has(status)),
            Self::Peer(network) => {
                delivery.peer.parse().is_ok_and(|address: IpAddr| network.contains(&address.to_canonical()))
            }
            Self::Since(time) => received_at(delivery.id) >= *time,
            Self::Until(time) => received_at(delivery.id) < *time,
            Self::Size(range) => range.has(delivery.request_bytes),
            Self::Took(range) => delivery.duration_ms.is_some_and(|took| range.has(took)),
            Self::HasBody => parts.kept > 0,
            Self::Body(finder) => parts.body.is_some_and(|body| finder.find(body).is_some()),
            Self::Header { name, value } => has_header(stored, name, value.as_ref()),
        }
    }
}

/// Whether the recorded head has a line of this name, with a value as the pattern says. A value that was taken out is no
/// value.
fn has_header(stored: &Stored, name: &str, value: Option<&Pattern>) -> bool {
    let details = stored.delivery.details.decode().unwrap_or_default();
    let fields = details.request.into_iter().flat_map(|request| request.fields);
    fields
        .filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        .any(|field| value.is_none_or(|value| !field.redacted && value.fits_bytes(&field.value)))
}

fn latest(bound: &mut Option<Millis>, time: Millis) {
    *bound = Some(bound.map_or(time, |bound| bound.max(time)));
}

fn earliest(bound: &mut Option<Millis>, time: Millis) {
    *bound = Some(bound.map_or(time, |bound| bound.min(time)));
}

/// What both lists have.
fn narrow<T: PartialEq>(wanted: &mut Option<Vec<T>>, others: Vec<T>) {
    *wanted = Some(match wanted.take() {
        Some(wanted) => wanted.into_iter().filter(|one| others.contains(one)).collect(),
        None => others,
    });
}
