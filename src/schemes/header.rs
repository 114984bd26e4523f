//! Headers of a request that count only where they are there once: two programs could take another one of several.

use http::{HeaderMap, HeaderName};

/// The value of a header that the request has exactly once.
pub(super) fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value.as_bytes().trim_ascii()) }
}
