//! Words for where a signature stands and how it is written.

use http::HeaderName;
use serde::Deserialize;

use super::words::{MultipartField, OneOrMany, Pointer, header_name, header_names};

/// Where the signature stands and how it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Where the signature stands.
    pub at: Location,
    /// How the value found there is built.
    #[serde(default)]
    pub grammar: Grammar,
    /// How a digest is written within the value; with several, each is tried.
    pub encoding: OneOrMany<Encoding>,
}

/// Where a signature stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Location {
    /// `{ header: NAME }`: in one header, which must be there exactly once.
    Header(#[serde(deserialize_with = "header_name")] HeaderName),
    /// `{ headers: [NAME, NAME] }`: in any of these headers, each at most once. What all of them hold is tried.
    Headers(#[serde(deserialize_with = "header_names")] Vec<HeaderName>),
    /// `{ header_lines: NAME }`: in one header that may be there up to eight times.
    HeaderLines(#[serde(deserialize_with = "header_name")] HeaderName),
    /// `{ header_series: { prefix: x-signature-, count: 100 } }`: in `x-signature-1`, `x-signature-2` and so on, up to
    /// the first that is not there.
    HeaderSeries {
        /// What stands before the number.
        prefix: String,
        /// The highest number.
        count: usize,
    },
    /// `{ query: NAME }`: in a parameter of the query, which must be there exactly once.
    Query(String),
    /// `{ form: NAME }`: in a field of the body, an `application/x-www-form-urlencoded` form.
    Form(String),
    /// `{ multipart: NAME }`: in a field of the body, which is `multipart/form-data`; `{ multipart: { field: NAME, json:
    /// /POINTER } }` in the JSON of that field.
    Multipart(MultipartField),
    /// `{ json: /POINTER }`: in a string of the JSON body. Where the pointer has a `*`, all elements of the array must
    /// hold the same.
    Json(Pointer),
    /// `body`: the whole body is a signed token.
    Body,
}

/// How a signature value is built from digests. White space at both ends of the value is no part of it (RFC 9110
/// section 5.5).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Grammar {
    /// `bare`: the digest and nothing else.
    #[default]
    Bare,
    /// `{ prefix: { text: "sha256=" } }`: a fixed text, then the digest.
    Prefix {
        /// What stands before the digest; one of several.
        text: OneOrMany<String>,
        /// Whether a digest without the text is malformed. Default true.
        #[serde(default = "yes")]
        required: bool,
        /// Whether the case of the text does not count. Default false.
        #[serde(default)]
        ignore_case: bool,
    },
    /// `{ list: { separator: ",", assign: "=", key: v1 } }`: a list of `key=digest` and of other fields, white space
    /// around an entry and a comma behind it aside. Entries of other keys are not looked at.
    List {
        /// The characters that end an entry: `","`, or `" ,"` for either of two.
        separator: String,
        /// What stands between key and value; the first one in an entry counts.
        assign: String,
        /// The key, or keys, whose values are signatures; `"*"` for any.
        key: OneOrMany<String>,
        /// Whether a space is written behind a separator, as some providers do. Read either way. Default false.
        #[serde(default)]
        spaced: bool,
        /// How many signatures one value may have. Default 8.
        #[serde(default = "eight")]
        at_most: usize,
        /// Whether one malformed signature spoils the list. Default: it is passed over, if there is a well-formed one.
        #[serde(default)]
        strict: bool,
    },
    /// `{ positional: { separator: ",", signature: 1 } }`: entries that are known by their place.
    Positional {
        /// The characters that end an entry.
        separator: String,
        /// The place of the first signature, from 0. All that follow are signatures as well.
        signature: usize,
        /// How many signatures one value may have. Default 8.
        #[serde(default = "eight")]
        at_most: usize,
    },
}

/// A field of the list that is the signature's value.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct ListField {
    /// Its key.
    pub key: String,
    /// The headers that may have the list; none until the scheme is compiled.
    pub headers: Vec<HeaderName>,
    /// The characters that end an entry of the list.
    pub separator: String,
    /// What stands between a key and its value.
    pub assign: String,
}

impl From<String> for ListField {
    fn from(key: String) -> Self {
        Self { key, headers: Vec::new(), separator: String::new(), assign: String::new() }
    }
}

impl ListField {
    /// The field with the list of this signature; `None` if that is no list in a header.
    pub fn of(&self, signature: &Signature) -> Option<Self> {
        let Grammar::List { separator, assign, .. } = &signature.grammar else { return None };
        let headers = match &signature.at {
            Location::Header(name) => vec![name.clone()],
            Location::Headers(names) => names.clone(),
            _ => return None,
        };
        Some(Self { key: self.key.clone(), headers, separator: separator.clone(), assign: assign.clone() })
    }
}

/// How the bytes of a digest are written as text. None of them takes line breaks or white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Base16 (RFC 4648 section 8), in either case when read, in lower case when written.
    Hex,
    /// Base64 (RFC 4648 section 4), with its padding and without stray bits.
    Base64,
    /// The same without padding.
    Base64Unpadded,
    /// Base64 with the alphabet for URLs (RFC 4648 section 5), without padding or stray bits.
    Base64url,
    /// The same with its padding.
    Base64urlPadded,
    /// The bytes themselves: a token.
    Text,
}

fn yes() -> bool {
    true
}

fn eight() -> usize {
    8
}
