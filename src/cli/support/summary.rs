//! Prints what the API says of deliveries.

use serde::Deserialize;
use serde_json::Value;

use crate::text::plain;

/// What the commands read of a delivery's summary.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub id: String,
    pub received_at: Option<String>,
    pub route: Option<String>,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub event_type: Option<String>,
}

impl Summary {
    /// The summary in an answer. What is missing in it, or is no text, is shown as missing.
    pub fn of(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// Id, route, state, reason, event type and time, in columns.
    pub fn line(&self) -> String {
        let text = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), plain);
        format!(
            "{}  {:<16}  {:<9}  {:<20}  {:<24}  {}",
            plain(&self.id),
            text(&self.route),
            text(&self.state),
            text(&self.reason),
            text(&self.event_type),
            text(&self.received_at),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_people_look_for_and_no_control_character() {
        let value = serde_json::json!({
            "id": "0190", "received_at": "2026-01-31T12:00:00.000Z", "route": "stripe", "state": "refused",
            "reason": null, "event_type": "a\u{1b}]0;x\u{7}\nb\u{202e}", "attempts": 0,
        });
        let words: Vec<String> = Summary::of(&value).line().split_whitespace().map(str::to_owned).collect();
        assert_eq!(
            words,
            ["0190", "stripe", "refused", "-", r"a\u{1b}]0;x\u{7}\nb\u{202e}", "2026-01-31T12:00:00.000Z"]
        );
    }
}
