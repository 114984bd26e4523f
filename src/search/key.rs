//! The keys, and how their values are read.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use memchr::memmem;

use super::condition::{Attribute, Range, Test};
use super::mistake::Mistake;
use super::pattern::Pattern;
use super::split::{Letter, Term, shown, text};
use crate::config::suggestion;
use crate::config::units::{parse_duration, parse_size};
use crate::schemes::parse_time;
use crate::store::list::waits;
use crate::store::{Millis, Shown, millis};

/// What a term asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// A word: see the module's parent.
    Word,
    /// `route:stripe`: the name of the route; `none` has the requests that no route took. A text.
    Route,
    /// `state:dead`: the state. `pending` finds `retrying` too.
    State,
    /// `reason:signature_mismatch`: why it was refused, or is dead. A text.
    Reason,
    /// `status:502`, `status:5xx`, `status:>=400`: the status that the sender got, or the handler's last one.
    Status,
    /// `event:invoice.*` or `event_type:invoice.*`: the provider's name for the kind of event. A text.
    Event,
    /// `event_id:evt_1`: the provider's id of the event. A text.
    EventId,
    /// `request_id:0190…`: the `X-Request-Id`. A text.
    RequestId,
    /// `id:evt_1`: the id of the event, the request or the delivery, whichever it is. A text.
    Id,
    /// `peer:192.0.2.0/24`: the client's address, or its network in CIDR notation.
    Peer,
    /// `since:1h`, `since:2026-01-31T12:00:00Z`, `since:2026-01-31`: received then or later.
    Since,
    /// `until:1h` and so on: received before then.
    Until,
    /// `size:>64KiB`: the length of the request's body as it came. Also `>=`, `<`, `<=`, or a size alone.
    Size,
    /// `took:>1s`: from the first byte to the end of the response; of a queued delivery, its last attempt. As `size`.
    Took,
    /// `is:refused`: a state as `state` has it, or `waiting`: pending, retrying or held.
    Is,
    /// `has:body`: at least one byte of the body is kept.
    Has,
    /// `body:"pi_123"`: the body that is kept has these bytes; the case of letters counts.
    Body,
    /// `header:x-foo=bar`: a recorded header has this value; `header:x-foo`: it is there. The value is a text; the case of
    /// the name does not count. Of a redacted header only the name is known.
    Header,
}

/// The keys by name, with an example of each.
const NAMES: [(&str, Key, &str); 18] = [
    ("route", Key::Route, "route:stripe"),
    ("state", Key::State, "state:dead"),
    ("reason", Key::Reason, "reason:signature_mismatch"),
    ("status", Key::Status, "status:5xx"),
    ("event", Key::Event, "event:invoice.*"),
    ("event_type", Key::Event, "event_type:invoice.*"),
    ("event_id", Key::EventId, "event_id:evt_1"),
    ("request_id", Key::RequestId, "request_id:req_1"),
    ("id", Key::Id, "id:evt_1"),
    ("peer", Key::Peer, "peer:192.0.2.0/24"),
    ("since", Key::Since, "since:1h"),
    ("until", Key::Until, "until:2026-01-31T12:00:00Z"),
    ("size", Key::Size, "size:>64KiB"),
    ("took", Key::Took, "took:>1s"),
    ("is", Key::Is, "is:refused"),
    ("has", Key::Has, "has:body"),
    ("body", Key::Body, "body:pi_123"),
    ("header", Key::Header, "header:x-foo=bar"),
];

/// The keys of a query string.
const QUERY: [&str; 9] =
    ["route", "state", "reason", "status", "event_type", "event_id", "request_id", "since", "until"];

/// What `is` takes beside the states.
const WAITING: &str = "waiting";

