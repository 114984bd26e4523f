//! What webhook.site answers at `/token/ID/requests` and `/token/ID/request/ID`
//! (<https://docs.webhook.site/api/requests.html>), and its export as JSON: the body is the text `content`, and its `size` is
//! told. The fields and files of `multipart/form-data` are kept apart, and the body is not.
//!
//! The request went to webhook.site's address. It is judged as if it had gone to the route.

use serde::Deserialize;

use super::draft::{Draft, with_query_of};
use super::fields::Fields;
use super::pick::{Candidate, pick};
use super::{Context, Format, requests};

#[derive(Deserialize)]
struct Page {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// An e-mail or a DNS query has none.
    method: Option<String>,
    url: Option<String>,
    content: Option<String>,
    #[serde(default)]
    headers: Fields,
    size: Option<u64>,
    created_at: Option<String>,
}

/// Reads a request that webhook.site has recorded.
///
/// # Errors
/// What is missing in the file.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let mut entries: Vec<Entry> = requests(file, Format::WebhookSite, |page: Page| page.data)?;
    let candidates = entries.iter().map(|entry| Candidate {
        method: entry.method.as_deref().unwrap_or_default(),
        at: entry.created_at.as_deref(),
    });
    let (at, note) = pick(candidates, context.entry)?;
    let Entry { method, url, content, headers, size, .. } = entries.swap_remove(at);
    let Some(method) = method else {
        return Err("is of webhook.site, and what was to be taken from it is no HTTP request".to_owned());
    };
    let target = with_query_of(context.path, &url.unwrap_or_default());
    let body = content.unwrap_or_default().into_bytes();
    let mut draft = Draft::described(&method, &target, headers.pairs(), body);
    draft.set_host(context.host);
    draft.compare_length(size);
    draft.notes.extend(note);
    draft.notes.push("it went to webhook.site, and is judged as if it had gone to the route".to_owned());
    Ok(draft)
}
