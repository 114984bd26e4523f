//! The words about the content that a signature covers.

use http::HeaderName;
use serde::{Deserialize, Deserializer};

use super::algorithm::{DigestOf, Hash};
use super::signature::{Encoding, ListField};
use super::words::{MultipartField, OneOrMany, Pointer, header_name, header_names};

/// One form of signed content.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "FormWords")]
pub struct Form {
    /// The name that the option `signed_content` uses.
    pub name: String,
    /// The parts of the content, in order, with nothing between them.
    pub content: Vec<Part>,
    /// The conditions on the request for this form to apply. They separate two forms whose contents could be confused.
    pub requires: OneOrMany<Requirement>,
    /// The document in the signed content, if the content is one: a copy of the body in one of the body's keys.
    pub payload: Option<Payload>,
}

/// A form as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormWords {
    name: String,
    content: Vec<Part>,
    #[serde(default)]
    requires: OneOrMany<Requirement>,
    #[serde(default)]
    payload: Option<PayloadWords>,
}

impl TryFrom<FormWords> for Form {
    type Error = &'static str;

    fn try_from(words: FormWords) -> Result<Self, Self::Error> {
        let FormWords { name, content, requires, payload } = words;
        let payload = match (payload, content.as_slice()) {
            (None, _) => None,
            (Some(PayloadWords { encoding, equals }), [Part::Json(pointer)]) => {
                let key = pointer.root_key().ok_or(NO_PAYLOAD)?.to_owned();
                Some(Payload { key, encoding, equals })
            }
            (Some(_), _) => return Err(NO_PAYLOAD),
        };
        Ok(Self { name, content, requires, payload })
    }
}

const NO_PAYLOAD: &str = "a payload is the value of one JSON key at the root of the body, and the only content";

/// A part of the signed content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `body`: the bytes of the body as they came.
    Body,
    /// `uncompressed_body`: the body without its gzip (RFC 1952), if `Content-Encoding` says that it is gzip.
    UncompressedBody,
    /// The same, in at most so many bytes, as the route says.
    #[serde(skip)]
    UncompressedUpTo(usize),
    /// `timestamp`: the signed time, byte for byte as it was sent.
    Timestamp,
    /// `{ text: ":" }`: this text.
    Text(String),
    /// `secret`: the key; only where the algorithm is a plain hash.
    Secret,
    /// `{ parameter: NAME }`: the text of a route's parameter.
    Parameter(String),
    /// `{ header: NAME }`: a header's value, which must be there exactly once.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
    /// `{ field: h }`: another field of the signature's list, as it was sent.
    Field(ListField),
    /// `{ listed_headers: … }`: the headers that the request lists.
    ListedHeaders(ListedHeaders),
    /// `method`: the request's method.
    Method,
    /// `url`: the public URL as configured, with the request's query. Like each part with the URL, it is tried with the
    /// port and without it.
    Url,
    /// `{ url_unescaped: ":/" }`: the public URL with percent-escapes of these characters decoded.
    UrlUnescaped(String),
    /// `url_without_query`: the public URL without the query.
    UrlWithoutQuery,
    /// `path`: the request's path, raw.
    Path,
    /// `path_and_query`: the request's path and, if there is one, `?` and its query, raw.
    PathAndQuery,
    /// `sorted_query`: the parameters of the request's query, raw, sorted and joined by `&`.
    SortedQuery,
    /// `{ escaped_query: [NAME, …] }`: the parameters of the request's query, decoded, sorted by name, escaped as
    /// `encodeURIComponent` does (ECMA-262) and joined by `&`. A `+` in the parameters of these names means itself, elsewhere a
    /// space.
    EscapedQuery(Vec<String>),
    /// `{ query: NAME }`: a parameter of the query, decoded.
    Query(String),
    /// `{ query_lower: NAME }`: the same in lower case (ASCII).
    QueryLower(String),
    /// `{ form: NAME }`: a field of the body's form, decoded.
    Form(String),
    /// `{ multipart: NAME }`: a field of the body, which is `multipart/form-data`; `{ multipart: { field: NAME, json:
    /// /POINTER } }` a string or number of the JSON in that field.
    Multipart(MultipartField),
    /// `{ sorted_form: unique }`: name and value of every field of the body's form, decoded, sorted by name.
    SortedForm(SortedForm),
    /// `{ json: /POINTER }`: a string in the JSON body that is not empty, with its escapes resolved (RFC 8259 section 7).
    Json(Pointer),
    /// `{ json_value: /POINTER }`: the same, or a number, `true` or `false` by its text.
    JsonValue(Pointer),
    /// `{ json_or_empty: /POINTER }`: the same, or nothing if it is absent, `null` or an empty string.
    JsonOrEmpty(Pointer),
    /// `{ digest: { hash: sha256, encoding: hex } }`: the body's digest; `text` for its raw bytes.
    Digest(DigestOf),
    /// `{ optional: [PART, …] }`: these parts, if all of them are there; nothing otherwise.
    Optional(Vec<Part>),
}

/// Headers that the request itself lists.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ListedHeadersWords")]
pub struct ListedHeaders {
    /// Where the list of names stands.
    pub list: ListOfNames,
    /// What stands between two names.
    pub split: String,
    /// What stands between a name, in lower case, and its value in the content. Without it, values alone are signed.
    pub pair: Option<String>,
    /// What stands between two headers in the content.
    pub join: String,
    /// Headers that the list must name.
    pub require: Vec<HeaderName>,
}

