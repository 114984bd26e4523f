//! What lists have in common, whichever store they come from.

use super::types::{Filter, Shown, Stored};

/// Deliveries that one page looks at, at most: a rare one is found over several pages, and no query runs for long.
pub const LOOKED_AT: usize = 20_000;

/// Whether a filter lets a delivery through; the bounds of id and time aside.
pub fn matches(filter: &Filter, stored: &Stored) -> bool {
    let delivery = &stored.delivery;
    let is =
        |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|wanted| value == Some(wanted));
    is(&filter.route, Some(&*delivery.route))
        && (filter.states.is_empty() || filter.states.contains(&stored.shown))
        && is(&filter.reason, delivery.reason.as_deref())
        && filter.status.is_none_or(|status| delivery.status == Some(status))
        && is(&filter.event_type, delivery.event_type.as_deref())
        && is(&filter.event_id, delivery.event_id.as_deref())
        && is(&filter.request_id, delivery.request_id.as_deref())
        && filter.since.is_none_or(|since| delivery.received_at >= since)
        && filter.until.is_none_or(|until| delivery.received_at < until)
}

/// Whether a state is stored as pending.
pub fn waits(shown: Shown) -> bool {
    matches!(shown, Shown::Pending | Shown::Retrying | Shown::Held)
}
