//! Headers of a request that count only where they are there once: two programs could take another one of several.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};

use super::spec::ListField;

/// The value of a header that the request has exactly once.
pub(super) fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value.as_bytes().trim_ascii()) }
}

/// A field of a signature's list, in the first header in which it stands exactly once.
pub(super) fn field<'a>(field: &ListField, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    field.headers.iter().find_map(|name| {
        let entries = sole(headers, name)?.split(|byte| field.separator.as_bytes().contains(byte));
        let value = |entry: &'a [u8]| {
            entry.trim_ascii().strip_prefix(field.key.as_bytes())?.strip_prefix(field.assign.as_bytes())
        };
        let mut values = entries.filter_map(value);
        values.next().filter(|_| values.next().is_none())
    })
}

/// Whether the one `Content-Type` names this media type.
pub(super) fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let media_type = sole(headers, &CONTENT_TYPE).and_then(|value| value.split(|byte| *byte == b';').next());
    media_type.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}
