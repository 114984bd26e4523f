//! `hooklatch explain --id ID` and `explain ROUTE --last`: whether the running gateway would accept a recorded delivery.

use serde_json::Value;

use super::Failure;
use super::support::api::{Api, encoded, with_query};
use crate::text::plain;

/// The id of the last refused delivery of a route.
pub(super) fn last_refused(api: &Api, route: &str) -> Result<String, Failure> {
    let one = [("route", Some(route)), ("state", Some("refused")), ("limit", Some("1"))];
    let page = api.get(&with_query("/api/v1/deliveries", one))?;
    let id = page.pointer("/deliveries/0/id").and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| Failure::Failed(format!("no refused delivery of the route \"{}\" is recorded", plain(route))))
}

/// Prints the verdict of the gateway on a recorded delivery.
pub(super) fn explain(api: &Api, id: &str) -> Result<(), Failure> {
    let verdict = api.post(&format!("/api/v1/deliveries/{}/explain", encoded(id)), None)?;
    out!("{}", told(id, &verdict));
    let accepted = verdict.get("accepted").and_then(Value::as_bool).unwrap_or_default();
    if accepted { Ok(()) } else { Err(Failure::Told) }
}

/// The verdict in words, in the lines that `explain --request` prints.
fn told(id: &str, verdict: &Value) -> String {
    let text = |key: &str| verdict.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(plain);
    let accepted = verdict.get("accepted").and_then(Value::as_bool).unwrap_or_default();
    let mut lines = vec![format!("delivery: {}", plain(id))];
    lines.push(match (accepted, text("secret_id")) {
        (true, Some(secret)) => format!("accepted: signed with the secret \"{secret}\""),
        (true, None) => "accepted".to_owned(),
        (false, _) => {
            let status = verdict.get("status").and_then(Value::as_u64).map(|status| format!(" ({status})"));
            let title = text("title").map(|title| format!(": {title}"));
            let reason = text("reason").unwrap_or_else(|| "for an unknown reason".to_owned());
            format!("refused: {reason}{}{}", status.unwrap_or_default(), title.unwrap_or_default())
        }
    });
    let proven = verdict.get("proven").and_then(Value::as_bool);
    for (key, kind) in [("causes", if proven == Some(false) { "hint" } else { "cause" }), ("notes", "note")] {
        let texts = verdict.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        lines.extend(texts.map(|text| format!("{kind}: {}", plain(text))));
        if key == "causes" && proven == Some(true) && !accepted {
            lines.push("but for that, the signature is right".to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_told_as_that_on_a_captured_request() {
        let refused = serde_json::json!({
            "accepted": false, "reason": "signature_mismatch", "status": 401, "title": "It does not verify",
            "proven": false, "causes": ["the body\u{1b} was changed"], "notes": ["enforce is false"],
        });
        assert_eq!(
            told("0190", &refused),
            "delivery: 0190\nrefused: signature_mismatch (401): It does not verify\n\
             hint: the body\\u{1b} was changed\nnote: enforce is false\n"
        );
        let proven =
            serde_json::json!({"accepted": false, "reason": "stale_timestamp", "proven": true, "causes": ["a"]});
        assert_eq!(
            told("1", &proven),
            "delivery: 1\nrefused: stale_timestamp\ncause: a\nbut for that, the signature is right\n"
        );
        let least = serde_json::json!({"accepted": false, "reason": "no_route", "causes": ["a"]});
        assert_eq!(told("1", &least), "delivery: 1\nrefused: no_route\ncause: a\n");
        let accepted = serde_json::json!({"accepted": true, "reason": null, "causes": [], "secret_id": "new"});
        assert_eq!(told("1", &accepted), "delivery: 1\naccepted: signed with the secret \"new\"\n");
    }
}
