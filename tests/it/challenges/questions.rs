//! The challenges of providers in their own form, and the expected answers.

use hooklatch::clock::Clock;

use crate::support::gateway::{OLD_SECRET, SECRET};
use crate::support::sender::{Delivery, sha256};

pub fn get(query: &str) -> Delivery {
    Delivery::unsigned("").method("GET").target(&format!("/hook?{query}"))
}

pub fn now() -> u64 {
    Clock::system().unix().as_secs()
}

/// A POST as Slack and Zoom sign it, with these names of their headers.
pub fn signed_v0(time: &str, signature: &str, body: &str) -> Delivery {
    let now = now();
    let mac = sha256(SECRET, format!("v0:{now}:{body}").as_bytes());
    Delivery::unsigned(body).header(time, &now.to_string()).header(signature, &format!("v0={mac}"))
}

pub fn slack(body: &str) -> Delivery {
    signed_v0("X-Slack-Request-Timestamp", "X-Slack-Signature", body)
}

pub fn zoom(body: &str) -> Delivery {
    signed_v0("x-zm-request-timestamp", "x-zm-signature", body)
}

pub const SLACK: &str = r#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
pub const ZOOM: &str =
    r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
pub const EVENT_GRID: &str = r#"[{"id":"2d1781af","topic":"","subject":"","data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","dataVersion":"1"}]"#;

pub fn event_grid() -> Delivery {
    Delivery::unsigned(EVENT_GRID).header("aeg-event-type", "SubscriptionValidation")
}

/// A Unix time as Twitch writes it.
pub fn rfc3339(unix: u64) -> String {
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix));
    // Sun, 06 Nov 1994 08:49:37 GMT
    let [_, day, month, year, time, _] = date.split(' ').collect::<Vec<_>>()[..] else { panic!("{date}") };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month).unwrap() + 1;
    format!("{year}-{month:02}-{day}T{time}.634234626Z")
}

pub fn twitch() -> Delivery {
    let now = rfc3339(now());
    let body = r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"id":"f1c2a387"}}"#;
    let mac = sha256(SECRET, format!("e76c6bd4{now}{body}").as_bytes());
    Delivery::unsigned(body)
        .header("Twitch-Eventsub-Message-Id", "e76c6bd4")
        .header("Twitch-Eventsub-Message-Type", "webhook_callback_verification")
        .header("Twitch-Eventsub-Message-Timestamp", &now)
        .header("Twitch-Eventsub-Message-Signature", &format!("sha256={mac}"))
}

pub fn meta(mode: &str, token: &str) -> Delivery {
    get(&format!("hub.mode={mode}&hub.challenge=1158201444&hub.verify_token={token}"))
}

pub fn graph() -> Delivery {
    let token = "Validation%3A+Testing+client+application+reachability+for+subscription+Request-Id%3A+522a8e7e-096a";
    Delivery::unsigned("").target(&format!("/hook?validationToken={token}"))
}

/// A challenge as its provider sends it, with what it must hear: the type, and the body. The MACs are computed with
/// Python's hmac module and the tests' secret; other texts are those that the providers publish.
pub fn asked() -> Vec<(&'static str, Delivery, &'static str, &'static str)> {
    vec![
        ("dropbox", get("challenge=abc123"), "text/plain", "abc123"),
        (
            "nylas",
            get("challenge=bc609b38-c81f-47fb-a275-1d9bd61a968b"),
            "text/plain",
            "bc609b38-c81f-47fb-a275-1d9bd61a968b",
        ),
        ("onfleet", get("check=9zqMxI79mRcHpXE111nILiPn"), "text/plain", "9zqMxI79mRcHpXE111nILiPn"),
        ("worldline", get("").header("X-GCS-Webhooks-Endpoint-Verification", "5e7c-a1"), "text/plain", "5e7c-a1"),
        ("meta", meta("subscribe", OLD_SECRET), "text/plain", "1158201444"),
        ("twitch", twitch(), "text/plain", "pogchamp-kappa-360noscope-vohiyo"),
        (
            "microsoft-graph",
            graph(),
            "text/plain",
            "Validation: Testing client application reachability for subscription Request-Id: 522a8e7e-096a",
        ),
        (
            "okta",
            get("")
                .header("X-Okta-Verification-Challenge", "Me_rShK8JHsTnbyYrWXCEoMGbM_zsZ6k0hLPZ_Pg")
                .header("Authorization", "my-shared-secret"),
            "application/json",
            r#"{"verification":"Me_rShK8JHsTnbyYrWXCEoMGbM_zsZ6k0hLPZ_Pg"}"#,
        ),
        (
            "monday",
            Delivery::unsigned(r#"{ "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" }"#),
            "application/json",
            r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#,
        ),
        ("slack", slack(SLACK), "text/plain", "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"),
        (
            "zoom",
            zoom(ZOOM),
            "application/json",
            r#"{"encryptedToken":"814ff518dbae959ec3bcd68269e26c78c77b2ceb2cd15eacb388fd74d2c74bf1","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#,
        ),
        (
            "x",
            get("crc_token=challenge_string&nonce=n"),
            "application/json",
            r#"{"response_token":"sha256=fY2uyjYu32yAU1V2eBOYbhB3DmgzGdPcFptwTbHBowQ="}"#,
        ),
        (
            "linkedin",
            get("challengeCode=890e4665-4dfe-4ab1-b689-ed553bceeed0"),
            "application/json",
            r#"{"challengeCode":"890e4665-4dfe-4ab1-b689-ed553bceeed0","challengeResponse":"2a1c367ad88a60d353b24b980a828387d09d33a87131d9d01a82400bc90b89dc"}"#,
        ),
        (
            "event-grid",
            event_grid(),
            "application/json",
            r#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#,
        ),
    ]
}

/// Challenges that are answered in a header: the scheme, how they come, with which header, and the answer's.
pub const IN_HEADERS: [(&str, &str, &str, &str, &str); 4] = [
    ("event-grid", "OPTIONS", "WebHook-Request-Origin", "webhook-allowed-origin", "eventgrid.azure.net"),
    (
        "asana",
        "POST",
        "X-Hook-Secret",
        "x-hook-secret",
        "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81",
    ),
    (
        "smartsheet",
        "POST",
        "Smartsheet-Hook-Challenge",
        "smartsheet-hook-response",
        "d78dd1d3-01ce-4481-81de-92b4f3aa5ab1",
    ),
    ("adobe-sign", "GET", "X-AdobeSign-ClientId", "x-adobesign-clientid", SECRET),
];

/// Providers that only check whether the endpoint answers.
pub const BY_HEAD: [&str; 3] = ["intercom", "mandrill", "trello"];
