//! The conditions of a form in addition to a valid signature: its requirements, and a payload that equals the body.

use http::HeaderMap;

use super::content::{Body, Content, Given, joined};
use super::error::VerifyError;
use super::hash::hash;
use super::header::{has_media_type, sole};
use super::spec::{Form, Payload, PayloadEquals, Requirement};
use super::{codec, fields, payload};

/// Whether a request meets the requirements of a form that can be checked without parsing the body as JSON.
pub(super) fn meets(form: &Form, given: Given<'_>) -> Result<(), Refusal> {
    let met = form.requires.iter().all(|requirement| match requirement {
        Requirement::JsonObject | Requirement::Json => true,
        Requirement::Form => is_form(given.head.headers),
        Requirement::NotForm => !is_form(given.head.headers),
        Requirement::EmptyBody => given.body.is_empty(),
        Requirement::NoQuery => given.head.query.is_none_or(str::is_empty),
        Requirement::FormFields(names) => {
            let mut found = 0;
            let known = fields::pairs(given.body.bytes()).all(|(field, _)| {
                found += 1;
                names.iter().any(|name| *name.as_bytes() == *field)
            });
            let once = |name: &String| matches!(fields::find(given.body.bytes(), name), fields::Found::Once(_));
            known && found == names.len() && names.iter().all(once)
        }
        Requirement::Header { name, value } => {
            sole(given.head.headers, name).is_some_and(|found| found == value.as_bytes())
        }
        Requirement::QueryDigest { name, hash: function, encoding } => {
            let query = given.head.query.unwrap_or_default().as_bytes();
            let fields::Found::Once(Some(text)) = fields::find(query, name) else { return false };
            let digest = hash(*function, [given.body.bytes()]);
            codec::decode(&[*encoding], Some(function.len()), &text)
                .is_some_and(|said| said.as_bytes() == digest.as_bytes())
        }
    });
    if met { Ok(()) } else { Err(Refusal::Unmet) }
}

/// Whether the content type is that of a urlencoded form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    has_media_type(headers, "application/x-www-form-urlencoded")
}

/// Whether a right signature over this content proves anything about the body.
pub(super) fn accept(form: &Form, content: &Content<'_>, body: &Body<'_>, match_payload: bool) -> Result<(), Refusal> {
    if form.requires.contains(&Requirement::JsonObject) && !payload::is_json_object(body.bytes()) {
        return Err(Refusal::NoJsonObject);
    }
    if form.requires.contains(&Requirement::Json) && !payload::is_json(body.bytes()) {
        return Err(Refusal::NoJson);
    }
    let Some(Payload { key, encoding, equals }) = &form.payload else { return Ok(()) };
    let payload = payload::open(*encoding, &joined(content)).ok_or(Refusal::NoPayload)?;
    if match_payload {
        let PayloadEquals::BodyWithoutKey = equals;
        let equal = payload::equal::equal_but_for(body.bytes(), key, &payload);
        equal.then_some(()).ok_or(Refusal::Differs)?;
    }
    Ok(())
}

/// Why a form refuses a request although the signature is valid or could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The request does not meet a requirement of the form.
    #[error("the request is not what this form requires")]
    Unmet,
    /// The signed key is missing, or the body is not a JSON object.
    #[error("the body has no key with the text to sign")]
    Absent,
    /// The signed key is repeated.
    #[error("the key with the text to sign is repeated in the body")]
    Repeated,
    /// The body is not a JSON object, which the form requires.
    #[error("the body is not a JSON object")]
    NoJsonObject,
    /// The body is not JSON, which the form requires.
    #[error("the body is not JSON")]
    NoJson,
    /// The signed text does not decode to a JSON object.
    #[error("the text to sign does not decode to a JSON object")]
    NoPayload,
    /// The payload differs from the body.
    #[error("the payload in the text to sign differs from the body")]
    Differs,
    /// The content is a text that an answer to a challenge can sign.
    #[error("the text to sign is reserved for endpoint challenges")]
    Reserved,
}

impl Refusal {
    /// The reason for the refusal of a delivery with a valid signature.
    pub(super) fn reason(self) -> VerifyError {
        match self {
            // For a request that lacks what a form needs, the form does not exist.
            Self::Unmet | Self::Absent | Self::NoJsonObject | Self::NoJson | Self::Reserved => {
                VerifyError::SignatureMismatch
            }
            Self::Repeated | Self::NoPayload | Self::Differs => VerifyError::PayloadMismatch,
        }
    }
}