/// Where a list of names of headers stands.
#[derive(Clone, Debug)]
pub enum ListOfNames {
    /// In a header.
    Header(HeaderName),
    /// In another field of the signature's list.
    Field(ListField),
}

/// Listed headers as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedHeadersWords {
    #[serde(default, rename = "in", deserialize_with = "some_header_name")]
    header: Option<HeaderName>,
    #[serde(default)]
    field: Option<ListField>,
    split: String,
    #[serde(default)]
    pair: Option<String>,
    join: String,
    #[serde(deserialize_with = "header_names")]
    require: Vec<HeaderName>,
}

impl TryFrom<ListedHeadersWords> for ListedHeaders {
    type Error = &'static str;

    fn try_from(words: ListedHeadersWords) -> Result<Self, Self::Error> {
        let ListedHeadersWords { header, field, split, pair, join, require } = words;
        let list = match (header, field) {
            (Some(name), None) => ListOfNames::Header(name),
            (None, Some(field)) => ListOfNames::Field(field),
            _ => return Err("listed_headers needs either `in` or `field`"),
        };
        Ok(Self { list, split, pair, join, require })
    }
}

fn some_header_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderName>, D::Error> {
    header_name(deserializer).map(Some)
}

/// How a form's fields are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortedForm {
    /// Values of one name are sorted, and the same value counts once.
    Unique,
    /// Values of one name are sorted.
    All,
    /// Values of one name stay in their order.
    Stable,
}

/// A condition on a request for a form to apply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// `json_object`: the body is one JSON text in UTF-8 (RFC 8259), whose value is an object.
    JsonObject,
    /// `json`: the body is one JSON text in UTF-8, whatever its value.
    Json,
    /// `form`: the content type is `application/x-www-form-urlencoded`.
    Form,
    /// `not_form`: it is not.
    NotForm,
    /// `empty_body`: there is no body.
    EmptyBody,
    /// `no_query`: the request has no query.
    NoQuery,
    /// `{ form_fields: [a, b] }`: the body is a form with these fields, each once, and no other.
    FormFields(Vec<String>),
    /// `{ header: { name: x-version, value: v2 } }`: a header that is there once, with this value.
    Header {
        /// Its name.
        #[serde(deserialize_with = "header_name")]
        name: HeaderName,
        /// Its value, in which case counts.
        value: String,
    },
    /// `{ query_digest: { name: bodySHA256, hash: sha256, encoding: hex } }`: a parameter of the query is the body's
    /// digest.
    QueryDigest {
        /// The parameter.
        name: String,
        /// The hash function.
        hash: Hash,
        /// How its output is written.
        encoding: Encoding,
    },
}

/// A document inside the signed content.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The key at the root of the body that holds the document.
    pub key: String,
    /// How the document is written in the signed content. A content that does not decode to a JSON object is always refused.
    pub encoding: PayloadEncoding,
    /// What the document must equal, unless the option `match_payload` is `false`.
    pub equals: PayloadEquals,
}

/// A payload as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadWords {
    encoding: PayloadEncoding,
    equals: PayloadEquals,
}

/// How a payload is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadEncoding {
    /// Base64 (RFC 4648 section 4), with its padding, without stray bits or line breaks.
    Base64,
}

/// What a payload must equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadEquals {
    /// The JSON body without the root key that holds the payload.
    BodyWithoutKey,
}

/// The time that a signature covers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// Where it stands.
    pub at: TimeLocation,
    /// How it is written.
    pub format: TimeFormat,
    /// How far it may be from the gateway's clock, in seconds, either way, unless the route sets a tolerance. Default
    /// 300.
    #[serde(default = "five_minutes")]
    pub tolerance_seconds: u32,
    /// Whether a time in the future is refused as well. Default true.
    #[serde(default = "yes")]
    pub future: bool,
}

/// Where a signed time stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeLocation {
    /// `{ header: NAME }`: in a header, which must be there exactly once.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
    /// `{ field: t }`: in a field of the signature's list.
    Field(String),
    /// `{ position: 0 }`: at a place of the signature's positional list.
    Position(usize),
    /// `{ query: NAME }`: in a parameter of the query.
    Query(String),
    /// `{ form: NAME }`: in a field of the body's form.
    Form(String),
    /// `{ multipart: NAME }`: in a field of the body, which is `multipart/form-data`; also in the JSON of a field.
    Multipart(MultipartField),
    /// `{ json: /POINTER }`: in a string or number of the JSON body.
    Json(Pointer),
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// Seconds since 1970-01-01T00:00:00Z, in digits.
    UnixSeconds,
    /// Milliseconds since then, in digits.
    UnixMilliseconds,
    /// Either: from 100 thousand million on it is milliseconds.
    Unix,
    /// RFC 3339, with any fraction of a second; without an offset it is UTC.
    Rfc3339,
    /// RFC 9110 section 5.6.7, in the one form that is sent today: `Sun, 06 Nov 1994 08:49:37 GMT`.
    HttpDate,
}

fn five_minutes() -> u32 {
    300
}

fn yes() -> bool {
    true
}
