//! What became of a delivery, in one short line for people.

use std::time::Duration;

use crate::text::{plain, size};

/// The most characters of a line.
pub const WIDTH: usize = 120;

/// A delivery and what became of it.
#[derive(Debug, Default)]
pub struct Line<'a> {
    /// The time of day that the line shows, since 1970-01-01T00:00:00Z.
    pub at: Duration,
    /// The name of its route.
    pub route: &'a str,
    /// The kind of its event, if it is known.
    pub event: Option<&'a str>,
    /// The bytes of its body, if they were counted.
    pub bytes: Option<u64>,
    /// The answer that it got, or why it got none.
    pub result: &'a str,
}

impl Line<'_> {
    /// The line. A kind of event that is too long is cut, and so is at last the result; control characters are escaped.
    pub fn text(&self) -> String {
        let begin = format!("{} {} ", time_of_day(self.at), plain(self.route));
        let bytes = self.bytes.map(|bytes| format!("{} ", size(bytes))).unwrap_or_default();
        let end = format!("{bytes}→ {}", plain(self.result));
        let event = self.event.filter(|event| !event.is_empty()).map(|event| {
            let room = WIDTH.saturating_sub(begin.chars().count() + end.chars().count() + 1);
            format!("{} ", clipped(&plain(event), room.max(1)))
        });
        clipped(&format!("{begin}{}{end}", event.unwrap_or_default()), WIDTH)
    }
}

/// The text, or its beginning and `…`: at most so many characters.
pub fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Hours, minutes and seconds of a time since 1970-01-01T00:00:00Z, in UTC.
fn time_of_day(at: Duration) -> String {
    let seconds = at.as_secs() % (24 * 60 * 60);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(event: Option<&'a str>, result: &'a str) -> String {
        let at = Duration::from_secs(24 * 60 * 60 * 3 + 12 * 3600 + 3 * 60 + 4);
        Line { at, route: "civo", event, bytes: Some(80), result }.text()
    }

    #[test]
    fn a_line_has_the_event_the_size_and_the_answer() {
        assert_eq!(
            line(Some("instance.created"), "200 in 12 ms"),
            "12:03:04 civo instance.created 80 B → 200 in 12 ms"
        );
        assert_eq!(line(None, "200 in 12 ms"), "12:03:04 civo 80 B → 200 in 12 ms");
        let least = Line { route: "none", result: "404 no_route", ..Line::default() };
        assert_eq!(least.text(), "00:00:00 none → 404 no_route");
    }

    #[test]
    fn a_line_is_short_and_harmless_whatever_is_in_it() {
        let long = "\u{1b}[2J\u{202e}\n".repeat(100);
        let text = line(Some(&long), "200 in 12 ms");
        assert_eq!((text.chars().count(), text.ends_with("… 80 B → 200 in 12 ms")), (WIDTH, true), "{text}");
        for text in [text, line(Some(&long), &long), line(None, &long)] {
            assert!(text.chars().count() <= WIDTH && !text.contains(['\u{1b}', '\u{202e}', '\n']), "{text}");
        }
    }
}
