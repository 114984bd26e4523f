//! Signed payloads: a document within the body, which alone is signed, and its equality with the other fields.
//!
//! Some providers put a copy of the body into one key of the body and sign only that copy. Handlers read the other fields,
//! so a captured delivery could be sent again with changed fields under a valid signature. [`open`] therefore decodes the copy and [`equal::equal_but_for`] compares the two.
//!
//! Refused:
//!
//! 1. a body that is not exactly one JSON object in UTF-8 (RFC 8259: no byte order mark, nothing after it);
//! 2. a signed key that is missing, or whose value is empty or not a string;
//! 3. a repeated signed key, also if it is written with escapes: parsers differ in which value they use;
//! 4. a payload that is not strict base64 of a JSON object. A signature over another text was made for another
//!    purpose, for example over a whole body, and must not pass here;
//! 5. a body that differs from its payload, see [`equal`].
//!
//! Nothing is built from the body: it is scanned once for the signed key, and compared only under a right signature.

pub(super) mod equal;
mod find;
mod first;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

pub(super) use find::{Kind, find, find_every, find_raw};
pub(super) use first::find_first;

use super::spec::PayloadEncoding;

/// Whether the bytes are one JSON object.
pub(super) fn is_json_object(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let begins = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    begins && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether the bytes are one JSON text.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The payload of a signed text, if it is a JSON object.
pub(super) fn open(encoding: PayloadEncoding, signed: &[u8]) -> Option<Vec<u8>> {
    let payload = match encoding {
        PayloadEncoding::Base64 => STANDARD.decode(signed).ok()?,
    };
    is_json_object(&payload).then_some(payload)
}
