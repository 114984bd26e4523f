//! What Hookdeck answers at `/requests`, `/requests/ID`, `/events` and `/events/ID` (<https://hookdeck.com/docs/api>): the
//! object `data` has the path, the query, the headers and the body. A JSON body is kept parsed, so its white space and its
//! escapes are lost. The method is not kept, and lists have `data` only with `include=data`.
//!
//! The request went to Hookdeck's address. It is judged as if it had gone to the route.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::draft::Draft;
use super::fields::Fields;
use super::pick::{Candidate, pick};
use super::{Context, Format, Lost, requests};

#[derive(Deserialize)]
struct Page {
    models: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    data: Option<Data>,
    /// Of a request.
    ingested_at: Option<String>,
    /// Of an event.
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    query: Option<String>,
    #[serde(default)]
    headers: Fields,
    body: Option<Box<RawValue>>,
}

/// Reads a request that Hookdeck has recorded.
///
/// # Errors
/// What is missing in the file.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let mut entries: Vec<Entry> = requests(file, Format::Hookdeck, |page: Page| page.models)?;
    let candidates = entries.iter().map(|entry| Candidate {
        method: context.method,
        at: entry.ingested_at.as_deref().or(entry.created_at.as_deref()),
    });
    let (at, note) = pick(candidates, context.entry)?;
    let Some(data) = entries.swap_remove(at).data else {
        return Err("is of Hookdeck, and has no request: ask for it with include=data".to_owned());
    };
    let query = data.query.as_deref().unwrap_or_default().trim_start_matches('?');
    let target = if query.is_empty() { context.path.to_owned() } else { format!("{}?{query}", context.path) };
    let text = data.body.as_ref().map(|body| body.get()).filter(|text| *text != "null").unwrap_or_default();
    let as_text: Option<String> = serde_json::from_str(text).ok();
    let parsed = as_text.is_none() && !text.is_empty();
    let body = as_text.unwrap_or_else(|| without_white_space(text)).into_bytes();
    let mut draft = Draft::described(context.method, &target, data.headers.pairs(), body);
    draft.set_host(context.host);
    draft.lost = parsed.then(|| {
        Lost::Bytes(
            "Hookdeck keeps JSON parsed: it was read without white space, and its escapes may differ".to_owned(),
        )
    });
    draft.compare_length(None);
    draft.notes.extend(note);
    let words = "it went to Hookdeck, which does not keep the method, and is judged as if it had gone to the route";
    draft.notes.push(format!("{words} by {}", context.method));
    Ok(draft)
}

/// JSON without the white space between its values.
fn without_white_space(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keeps = |char: &char| {
        let keep = in_text || !char.is_ascii_whitespace();
        match (escaped, *char) {
            (true, _) => escaped = false,
            (false, '\\') => escaped = in_text,
            (false, '"') => in_text = !in_text,
            _ => {}
        }
        keep
    };
    json.chars().filter(keeps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_taken_out_between_values_only() {
        let json = "{\n  \"a b\": [1.0, \"c \\\" d\", {}],\t\"e\\\\\" : \" \"\r\n}";
        assert_eq!(without_white_space(json), r#"{"a b":[1.0,"c \" d",{}],"e\\":" "}"#);
    }
}
