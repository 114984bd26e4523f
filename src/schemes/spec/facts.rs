//! Facts about a provider for people, and the deliveries that prove its scheme.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::words::{Pointer, header_name};
use crate::schemes::error::VerifyError;

/// How well the signature facts of a scheme are founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The provider's documentation says so.
    Documented,
    /// The provider's own library, server or sample code does so.
    Sdk,
    /// Several receivers agree; no word of the provider's was found.
    SecondHand,
}

/// A comparison of a scheme with its source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// The day: `2026-11-28`.
    pub on: String,
    /// What it was compared with: a library and its version, or a page.
    pub against: String,
}

/// Who makes the secret of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretFrom {
    /// The provider, who shows it.
    #[default]
    Provider,
    /// The user, who enters it at the provider.
    User,
}

/// Where a fact about the event stands, and whether it can be believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Where it stands.
    #[serde(rename = "where")]
    pub place: Place,
    /// Whether the signature covers it. Otherwise anyone who sends a captured delivery again can choose it.
    pub signed: bool,
}

/// A place in a delivery.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// `{ header: NAME }`.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
    /// `{ json: /POINTER }`.
    Json(Pointer),
    /// `{ form: NAME }`.
    Form(String),
    /// `{ query: NAME }`.
    Query(String),
    /// `{ claim: NAME }`: of the token.
    Claim(String),
}

/// A delivery as the provider sends it, without the signature.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The query, without `?`.
    #[serde(default)]
    pub query: Option<String>,
    /// The headers that the provider sends, without the signature's.
    #[serde(default)]
    pub headers: Headers,
    /// The body.
    #[serde(default)]
    pub body: String,
}

/// A request method.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MethodName(pub Method);

impl Default for MethodName {
    fn default() -> Self {
        Self(Method::POST)
    }
}

impl TryFrom<String> for MethodName {
    type Error = http::method::InvalidMethod;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Method::from_bytes(name.as_bytes()).map(Self)
    }
}

/// A delivery with a known verdict.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// The source: an address, or `derived` with the origin.
    pub source: String,
    /// What the vector is about.
    #[serde(default)]
    pub note: Option<String>,
    /// The secret, a public test value.
    pub secret: String,
    /// The options of the route: `public_url`, parameters.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The method. Default `POST`.
    #[serde(default)]
    pub method: MethodName,
    /// The request's path and query. Default `/`.
    #[serde(default)]
    pub target: Option<String>,
    /// The headers that matter.
    pub headers: Headers,
    /// The body.
    pub body: String,
    /// The time of the gateway's clock, in seconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub now_unix: u64,
    /// Whether the delivery is to be accepted.
    pub accept: bool,
    /// Why it is refused, if it is.
    #[serde(default)]
    pub reason: Option<VerifyError>,
}

/// Headers in the order of the file. A name may be there twice.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// The headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The headers as a request carries them.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            map.append(name, value.clone());
        }
        map
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Headers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("header names with their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut lines = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    let name = name.parse::<HeaderName>().map_err(A::Error::custom)?;
                    lines.push((name, HeaderValue::from_bytes(value.as_bytes()).map_err(A::Error::custom)?));
                }
                Ok(Headers(lines))
            }
        }
        deserializer.deserialize_map(Lines)
    }
}
