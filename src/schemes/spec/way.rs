//! A way to sign with all of its words.

use serde::Deserialize;

use super::algorithm::{Algorithm, ClaimValue, SecretStep};
use super::content::{Form, ListOfNames, ListedHeaders, Part, Requirement, TimeLocation, Timestamp};
use super::facts::Place;
use super::faults::{SpecError, SpecFault};
use super::signature::{ListField, Location, Signature};
use super::words::OneOrMany;

/// One complete way to sign.
#[derive(Clone, Debug)]
pub(in crate::schemes) struct Way {
    pub(in crate::schemes) signature: Signature,
    pub(in crate::schemes) algorithm: Algorithm,
    pub(in crate::schemes) secret: OneOrMany<SecretStep>,
    pub(in crate::schemes) timestamp: Option<Timestamp>,
    /// In the order of the file; empty for tokens.
    pub(in crate::schemes) forms: Vec<Form>,
    /// Where the provider's own id of the event stands in a delivery that is signed in this way.
    pub(in crate::schemes) event_id: Option<Place>,
}

/// An entry of `ways`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    #[serde(default)]
    pub(super) signature: Option<Signature>,
    #[serde(default)]
    pub(super) algorithm: Option<Algorithm>,
    #[serde(default)]
    pub(super) secret: Option<OneOrMany<SecretStep>>,
    #[serde(default)]
    pub(super) timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(super) forms: Option<Vec<Form>>,
    #[serde(default)]
    pub(super) event_id: Option<Place>,
}

impl Override {
    pub(super) const NONE: Self =
        Self { signature: None, algorithm: None, secret: None, timestamp: None, forms: None, event_id: None };

    pub(super) fn complete(&self, base: &Self, at: &str) -> Result<Way, SpecError> {
        fn pick<T: Clone>(own: &Option<T>, base: &Option<T>) -> Option<T> {
            own.clone().or_else(|| base.clone())
        }
        let signature = pick(&self.signature, &base.signature);
        let algorithm = pick(&self.algorithm, &base.algorithm);
        let secret = pick(&self.secret, &base.secret);
        let missing =
            [("signature", signature.is_none()), ("algorithm", algorithm.is_none()), ("secret", secret.is_none())];
        let missing = missing
            .iter()
            .filter(|(_, missing)| *missing)
            .map(|(key, _)| SpecFault { path: format!("{at}{key}"), message: "is missing".to_owned() });
        let missing: Vec<_> = missing.collect();
        match (signature, algorithm, secret) {
            (Some(signature), Some(algorithm), Some(secret)) => Ok(Way {
                signature,
                algorithm,
                secret,
                timestamp: pick(&self.timestamp, &base.timestamp),
                forms: pick(&self.forms, &base.forms).unwrap_or_default(),
                event_id: pick(&self.event_id, &base.event_id),
            }),
            _ => Err(SpecError(missing)),
        }
    }
}

impl Way {
    /// Whether the signature covers the public URL.
    pub(in crate::schemes) fn needs_public_url(&self) -> bool {
        let in_form = self.forms.iter().any(|form| form.content.iter().any(Part::needs_public_url));
        in_form || matches!(&self.algorithm, Algorithm::Jwt(jwt) if jwt.claims.iter().any(|rule| rule.is.is_url()))
    }

    /// Whether the signature stands in the body.
    pub(in crate::schemes) fn is_in_body(&self) -> bool {
        matches!(self.signature.at, Location::Form(_) | Location::Multipart(_) | Location::Json(_) | Location::Body)
    }
}

impl Timestamp {
    /// Whether the time stands in a field of the body.
    pub(in crate::schemes) fn is_in_body(&self) -> bool {
        matches!(self.at, TimeLocation::Form(_) | TimeLocation::Multipart(_) | TimeLocation::Json(_))
    }
}