impl Key {
    /// The key and the condition that a term writes.
    ///
    /// # Errors
    /// An unknown key, a value that is missing or wrong.
    pub(super) fn of_term(term: &Term, now: Millis) -> Result<(Self, Test), Mistake> {
        let colon = term.letters.iter().position(|letter| letter.means(':'));
        let (name, value) = match colon.and_then(|at| term.letters.split_at_checked(at)) {
            Some((name, value)) if is_name(name) => (name, value.get(1..).unwrap_or_default()),
            _ => return Ok((Self::Word, Self::Word.read(&term.letters, term.at, now)?)),
        };
        let at = name.first().map_or(term.at, |letter| letter.at);
        let name = text(name).to_ascii_lowercase();
        let Some((_, key, example)) = NAMES.iter().find(|(known, ..)| *known == name) else {
            let names: Vec<&str> = NAMES.iter().map(|(name, ..)| *name).collect();
            let message = format!(
                "there is no key \"{}\"{}; the keys are {}. Quotes make it a word: \"{0}:…\"",
                shown(&name),
                suggestion(&name, &names),
                names.join(", ")
            );
            return Err(Mistake { at, message });
        };
        if value.is_empty() {
            return Err(Mistake { at, message: format!("{name} needs a value: write {example}") });
        }
        Ok((*key, key.read(value, at, now)?))
    }

    /// The key with this name in a query string.
    pub(super) fn of_query(name: &str) -> Option<Self> {
        QUERY.contains(&name).then(|| NAMES.iter().find(|(known, ..)| *known == name).map(|(_, key, _)| *key))?
    }

    /// The names of the keys in a query string.
    pub(super) fn query_names() -> &'static [&'static str] {
        &QUERY
    }

    /// Whether a delivery has one value of this, so that no two different ones can hold.
    pub(super) fn has_one_value(self) -> bool {
        match self {
            Self::Route
            | Self::State
            | Self::Reason
            | Self::Status
            | Self::Event
            | Self::EventId
            | Self::RequestId
            | Self::Id
            | Self::Peer => true,
            Self::Word
            | Self::Since
            | Self::Until
            | Self::Size
            | Self::Took
            | Self::Is
            | Self::Has
            | Self::Body
            | Self::Header => false,
        }
    }

    /// The condition that a value of this key writes. `at` is where to point if there is no better place.
    ///
    /// # Errors
    /// The value is missing or wrong.
    pub(super) fn read(self, value: &[Letter], at: usize, now: Millis) -> Result<Test, Mistake> {
        let at = value.first().map_or(at, |letter| letter.at);
        let refused = |message: String| Mistake { at, message };
        let text = text(value);
        if text.is_empty() {
            return Err(refused(format!("a value is missing: write {}", self.example())));
        }
        let pattern = || Pattern::of(value);
        let test = match self {
            Self::Word => Test::Word(Pattern::anywhere(value)),
            Self::Route => Test::Text(Attribute::Route, pattern()),
            Self::Reason => Test::Text(Attribute::Reason, pattern()),
            Self::Event => Test::Text(Attribute::EventType, pattern()),
            Self::EventId => Test::Text(Attribute::EventId, pattern()),
            Self::RequestId => Test::Text(Attribute::RequestId, pattern()),
            Self::Id => Test::Text(Attribute::SomeId, pattern()),
            Self::State => Test::States(read_states(&text, false).map_err(refused)?),
            Self::Is => Test::States(read_states(&text, true).map_err(refused)?),
            Self::Status => Test::Status(read_status(&text).map_err(refused)?),
            Self::Peer => Test::Peer(read_network(&text).map_err(refused)?),
            Self::Since => Test::Since(read_time(&text, now).map_err(refused)?),
            Self::Until => Test::Until(read_time(&text, now).map_err(refused)?),
            Self::Size => {
                let size = |text: &str| parse_size(text).map_err(|error| error.to_string());
                Test::Size(read_range(&text, size).map_err(refused)?)
            }
            Self::Took => {
                let took = |text: &str| parse_duration(text).map(in_millis).map_err(|error| error.to_string());
                Test::Took(read_range(&text, took).map_err(refused)?)
            }
            Self::Has if text == "body" => Test::HasBody,
            Self::Has => return Err(refused(format!("has knows \"body\" alone, not \"{}\"", shown(&text)))),
            Self::Body => Test::Body(Box::new(memmem::Finder::new(text.as_bytes()).into_owned())),
            Self::Header => read_header(value).map_err(refused)?,
        };
        Ok(test)
    }

    fn example(self) -> &'static str {
        NAMES.iter().find(|(_, key, _)| *key == self).map_or("a word", |(.., example)| example)
    }
}

