//! HAR 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>), which browsers and proxies read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::url;
use crate::admin::api::detail::Found;
use crate::admin::api::recorded::{self, RecordedRequest};
use crate::queue::attempt::rfc3339;
use crate::store::received_at;

/// A log with the request as its only entry. The response is the status that the sender got.
pub fn har(found: &Found, request: &RecordedRequest, body: &[u8]) -> Vec<u8> {
    let delivery = &found.stored.delivery;
    let time = delivery.duration_ms.unwrap_or_default();
    let header = |name: &str, value: &[u8]| json!({ "name": name, "value": recorded::text(value) });
    let host = request.host().map(|host| header("host", host.as_bytes()));
    let headers = host.into_iter().chain(request.sendable().map(|field| header(&field.name, &field.value)));
    let entry = json!({
        "startedDateTime": rfc3339(received_at(delivery.id)),
        "time": time,
        "request": {
            "method": request.method,
            "url": url(request),
            "httpVersion": request.version,
            "cookies": [],
            "headers": headers.collect::<Vec<_>>(),
            "queryString": parameters(&request.target),
            "postData": post_data(request, body),
            "headersSize": -1,
            "bodySize": super::length(found, body),
        },
        "response": {
            "status": delivery.status.unwrap_or_default(),
            "statusText": "",
            "httpVersion": request.version,
            "cookies": [],
            "headers": [],
            "content": { "size": 0, "mimeType": "" },
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": { "send": 0, "wait": time, "receive": 0 },
    });
    let log = json!({
        "log": {
            "version": "1.2",
            "creator": { "name": "hooklatch", "version": crate::VERSION },
            "entries": [entry],
        },
    });
    log.to_string().into_bytes()
}

fn parameters(target: &str) -> Vec<Value> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let decode =
        |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            json!({ "name": decode(name), "value": decode(value) })
        })
        .collect()
}

/// The body. HAR has no bytes that are not text: they are in base64, and `encoding` says so, as in a response's content.
fn post_data(request: &RecordedRequest, body: &[u8]) -> Value {
    let kind = request.sendable().find(|field| field.name.eq_ignore_ascii_case("content-type"));
    let mut data = Map::new();
    data.insert("mimeType".to_owned(), kind.map_or_else(String::new, |field| recorded::text(&field.value)).into());
    data.insert("params".to_owned(), json!([]));
    match std::str::from_utf8(body) {
        Ok(text) => drop(data.insert("text".to_owned(), text.into())),
        Err(_) => {
            data.insert("text".to_owned(), STANDARD.encode(body).into());
            data.insert("encoding".to_owned(), "base64".into());
        }
    }
    Value::Object(data)
}
