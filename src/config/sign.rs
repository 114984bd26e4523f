//! `sign` of a route: the secrets with which the gateway signs what it sends to the handler, by Standard Webhooks.
//!
//! Refused, in addition to the errors of each reader: 1. an empty list of secrets; 2. a secret that is not base64, after
//! `whsec_` or alone; 3. a scheme that reads the headers which the signature replaces.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderName;

use super::reader::{Field, Section, all};
use super::secret::{explain_key, read_required};
use super::sources::Context;
use crate::schemes::{Secret, Verifier};

/// The headers of Standard Webhooks.
pub const SIGN_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("webhook-timestamp"),
    HeaderName::from_static("webhook-signature"),
];

/// The same as Standard Webhooks' libraries take, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How deliveries are signed for the handler.
#[derive(Debug, Clone)]
pub struct Sign {
    /// The keys of HMAC-SHA256, decoded; at least one, none empty. Each attempt carries one signature a key.
    pub secrets: Vec<Secret>,
}

/// Reads the key; `Some(None)` if it is left out.
pub(super) fn read(section: &mut Section<'_>, context: Context<'_>) -> Option<Option<Sign>> {
    section.optional("sign", None, |field| {
        let mut section = field.section()?;
        let secrets = section.required("secrets", |field| {
            all(field.list()?.iter().map(|entry| decoded(entry, &read_required(entry, context)?)))
        });
        section.finish(explain_key);
        Some(Some(Sign { secrets: secrets? }))
    })
}

fn decoded(entry: &Field<'_>, secret: &Secret) -> Option<Secret> {
    let text = secret.expose();
    let key = BASE64.decode(text.strip_prefix(b"whsec_").unwrap_or(text)).ok().filter(|key| !key.is_empty());
    if key.is_none() {
        entry.error("the secret must be base64, with or without whsec_ before it");
    }
    key.map(Secret::from)
}

/// Reports an error if the scheme reads the headers that the signature replaces.
pub(super) fn check(route: &Field<'_>, scheme: &str, verifier: &Verifier) -> Option<()> {
    let taken = SIGN_HEADERS.into_iter().find(|name| verifier.reads_header(name));
    if let Some(name) = &taken {
        let text = format!("the scheme {scheme} reads the header {name}, which sign replaces: remove sign");
        route.error_below("sign", text);
    }
    if taken.is_none() { Some(()) } else { None }
}