/// Whether what stands before a colon is meant as a key: letters, digits, `_` and `-` after a letter, without quotes.
fn is_name(letters: &[Letter]) -> bool {
    let first = letters.first().is_some_and(|letter| letter.char.is_alphabetic());
    first
        && letters
            .iter()
            .all(|letter| !letter.quoted && (letter.char.is_alphanumeric() || matches!(letter.char, '_' | '-')))
}

fn read_states(text: &str, is: bool) -> Result<Vec<Shown>, String> {
    if text == Shown::Pending.name() {
        return Ok(vec![Shown::Pending, Shown::Retrying]);
    }
    if is && text == WAITING {
        return Ok(Shown::ALL.into_iter().filter(|shown| waits(*shown)).collect());
    }
    if let Some(shown) = Shown::ALL.into_iter().find(|shown| shown.name() == text) {
        return Ok(vec![shown]);
    }
    let waiting = is.then_some(WAITING);
    let names: Vec<&str> = Shown::ALL.into_iter().map(Shown::name).chain(waiting).collect();
    let near = suggestion(text, &names);
    Err(format!("there is no state \"{}\"{near}; the states are {}", shown(text), names.join(", ")))
}

fn read_status(text: &str) -> Result<Range, String> {
    let wrong = || {
        format!(
            "\"{}\" is no status: write one of 100 to 999, such as 502, a class, such as 5xx, or >=400",
            shown(text)
        )
    };
    if let [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
        let least = u64::from(class - b'0') * 100;
        return Ok(Range { least, most: least + 99 });
    }
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|status| *status >= 100).ok_or_else(wrong)
    };
    read_range(text, status)
}

/// `>1`, `>=1`, `<1`, `<=1` or `1`.
fn read_range(text: &str, read: impl Fn(&str) -> Result<u64, String>) -> Result<Range, String> {
    let all = Range { least: 0, most: u64::MAX };
    if let Some(least) = text.strip_prefix(">=") {
        return Ok(Range { least: read(least)?, ..all });
    }
    if let Some(most) = text.strip_prefix("<=") {
        return Ok(Range { most: read(most)?, ..all });
    }
    if let Some(over) = text.strip_prefix('>') {
        return Ok(Range { least: read(over)?.saturating_add(1), ..all });
    }
    if let Some(under) = text.strip_prefix('<') {
        // Nothing is less than zero.
        return Ok(match read(under)?.checked_sub(1) {
            Some(most) => Range { most, ..all },
            None => Range { least: 1, most: 0 },
        });
    }
    let value = read(text)?;
    Ok(Range { least: value, most: value })
}

fn read_network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
        format!("\"{}\" is no address: write one, such as 192.0.2.1, or a network, such as 192.0.2.0/24", shown(text))
    })
}

fn read_time(text: &str, now: Millis) -> Result<Millis, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.saturating_sub(millis(ago)));
    }
    let in_seconds = text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    parse_time(&whole).filter(|_| !in_seconds).map(millis).ok_or_else(|| {
        format!(
            "\"{}\" is no time: write how long ago, such as 1h or 30m, or a time, such as 2026-01-31T12:00:00Z",
            shown(text)
        )
    })
}

fn read_header(value: &[Letter]) -> Result<Test, String> {
    let equals = value.iter().position(|letter| letter.char == '=');
    let (name, value) = match equals.and_then(|at| value.split_at_checked(at)) {
        Some((name, value)) => (name, Some(Pattern::of(value.get(1..).unwrap_or_default()))),
        None => (value, None),
    };
    let name = text(name).to_ascii_lowercase();
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("\"{}\" is no name of a header: write header:x-foo=bar", shown(&name)));
    }
    Ok(Test::Header { name, value })
}

fn in_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
