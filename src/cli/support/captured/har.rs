//! HAR: the HTTP Archive format 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>), as browsers, mitmproxy, Charles and
//! others export it.
//!
//! It has the body as text (`request.postData.text`). Some programs write it as base64, with `encoding`, which the
//! specification has for responses only. The text is compared with `Content-Length` or `bodySize`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::draft::{Draft, split_url};
use super::pick::{Candidate, pick};
use super::{Context, Format, Lost, requests};

#[derive(Deserialize)]
struct File {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "startedDateTime")]
    started: Option<String>,
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Pair>,
    #[serde(rename = "postData")]
    post_data: Option<PostData>,
    /// -1 if it is not known.
    #[serde(rename = "bodySize")]
    body_size: Option<f64>,
}

#[derive(Deserialize)]
struct Pair {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    text: Option<String>,
    #[serde(alias = "_encoding")]
    encoding: Option<String>,
    #[serde(default)]
    params: Vec<Pair>,
}

/// Reads the request of an entry.
///
/// # Errors
/// What is missing in the file.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let mut entries = requests(file, Format::Har, |file: File| file.log.entries)?;
    let candidates = entries
        .iter()
        .map(|Entry { started, request }: &Entry| Candidate { method: &request.method, at: started.as_deref() });
    let (at, note) = pick(candidates, context.entry)?;
    let Request { method, url, headers, post_data, body_size } = entries.swap_remove(at).request;
    let (body, lost) = body(post_data.as_ref())?;
    let exact = lost.is_none() && post_data.is_some_and(|data| data.encoding.is_some());
    let (host, target) = split_url(&url);
    let pairs = headers.iter().map(|Pair { name, value }| (name.as_str(), value.as_str()));
    let mut draft = Draft::described(&method, &target, pairs, body);
    draft.host_or(Some(host).filter(|host| !host.is_empty()));
    draft.lost = lost;
    draft.compare_length(match body_size {
        _ if exact => Some(draft.body.len() as u64),
        Some(size) if size >= 0.0 => Some(size as u64),
        _ => None,
    });
    draft.notes.extend(note);
    Ok(draft)
}

/// The bytes of a body, and what is lost of it.
fn body(data: Option<&PostData>) -> Result<(Vec<u8>, Option<Lost>), String> {
    let Some(data) = data else { return Ok((Vec::new(), None)) };
    match (&data.text, data.encoding.as_deref()) {
        (Some(text), Some(encoding)) if encoding.eq_ignore_ascii_case("base64") => {
            let bytes = BASE64_STANDARD.decode(text.trim());
            Ok((
                bytes.map_err(|_| {
                    "is a HAR file, and a body in it is not the base64 that it is said to be".to_owned()
                })?,
                None,
            ))
        }
        (Some(text), None) if !text.is_empty() || data.params.is_empty() => Ok((text.clone().into_bytes(), None)),
        (Some(_), Some(_)) => Err("is a HAR file, and a body in it has an encoding that is not known".to_owned()),
        _ => {
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let params: Vec<String> = data
                .params
                .iter()
                .map(|Pair { name, value }| format!("{}={}", encoded(name), encoded(value)))
                .collect();
            let lost = (!params.is_empty())
                .then(|| Lost::Bytes("the file has the fields of a form instead of its bytes".to_owned()));
            Ok((params.join("&").into_bytes(), lost))
        }
    }
}
