//! `dedupe` of a route: which deliveries count as the same event, and for how long.
//!
//! Refused, in addition to the errors of each reader: 1. `dedupe: true`; 2. `key: auto` for a scheme that names no event
//! id; 3. `key: content` for a scheme that signs no content; 4. a `window` under twice the tolerance where a time is
//! signed; 5. a JSON pointer with `*`, which names several values.

use std::time::Duration;

use http::HeaderName;

use super::raw::Node;
use super::reader::{Field, Section};
use super::units::{display_duration, read_timeout};
use crate::schemes::Verifier;
use crate::schemes::spec::{Pointer, Token};

pub(super) const DEFAULT_WINDOW: Duration = Duration::from_secs(24 * 3600);
pub(super) const KEYS: [(&str, Word); 2] = [("auto", Word::Auto), ("content", Word::Content)];

/// How a route recognises that a delivery was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// How long a delivery is remembered; not zero, and at least twice the tolerance where a time is signed. Default 24 h.
    pub window: Duration,
    /// What two deliveries have in common if one is a duplicate of the other.
    pub key: DedupeKey,
}

/// What two deliveries have in common if one is a duplicate of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DedupeKey {
    /// The provider's event id; where the signature does not cover it, the id and the signed content.
    Auto,
    /// What the signature covers, less its time.
    Content,
    /// The value of this header.
    Header(HeaderName),
    /// The value at this place in the JSON body.
    Json(Pointer),
}

/// A key that the file gives as a word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Auto,
    Content,
}

/// What the file says, before it is compared with the scheme.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The key is left out.
    Default,
    /// `false`.
    Off,
    /// A map.
    On(Dedupe),
}

/// As it is shown to operators.
impl std::fmt::Display for DedupeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Content => f.write_str("content"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Json(pointer) => write!(f, "json {pointer}"),
        }
    }
}

/// Reads the key: `false`, or a map.
pub(super) fn read(section: &mut Section<'_>) -> Option<Wanted> {
    section.optional("dedupe", Wanted::Default, |field| match field.node() {
        Node::Bool(false) => Some(Wanted::Off),
        Node::Bool(true) => {
            field.error("must be false or a map, such as { window: 24h, key: auto }");
            None
        }
        _ => read_map(field).map(Wanted::On),
    })
}

fn read_map(field: &Field<'_>) -> Option<Dedupe> {
    let mut section = field.section()?;
    let window = section.optional("window", DEFAULT_WINDOW, read_timeout);
    let key = section.optional("key", DedupeKey::Auto, read_key);
    section.finish(|_| None);
    Some(Dedupe { window: window?, key: key? })
}

/// A word, or a map of one key.
fn read_key(field: &Field<'_>) -> Option<DedupeKey> {
    if !matches!(field.node(), Node::Map(_)) {
        return field.one_of(&KEYS).map(|word| match word {
            Word::Auto => DedupeKey::Auto,
            Word::Content => DedupeKey::Content,
        });
    }
    let mut section = field.section()?;
    let header = section.get("header");
    let json = section.get("json");
    let all_known = section.finish(|_| None);
    match (header, json) {
        (Some(header), None) => header.parsed(parse_header).map(DedupeKey::Header),
        (None, Some(json)) => json.parsed(parse_pointer).map(DedupeKey::Json),
        (Some(_), Some(_)) => {
            field.error("has both header and json: set one of them");
            None
        }
        (None, None) => {
            if all_known {
                field.error("needs header: NAME or json: /POINTER");
            }
            None
        }
    }
}

fn parse_header(text: &str) -> Result<HeaderName, &'static str> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| "must be the name of a header, such as x-event-id")
}

fn parse_pointer(text: &str) -> Result<Pointer, &'static str> {
    let pointer = Pointer::try_from(text.to_owned()).map_err(|_| "must be a JSON pointer, such as /event/id")?;
    if pointer.tokens().contains(&Token::Every) {
        return Err("must name one value: * names several");
    }
    Ok(pointer)
}

/// What the route does, now that its scheme is known: by default, a queue removes duplicates where the signature covers the
/// event id. `None` after an error.
pub(super) fn resolve(
    route: &Field<'_>,
    wanted: Wanted,
    has_queue: bool,
    scheme: &str,
    verifier: &Verifier,
) -> Option<Option<Dedupe>> {
    let dedupe = match wanted {
        Wanted::Off => return Some(None),
        Wanted::Default if has_queue && verifier.signs_event_id() => {
            Dedupe { window: DEFAULT_WINDOW, key: DedupeKey::Auto }
        }
        Wanted::Default => return Some(None),
        Wanted::On(dedupe) => dedupe,
    };
    match dedupe.key {
        DedupeKey::Auto if !verifier.names_event_id() => {
            route.error_at("dedupe.key", format!("the scheme {scheme} has no event id: set key: content"));
            return None;
        }
        DedupeKey::Content if !verifier.signs_content() => {
            let text = "signs no content: set key: { header: NAME } or { json: /POINTER }";
            route.error_at("dedupe.key", format!("the scheme {scheme} {text}"));
            return None;
        }
        _ => {}
    }
    if let Some(tolerance) = verifier.tolerance() {
        let least = tolerance.saturating_mul(2);
        if dedupe.window < least {
            let (least, tolerance) = (display_duration(least), display_duration(tolerance));
            let text = format!("must be at least {least}, twice the tolerance of {tolerance}");
            route.error_at("dedupe.window", text);
            return None;
        }
    }
    Some(Some(dedupe))
}
