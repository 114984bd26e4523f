//! Fields of `multipart/form-data` (RFC 7578), in a body that is complete.
//!
//! Parsers differ in what they forgive, and a handler behind the gateway uses another one. So a body that two parsers could
//! take apart differently has no fields here:
//!
//! 1. a content type without a boundary, or with two;
//! 2. a body that does not begin with the boundary, does not end with the closing one, or has the boundary anywhere but
//!    between two lines of its own;
//! 3. a part without exactly one `Content-Disposition` of `form-data` with exactly one `name`, or with a folded or broken
//!    header line;
//! 4. more than [`MOST_PARTS`] parts, or a part whose headers have more than [`LONGEST_HEAD`] bytes.
//!
//! A part with a file name, or with a transfer encoding that changes its bytes, is never the text of a field. A field that
//! is there twice is reported as such.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

use super::fields::Found;
use super::header::{has_media_type, sole};
use super::payload::{self, Kind};
use super::spec::MultipartField;

/// The most parts of a body: a mail can have many attachments.
const MOST_PARTS: usize = 1000;
/// The most bytes of the headers of one part.
const LONGEST_HEAD: usize = 8192;
/// The most bytes of a boundary (RFC 2046 section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// One part of a body.
struct Part<'a> {
    /// Its headers and the empty line after them.
    head: &'a [u8],
    name: &'a [u8],
    /// Its bytes.
    bytes: &'a [u8],
    /// Whether its bytes are the text of a field.
    is_text: bool,
}

/// Whether the head calls the body a form in parts.
pub(super) fn is_said(headers: &HeaderMap) -> bool {
    has_media_type(headers, "multipart/form-data")
}

/// Whether the body has fields.
pub(super) fn is_readable(headers: &HeaderMap, body: &[u8]) -> bool {
    read(headers, body).is_some()
}

/// The value of a field.
pub(super) fn find<'a>(headers: &HeaderMap, body: &'a [u8], field: &MultipartField) -> Found<'a> {
    let Some((_, parts)) = read(headers, body) else { return Found::Nothing };
    let mut values = parts.iter().filter(|part| part.name == field.name.as_bytes());
    let Some(first) = values.next() else { return Found::Nothing };
    let text = |part: &Part<'a>| part.is_text.then_some(part.bytes);
    match (values.next_back(), &field.json) {
        (Some(last), _) => Found::Repeated { first: text(first).map(Into::into), last: text(last).map(Into::into) },
        (None, None) => Found::Once(text(first).map(Into::into)),
        (None, Some(pointer)) => match text(first) {
            Some(json) => payload::find(json, pointer, Kind::Scalar),
            None => Found::Once(None),
        },
    }
}

/// The same body with another value in this field, which `change` makes of the old one; a field that was not there is the
/// first. `None` if the body has no fields, or `change` makes nothing.
pub(super) fn with(
    headers: &HeaderMap,
    body: &[u8],
    name: &str,
    change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let (delimiter, parts) = read(headers, body)?;
    // A repeated field is refused.
    if parts.iter().filter(|part| part.name == name.as_bytes()).count() > 1 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    let mut put = |head: &[u8], bytes: &[u8]| {
        for piece in [&delimiter, &b"\r\n"[..], head, bytes, b"\r\n"] {
            out.extend_from_slice(piece);
        }
    };
    if !parts.iter().any(|part| part.name == name.as_bytes()) {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        put(head.as_bytes(), &change(None)?);
    }
    for part in &parts {
        if part.name == name.as_bytes() {
            put(part.head, &change(Some(part.bytes))?);
        } else {
            put(part.head, part.bytes);
        }
    }
    out.extend_from_slice(&delimiter);
    out.extend_from_slice(b"--\r\n");
    Some(out)
}

/// The delimiter, which is two hyphens and the boundary, and the parts.
fn read<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<(Vec<u8>, Vec<Part<'a>>)> {
    let delimiter = [b"--", boundary(sole(headers, &CONTENT_TYPE)?)?].concat();
    let finder = memmem::Finder::new(&delimiter);
    let mut parts = Vec::new();
    let mut rest = body.strip_prefix(delimiter.as_slice())?;
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return (end.is_empty() || end == b"\r\n").then_some((delimiter, parts));
        }
        let begin = rest.strip_prefix(b"\r\n")?;
        let (part, after) = begin.split_at_checked(finder.find(begin)?)?;
        if parts.len() == MOST_PARTS {
            return None;
        }
        parts.push(Part::read(part.strip_suffix(b"\r\n")?)?);
        rest = after.get(delimiter.len()..)?;
    }
}

