//! The lines of `serve` on a terminal: a short one for what becomes of each delivery, and below a refusal its hint.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::line::{Line, WIDTH, clipped};
use crate::clock::Clock;
use crate::text::plain;

/// The target of the access log's events.
pub const DELIVERIES: &str = "hooklatch::observe::access_log";

/// Writes the events of the access log as short lines.
pub struct ShortLines;

impl<S, N> FormatEvent<S, N> for ShortLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut seen = Seen::default();
        event.record(&mut seen);
        writer.write_str(&seen.lines(Clock::system().unix()))
    }
}

/// The fields of a delivery that are shown.
#[derive(Debug, Default)]
struct Seen {
    route: String,
    outcome: String,
    reason: Option<String>,
    hint: Option<String>,
    event: Option<String>,
    status: u64,
    bytes: Option<u64>,
    seconds: f64,
    suppressed: u64,
}

impl Seen {
    /// The lines about a delivery that ended at this time since 1970-01-01T00:00:00Z.
    fn lines(&self, at: std::time::Duration) -> String {
        let what = match (self.reason.as_deref(), self.outcome.as_str()) {
            (Some(reason), _) => format!(" {reason}"),
            (None, "accepted") => " queued".to_owned(),
            (None, "forwarded") => String::new(),
            (None, outcome) => format!(" {outcome}"),
        };
        let result = format!("{}{what} in {:.0} ms", self.status, self.seconds * 1000.0);
        let line = Line { at, route: &self.route, event: self.event.as_deref(), bytes: self.bytes, result: &result };
        let mut lines = line.text() + "\n";
        let mut below = |text: &str| lines.extend([&clipped(&format!("  {}", plain(text)), WIDTH), "\n"]);
        self.hint.iter().for_each(|hint| below(hint));
        if self.suppressed > 0 {
            below(&format!("{} more were refused before, too many to show", self.suppressed));
        }
        lines
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = value.to_owned();
        match field.name() {
            "route" => self.route = value,
            "outcome" => self.outcome = value,
            "reason" => self.reason = Some(value),
            "hint" => self.hint = Some(value),
            "event_type" => self.event = Some(value),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value,
            "request_bytes" => self.bytes = Some(value),
            "suppressed" => self.suppressed = value,
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "seconds" {
            self.seconds = value;
        }
    }

    /// No field that is shown comes so.
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reject::Reject;

    fn seen(outcome: &str, status: u64) -> Seen {
        Seen { route: "civo".to_owned(), outcome: outcome.to_owned(), status, seconds: 0.0119, ..Seen::default() }
    }

    #[test]
    fn each_outcome_has_a_line() {
        let line = |outcome, status| seen(outcome, status).lines(Duration::ZERO);
        assert_eq!(line("forwarded", 200), "00:00:00 civo → 200 in 12 ms\n");
        assert_eq!(line("accepted", 202), "00:00:00 civo → 202 queued in 12 ms\n");
        assert_eq!(line("duplicate", 200), "00:00:00 civo → 200 duplicate in 12 ms\n");
    }

    #[test]
    fn a_refusal_has_its_hint_below_and_every_line_is_short() {
        for reject in Reject::ALL {
            let (reason, hint) = (Some(reject.reason().to_owned()), Some(reject.hint().to_owned()));
            let event = Some("e".repeat(300));
            let lines = Seen { reason, hint, event, suppressed: 7, ..seen("rejected", 401) }.lines(Duration::ZERO);
            let [first, second, third] = &lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
            assert!(first.ends_with(&format!(" → 401 {} in 12 ms", reject.reason())), "{first}");
            assert!(reject.hint().starts_with(second.trim().trim_end_matches('…')), "{second}");
            assert_eq!(*third, "  7 more were refused before, too many to show");
            assert!(lines.lines().all(|line| line.chars().count() <= WIDTH), "{lines}");
        }
    }
}