impl Part {
    /// Whether this is the public URL, or a piece of it.
    pub(in crate::schemes) fn needs_public_url(&self) -> bool {
        match self {
            Self::Url | Self::UrlUnescaped(_) | Self::UrlWithoutQuery => true,
            Self::Optional(parts) => parts.iter().any(Self::needs_public_url),
            _ => false,
        }
    }

    /// Whether all of the query is in it.
    pub(super) fn has_query(&self) -> bool {
        matches!(
            self,
            Self::Url | Self::UrlUnescaped(_) | Self::PathAndQuery | Self::SortedQuery | Self::EscapedQuery(_)
        )
    }

    /// The field of the signature's list that this part reads.
    pub(super) fn list_field(&self) -> Option<&ListField> {
        match self {
            Self::Field(field) | Self::ListedHeaders(ListedHeaders { list: ListOfNames::Field(field), .. }) => {
                Some(field)
            }
            _ => None,
        }
    }

    /// Whether any part here, or within one, is such.
    pub(in crate::schemes) fn any(parts: &[Self], such: &impl Fn(&Self) -> bool) -> bool {
        parts.iter().any(|part| {
            such(part)
                || match part {
                    Self::Optional(parts) => Self::any(parts, such),
                    _ => false,
                }
        })
    }
}

impl Algorithm {
    /// Whether a token, which has no form, covers the value at a place.
    pub(in crate::schemes) fn covers(&self, place: &Place) -> bool {
        let Self::Jwt(jwt) = self else { return false };
        match place {
            Place::Claim(_) => true,
            Place::Json(_) | Place::Form(_) => jwt.ties_body(),
            Place::Query(_) => jwt.claims.iter().any(|rule| rule.is.is_url()),
            Place::Header(_) => false,
        }
    }
}

impl ClaimValue {
    fn is_url(&self) -> bool {
        matches!(self, Self::Url | Self::UrlDigest(_))
    }
}

impl Way {
    /// Whether the value at a place cannot change without the signature of this form changing.
    ///
    /// Of a payload that is signed in place of the body it is the payload's value that cannot change.
    pub(in crate::schemes) fn covers(&self, form: &Form, place: &Place) -> bool {
        let is_value = |part: &Part| match (place, part) {
            (Place::Header(name), Part::Header(own)) => own == name,
            (Place::Header(name), Part::ListedHeaders(listed)) => listed.require.contains(name),
            (Place::Json(pointer), Part::Json(own) | Part::JsonValue(own) | Part::JsonOrEmpty(own)) => own == pointer,
            (Place::Form(name), Part::Form(own)) | (Place::Query(name), Part::Query(own)) => own == name,
            (Place::Query(_), part) => part.has_query(),
            _ => false,
        };
        // An optional group is left out as a whole, if one of its parts is not there.
        let covers = |part: &Part| match part {
            Part::Optional(parts) => {
                let is_text = |part: &Part| matches!(part, Part::Text(_));
                parts.iter().any(is_value) && parts.iter().all(|part| is_value(part) || is_text(part))
            }
            part => is_value(part),
        };
        let in_body = matches!(place, Place::Json(_) | Place::Form(_));
        form.content.iter().any(covers) || (in_body && self.covers_body(form))
    }

    /// Whether the body cannot change without the signature of this form changing.
    pub(in crate::schemes) fn covers_body(&self, form: &Form) -> bool {
        let is_signature = |field: &String| matches!(&self.signature.at, Location::Form(name) if name == field);
        let is_content =
            |field: &String| Part::any(&form.content, &|part| matches!(part, Part::Form(name) if name == field));
        let whole =
            |part: &Part| matches!(part, Part::Body | Part::UncompressedBody | Part::Digest(_) | Part::SortedForm(_));
        let tied = form.requires.iter().any(|requirement| match requirement {
            Requirement::EmptyBody => true,
            Requirement::FormFields(fields) => fields.iter().all(|field| is_signature(field) || is_content(field)),
            Requirement::QueryDigest { .. } => form.content.iter().any(Part::has_query),
            _ => false,
        });
        form.content.iter().any(whole) || tied || form.payload.is_some()
    }
}