/// The boundary in the value of a `Content-Type`.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let mut parameters = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_form = parameters.next()?.eq_ignore_ascii_case(b"multipart/form-data");
    let mut found = None;
    for parameter in parameters {
        let (name, value) = halves(parameter, b'=')?;
        let quoted = value.strip_prefix(b"\"").map(|value| value.strip_suffix(b"\""));
        let value = quoted.unwrap_or(Some(value))?;
        if name.eq_ignore_ascii_case(b"charset")
            && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        {
            continue;
        }
        // Some parsers take a boundary out of other parameters too, for instance of `boundary*`, or of any that has the
        // word in it.
        if !name.eq_ignore_ascii_case(b"boundary") {
            return None;
        }
        // PHP takes a comma for the end.
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_-./:=?".contains(byte);
        let right = (1..=LONGEST_BOUNDARY).contains(&value.len()) && value.iter().all(plain);
        if found.replace(value).is_some() || !right {
            return None;
        }
    }
    found.filter(|_| is_form)
}

impl<'a> Part<'a> {
    fn read(part: &'a [u8]) -> Option<Self> {
        let end = memmem::find(part, b"\r\n\r\n").filter(|end| *end <= LONGEST_HEAD)?;
        let (lines, _) = part.split_at_checked(end)?;
        let (head, bytes) = part.split_at_checked(end + 4)?;
        let mut disposition = None;
        let mut is_text = true;
        let mut rest = Some(lines);
        while let Some(lines) = rest {
            let line;
            (line, rest) = match memmem::find(lines, b"\r\n") {
                Some(at) => (lines.get(..at)?, Some(lines.get(at + 2..)?)),
                None => (lines, None),
            };
            let (name, value) = halves(line, b':')?;
            if !is_token(name) || line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return None;
            }
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(Disposition::read(value.trim_ascii())?).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let unchanged = ["7bit", "8bit", "binary"];
                is_text &= unchanged.iter().any(|known| value.trim_ascii().eq_ignore_ascii_case(known.as_bytes()));
            }
        }
        let Disposition { name, is_file } = disposition?;
        Some(Self { head, name, bytes, is_text: is_text && !is_file })
    }
}

/// The value of a `Content-Disposition`.
struct Disposition<'a> {
    name: &'a [u8],
    is_file: bool,
}

impl<'a> Disposition<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let (kind, mut rest) = halves(value, b';')?;
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let (mut name, mut is_file) = (None, false);
        loop {
            let (key, value) = halves(rest, b'=')?;
            // White space is allowed before the name alone (RFC 9110 section 5.6.6).
            let key = key.trim_ascii_start();
            let (value, after) = quoted_or_token(value)?;
            if key.eq_ignore_ascii_case(b"name") {
                // PHP leaves out blanks at the beginning.
                if value.contains(&b'\\') || value.starts_with(b" ") || name.replace(value).is_some() {
                    return None;
                }
            } else if key.eq_ignore_ascii_case(b"filename") || key.eq_ignore_ascii_case(b"filename*") {
                is_file = true;
            } else if !is_token(key) || key.contains(&b'*') {
                // `name*` and `name*0` (RFC 2231) are other names to some parsers.
                return None;
            }
            match after.trim_ascii() {
                [] => return Some(Self { name: name?, is_file }),
                [b';', more @ ..] => rest = more,
                _ => return None,
            }
        }
    }
}

/// A parameter's value, and what follows it. A quoted one may have a quote in it, behind a backslash, if no further
/// parameter follows: a parser that knows no backslash would take one out of the quotes.
fn quoted_or_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end)?;
        let value = value.trim_ascii_end();
        return is_token(value).then_some((value, after));
    };
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()?),
            b'"' => {
                let value = quoted.get(..at)?;
                let escapes = memmem::find(value, b"\\\"").or_else(|| value.ends_with(b"\\").then_some(at));
                let ambiguous = escapes.is_some_and(|from| quoted.get(from..).is_some_and(|rest| rest.contains(&b';')));
                return (!ambiguous).then_some((value, quoted.get(at + 1..)?));
            }
            _ => {}
        }
    }
    None
}

/// What stands before the first such byte, and after it.
fn halves(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = text.split_at_checked(memchr::memchr(at, text)?)?;
    Some((before, after.get(1..)?))
}

/// Whether this is a token (RFC 9110 section 5.6.2).
fn is_token(text: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_letter)
}

#[cfg(test)]
mod tests;
