//! Headers of a request that count only where they are there once: two programs could take another one of several.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};

/// The value of a header that the request has exactly once.
pub(super) fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value.as_bytes().trim_ascii()) }
}

/// Whether the one `Content-Type` names this media type.
pub(super) fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let media_type = sole(headers, &CONTENT_TYPE).and_then(|value| value.split(|byte| *byte == b';').next());
    media_type.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}
