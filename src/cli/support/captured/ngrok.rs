//! What ngrok's agent answers at `/api/requests/http` and `/api/requests/http/ID`
//! (<https://ngrok.com/docs/agent/api/#list-captured-requests>): the bytes of head and body, in base64. The agent keeps only
//! the beginning of a long body.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::draft::Draft;
use super::pick::{Candidate, pick};
use super::{Context, Format, Lost, raw, requests};

#[derive(Deserialize)]
struct Page {
    requests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    start: Option<String>,
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    method: String,
    raw: String,
}

/// Reads a request that the agent has recorded.
///
/// # Errors
/// What is missing in the file.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let entries: Vec<Entry> = requests(file, Format::Ngrok, |page: Page| page.requests)?;
    let candidates =
        entries.iter().map(|entry| Candidate { method: &entry.request.method, at: entry.start.as_deref() });
    let (at, note) = pick(candidates, context.entry)?;
    let text = entries.get(at).map(|entry| entry.request.raw.trim()).unwrap_or_default();
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|_| "is of ngrok's agent, and the raw request in it is not base64".to_owned())?;
    let mut draft = raw::read(&bytes, context)?;
    if let Some(missing) = draft.cut_short.take() {
        draft.lost = Some(Lost::Bytes(format!("ngrok keeps only the beginning of a long body: {missing}")));
    }
    draft.notes.extend(note);
    Ok(draft)
}
