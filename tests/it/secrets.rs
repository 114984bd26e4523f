//! Several secrets, routes that only report, statuses of refusals.

use std::collections::BTreeMap;

use crate::support::gateway::{Gateway, OLD_SECRET, SECRET, series};
use crate::support::rig::{Rig, route};
use crate::support::sender::{Delivery, sha256};

const ROTATED: &str = "secrets: [{ env: SECRET, id: current }, { env: OLD_SECRET, id: previous }]";

#[test]
fn any_of_several_secrets_lets_a_delivery_in_and_the_upstream_is_told_which() {
    let mut rig = Rig::with(ROTATED);
    for (secret, id) in [(SECRET, "current"), (OLD_SECRET, "previous"), (SECRET, "current")] {
        let seen = rig.forwards(&Delivery::circleci_with(secret, "{}"));
        assert_eq!((seen.one("hooklatch-secret-id").as_str(), seen.one("hooklatch-verified").as_str()), (id, "true"));
    }
    rig.refuses(&Delivery::circleci_with("neither", "{}").bytes(), 401, "signature_mismatch");
}

#[test]
fn the_metrics_tell_when_each_secret_was_last_of_use() {
    let mut rig = Rig::with(ROTATED);
    let last_match = |rig: &Rig, secret| {
        let labels = [("route", "hook"), ("secret", secret)];
        rig.gateway.metrics().get("hooklatch_secret_last_match_timestamp_seconds", &labels)
    };
    let started = rig.gateway.metrics().get("hooklatch_config_last_reload_success_timestamp_seconds", &[]);
    rig.refuses(&Delivery::circleci_with("neither", "{}").bytes(), 401, "signature_mismatch");
    assert_eq!((last_match(&rig, "current"), last_match(&rig, "previous")), (0.0, 0.0));
    rig.forwards(&Delivery::circleci_with(OLD_SECRET, "{}"));
    assert_eq!(last_match(&rig, "current"), 0.0);
    let then = last_match(&rig, "previous");
    assert!(then >= started && then < started + 3600.0, "{then} {started}");
    rig.forwards(&Delivery::circleci("{}"));
    assert_eq!(last_match(&rig, "previous"), then);
    assert!(last_match(&rig, "current") >= then);
}

#[test]
fn a_secret_without_an_id_is_known_by_its_position_also_when_an_optional_one_before_it_is_absent() {
    let mut rig =
        Rig::with("secrets: [{ env: NOT_SET, optional: true }, { env: SECRET }, { file: /none, optional: true }]");
    assert_eq!(rig.forwards(&Delivery::circleci("{}")).one("hooklatch-secret-id"), "1");
    let gauges: Vec<String> = rig.gateway.metrics().all().keys().cloned().collect();
    let gauges: Vec<&String> = gauges.iter().filter(|series| series.contains("last_match")).collect();
    assert_eq!(gauges.len(), 1, "{gauges:?}");
}

#[test]
fn one_of_several_signatures_may_be_by_another_secret() {
    let mut rig = Rig::start();
    let right = sha256(SECRET, b"{}");
    let wrong = sha256("another secret", b"{}");
    for value in [
        format!("v1={wrong},v1={right}"),
        format!("v1={right},v1={wrong}"),
        format!("v2=x, v1={right} ,v3={wrong}"),
        format!("v1={}", right.to_uppercase()),
    ] {
        rig.forwards(&Delivery::unsigned("{}").header("circleci-signature", &value));
    }
}

#[test]
fn every_scheme_lets_in_what_its_provider_signs() {
    Rig::of("civo", "").forwards(&Delivery::civo("{}"));
    Rig::of("icr", "").forwards(&Delivery::icr(r#"{"event":"installed","n":1.50}"#));
    Rig::of("circleci", "").forwards(&Delivery::circleci("{}"));
}

#[test]
fn a_route_that_only_reports_forwards_what_it_would_refuse_marked_and_counted() {
    let mut rig = Rig::of("icr", "enforce: false");
    let signed = "eyJldmVudCI6Imluc3RhbGxlZCJ9"; // {"event":"installed"}
    let right = Delivery::icr(r#"{"event":"installed"}"#);
    for (delivery, reason) in [
        (Delivery::unsigned("{}"), "missing_signature"),
        (right.clone().header("x-icr-signature-256", "00"), "ambiguous_signature"),
        (Delivery::unsigned("{}").header("x-icr-signature-256", "nonsense"), "malformed_signature"),
        (right.clone().body("{}"), "signature_mismatch"),
        (Delivery::icr_signed(signed, &format!(r#"{{"signedData":"{signed}"}}"#)), "payload_mismatch"),
    ] {
        let before = rig.gateway.metrics();
        let seen = rig.forwards(&delivery.header("Hooklatch-Secret-Id", "0").header("Hooklatch-Verified", "true"));
        assert_eq!(seen.one("hooklatch-verified"), "false", "{reason}");
        assert_eq!(seen.all("hooklatch-secret-id"), [""; 0], "{reason}");
        let labels = |last| [("route", "hook"), ("scheme", "icr"), last];
        let expected = BTreeMap::from([
            (series("hooklatch_requests_total", &labels(("outcome", "forwarded"))), 1.0),
            (series("hooklatch_rejections_total", &labels(("reason", reason))), 1.0),
            (series("hooklatch_upstream_responses_total", &[("route", "hook"), ("result", "2xx")]), 1.0),
        ]);
        assert_eq!(rig.gateway.metrics().counted_since(&before), expected);
    }
    let seen = rig.forwards(&right);
    assert_eq!((seen.one("hooklatch-verified").as_str(), seen.one("hooklatch-secret-id").as_str()), ("true", "0"));
}

#[test]
fn a_route_that_only_reports_still_refuses_what_has_nothing_to_do_with_signatures() {
    let rig = Rig::with("enforce: false, max_body: 3B, body_timeout: 200ms");
    rig.refuses(&Delivery::unsigned("{}").method("GET").bytes(), 405, "method_not_allowed");
    rig.refuses(&Delivery::unsigned("1234").bytes(), 413, "body_too_large");
    rig.refuses(&Delivery::unsigned("12").head(), 408, "body_timeout");
    rig.refuses_without_route(&Delivery::unsigned("").target("/x").bytes(), 404, "no_route");
}

#[test]
fn a_routes_reject_status_is_that_of_signature_faults_alone() {
    for status in [400, 403, 410, 503, 599] {
        let rig = Rig::with(&format!("reject_status: {status}, max_body: 3B"));
        rig.refuses(&Delivery::unsigned("{}").bytes(), status, "missing_signature");
        rig.refuses(&Delivery::circleci("{}").body("[]").bytes(), status, "signature_mismatch");
        rig.refuses(&Delivery::unsigned("{}").method("PUT").bytes(), 405, "method_not_allowed");
        rig.refuses(&Delivery::circleci("1234").bytes(), 413, "body_too_large");
    }
}

#[test]
fn a_debug_print_of_the_configuration_shows_no_secret() {
    let gateway = Gateway::start(&route("circleci", &format!("upstream: \"http://127.0.0.1:1\", {ROTATED}")));
    for secret in [SECRET, OLD_SECRET] {
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(!gateway.debug.contains(secret) && !gateway.debug.contains(bytes.trim_matches(['[', ']'])));
    }
    assert!(gateway.debug.contains("previous"), "the id is no secret: {}", gateway.debug);
}
