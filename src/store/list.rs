//! What lists have in common, whichever store they come from.

use uuid::Uuid;

use super::types::{Filter, Millis, Shown, Stored};

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

/// The least id that a delivery received at `at` can have.
pub fn least_id(at: Millis) -> Uuid {
    let millis = u128::from(u64::try_from(at).unwrap_or(0).min((1 << 48) - 1));
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_id_of_a_moment_is_below_every_id_of_it() {
        let at = 1_700_000_000_123;
        let low = uuid::Builder::from_unix_timestamp_millis(at, &[0; 10]).into_uuid();
        let before = uuid::Builder::from_unix_timestamp_millis(at - 1, &[0xff; 10]).into_uuid();
        let least = least_id(1_700_000_000_123);
        assert!(before < least && least <= low);
    }
}
