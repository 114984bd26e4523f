//! A delivery as a line of a list.

use super::view::{self, Time, shown};
use crate::config::NO_ROUTE;
use crate::store::{Shown, State, Stored, received_at};
use crate::text::size;

/// A line of a list.
#[derive(Debug)]
pub struct Row {
    /// The delivery's id.
    pub id: String,
    /// Its state.
    pub outcome: Outcome,
    /// Why it was refused, or is dead; empty otherwise.
    pub reason: String,
    /// How many attempts were made; 0 also where attempts are not counted.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next: Option<Time>,
    /// Its route.
    pub route: String,
    /// Whether it has one.
    pub has_route: bool,
    /// The kind of event; empty if it has none.
    pub event_type: String,
    /// The provider's id of the event; empty if it has none.
    pub event_id: String,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The sender's or the handler's last status.
    pub status: Option<u16>,
    /// The length of the body.
    pub size: String,
    /// How long it took.
    pub took: String,
    /// When it came.
    pub received: Time,
    /// The client.
    pub peer: String,
}

/// A state in word and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state's name.
    pub state: &'static str,
    /// Its class: `good`, `bad`, `warn`, `wait`, `stop` or `quiet`.
    pub class: &'static str,
    /// A sign of its class.
    pub icon: &'static str,
}

impl Outcome {
    /// That of a state. A handler that answered with an error has answered, but not well.
    pub const fn of(shown: Shown, status: Option<u16>) -> Self {
        let is_error = matches!(status, Some(400..));
        let (class, icon) = match shown {
            Shown::Pending | Shown::Retrying | Shown::Held => ("wait", "◷"),
            Shown::Settled(State::Pending) => ("wait", "◷"),
            Shown::Settled(State::Forwarded) if is_error => ("warn", "!"),
            Shown::Settled(State::Delivered | State::Forwarded) => ("good", "✓"),
            Shown::Settled(State::Failed) => ("warn", "!"),
            Shown::Settled(State::Refused) => ("bad", "✗"),
            Shown::Settled(State::Dead) => ("stop", "■"),
            Shown::Settled(State::Duplicate | State::Challenge) => ("quiet", "="),
            Shown::Settled(State::Discarded | State::Erased) => ("quiet", "–"),
        };
        Self { state: shown.name(), class, icon }
    }
}

impl Row {
    /// That of a delivery.
    pub fn of(stored: &Stored) -> Self {
        let delivery = &stored.delivery;
        let some = |text: Option<&str>| text.map(shown).unwrap_or_default();
        Self {
            id: delivery.id.to_string(),
            outcome: Outcome::of(stored.shown, delivery.status),
            reason: some(delivery.reason.as_deref()),
            attempts: stored.attempts,
            next: stored.next_attempt_at.map(Time::of),
            route: shown(&delivery.route),
            has_route: &*delivery.route != NO_ROUTE,
            event_type: some(delivery.event_type.as_deref()),
            event_id: some(delivery.event_id.as_deref()),
            method: shown(&delivery.method),
            path: cut(&delivery.path),
            status: delivery.status,
            size: size(delivery.request_bytes),
            took: delivery.duration_ms.map(view::took_whole).unwrap_or_default(),
            received: Time::of(received_at(delivery.id)),
            peer: shown(&delivery.peer),
        }
    }
}

/// A path, of which a list shows the first part: a sender can make it as long as a request line.
fn cut(path: &str) -> String {
    const MOST: usize = 120;
    let whole = shown(path);
    let mut text: String = whole.chars().take(MOST).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn states_differ_by_word_and_classes_by_sign() {
        let outcomes: Vec<Outcome> = Shown::ALL.into_iter().map(|shown| Outcome::of(shown, Some(200))).collect();
        let words: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.state).collect();
        assert_eq!(words.len(), Shown::ALL.len());
        let signs: BTreeSet<&str> = ["good", "bad", "warn", "wait", "stop"]
            .into_iter()
            .map(|class| outcomes.iter().find(|outcome| outcome.class == class).unwrap().icon)
            .collect();
        assert_eq!(signs.len(), 5);
    }

    #[test]
    fn a_long_path_is_cut_and_what_cannot_be_seen_is_spelled() {
        assert_eq!(cut("/a\u{202e}b\0"), "/a\\u{202e}b\\u{0}");
        assert_eq!(cut(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }
}
