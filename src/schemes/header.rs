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
        let entries = split(sole(headers, name)?, &field.separator);
        let value = |entry: &'a [u8]| entry.strip_prefix(field.key.as_bytes())?.strip_prefix(field.assign.as_bytes());
        let mut values = entries.filter_map(value);
        values.next().filter(|_| values.next().is_none())
    })
}

/// The entries of a value, which one of these characters ends; none: the value is one entry.
pub(super) fn split<'v>(value: &'v [u8], separator: &str) -> impl Iterator<Item = &'v [u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest.take()?;
        let end = match separator.as_bytes() {
            [one] => memchr::memchr(*one, value),
            any => value.iter().position(|byte| any.contains(byte)),
        };
        let entry = end.and_then(|end| value.split_at_checked(end)).map_or(value, |(entry, after)| {
            rest = after.get(1..);
            entry
        });
        Some(entry.trim_ascii())
    })
}

/// Whether the one `Content-Type` names this media type.
pub(super) fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let media_type = sole(headers, &CONTENT_TYPE).and_then(|value| value.split(|byte| *byte == b';').next());
    media_type.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}
