//! What people may see of a stored body.
//!
//! A delivery that may have to be sent, now or by a replay, is stored as it came, with its secrets. Everything that tells
//! something of a body asks here: what shows one, and what searches them.

use bytes::Bytes;

use super::redact::Secrets;
use crate::http1::payload::Payload;
use crate::schemes::Redacted;
use crate::store::details::Details;
use crate::store::{Shown, State};

/// Whether the body of a delivery in this state is stored as it came.
pub fn is_as_it_came(shown: Shown) -> bool {
    matches!(shown, Shown::Pending | Shown::Retrying | Shown::Held | Shown::Settled(State::Dead | State::Discarded))
}

/// Whether the stored body has a secret in it. Then no search may look at it: by its answers a reader could guess the secret,
/// character by character.
pub fn has_secret(shown: Shown, details: &Details) -> bool {
    is_as_it_came(shown) && details.had_secret_in_body()
}

/// What may be shown of a stored body: it, with its secrets replaced, or nothing if it has one that is not found any more.
pub fn body(shown: Shown, secrets: &Secrets<'_>, body: Bytes) -> Option<Bytes> {
    match secrets.body(&Payload::from(body.clone())) {
        Redacted::Replaced(body) => Some(body),
        Redacted::Unchanged => Some(body),
        // Its secrets were taken out when it was stored.
        Redacted::Gone => (!is_as_it_came(shown)).then_some(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::details::BODY;

    #[test]
    fn a_body_with_a_secret_is_shown_without_it_or_not_at_all() {
        let secret = Bytes::from_static(br#"{"value":[{"clientState":"5ecret"}]}"#);
        let broken = Bytes::from_static(br#"{"value":[{"clientState":"5ec"#);
        let had_one = Details { redacted: vec![BODY.to_owned()], ..Details::default() };
        let shown_of = |shown, scheme: &str, details: &Details, bytes: &Bytes| {
            body(shown, &Secrets::of(None, scheme, details), bytes.clone())
        };
        let settled = [State::Dead, State::Discarded].map(Shown::Settled);
        for shown in [Shown::Pending, Shown::Retrying, Shown::Held].into_iter().chain(settled) {
            assert!(has_secret(shown, &had_one) && !has_secret(shown, &Details::default()));
            for details in [&had_one, &Details::default()] {
                let replaced = shown_of(shown, "microsoft-graph", details, &secret).unwrap();
                assert_eq!(replaced, r#"{"value":[{"clientState":"redacted"}]}"#);
                assert_eq!(shown_of(shown, "microsoft-graph", details, &broken), None);
            }
            for scheme in ["github", "a-scheme-that-has-gone"] {
                assert_eq!(shown_of(shown, scheme, &had_one, &secret), None, "{scheme}");
                assert_eq!(shown_of(shown, scheme, &Details::default(), &secret), Some(secret.clone()), "{scheme}");
            }
        }
        let delivered = Shown::Settled(State::Delivered);
        assert!(!has_secret(delivered, &had_one));
        assert_eq!(shown_of(delivered, "microsoft-graph", &had_one, &broken), Some(broken));
    }
}
