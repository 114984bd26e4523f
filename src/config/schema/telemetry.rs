//! The schema of `telemetry`.

use serde_json::{Value, json};

use super::kinds::{duration, map, put, set_default, share, text, word};
use super::route::client_tls;
use super::secret::source;
use crate::config::telemetry as of;

pub(super) fn telemetry() -> Value {
    let mut endpoint = text(
        "The collector's URL. Most collectors accept traces at port 4318, path /v1/traces.",
        "^[Hh][Tt][Tt][Pp][Ss]?://[^/]+/.+",
    );
    put(&mut endpoint, "examples", json!(["http://127.0.0.1:4318/v1/traces"]));
    let mut sample = share("The share of deliveries that are traced.");
    set_default(&mut sample, json!("100%"));
    let mut service_name = text("The gateway's service.name in traces.", "^[^\\x00-\\x1f]{1,128}$");
    set_default(&mut service_name, json!(of::DEFAULT_SERVICE_NAME));
    let mut headers =
        json!({ "description": "Headers for the collector, each with the place of its value.", "type": "object" });
    put(&mut headers, "additionalProperties", source("The place of the header's value."));
    let words = of::CONTEXTS.map(|(word, _)| word);
    let context_from = "Whose traceparent a trace continues. Only trusted proxies decide what is sampled.";
    let otlp = map(
        "Traces by OTLP: HTTP with protobuf.",
        &["endpoint"],
        [
            ("endpoint", endpoint),
            ("headers", headers),
            ("tls", client_tls("the collector's")),
            (
                "timeout",
                duration("Time for the collector to accept spans, all attempts together.", Some(of::DEFAULT_TIMEOUT)),
            ),
            ("sample", sample),
            ("service_name", service_name),
            ("context_from", word(context_from, &words, of::ContextFrom::default().as_str())),
        ],
    );
    map("Traces. Default: none.", &[], [("otlp", otlp)])
}
