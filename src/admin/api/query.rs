//! Query strings and ids of the API: what is not known, or is there twice, is refused.

use std::borrow::Cow;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, RawQuery};
use http::request::Parts;
use percent_encoding::percent_decode;
use uuid::Uuid;

use crate::acts::Refused;
use crate::admin::problem::Problem;

/// The length of an id as text.
const ID_LENGTH: usize = 36;

/// The keys and values of a query string, decoded, in order.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string, as browsers write those of forms.
    ///
    /// # Errors
    /// 400 for text that is not UTF-8 or not percent-encoded.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, Problem>>()?))
    }

    /// Checks that the query has no other keys than these, and each once, except those that `may_repeat`.
    ///
    /// # Errors
    /// 400, which names the key.
    pub fn only(self, known: &[&str], may_repeat: &[&str]) -> Result<Self, Problem> {
        for (at, (key, _)) in self.0.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::bad_query(format!("unknown key {key:?}; known here: {known}")));
            }
            let before = self.0.iter().take(at).any(|(before, _)| before == key);
            if before && !may_repeat.contains(&key.as_str()) {
                return Err(Problem::bad_query(format!("the key {key} is there twice")));
            }
        }
        Ok(self)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// A key that is true or false; false if it is left out.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.get(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_query(format!("{key} must be true or false"))),
        }
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::bad_query("the query must be percent-encoded UTF-8");
    let spaced = text.replace('+', " ");
    let mut rest = spaced.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3).ok_or_else(wrong)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(wrong());
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    percent_decode(spaced.as_bytes()).decode_utf8().map(Cow::into_owned).map_err(|_| wrong())
}

/// The query string of a request; 400 if it is malformed.
impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(RawQuery(text)) = RawQuery::from_request_parts(parts, state).await;
        Self::parse(text.as_deref().unwrap_or_default())
    }
}

/// The id in a path. A malformed one is as unknown as any other: 404.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub Uuid);

impl Id {
    /// Reads an id in its usual form, with hyphens.
    ///
    /// # Errors
    /// 404 for anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == ID_LENGTH);
        id.map(Self).ok_or_else(|| Problem::not_found("no delivery has this id"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        Self::parse(text.as_ref().map_or("", |Path(text)| text.as_str()))
    }
}

/// The id of a bulk replay in a path.
#[derive(Clone, Copy, Debug)]
pub struct Run(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Run {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Id::from_request_parts(parts, state).await;
        id.map(|id| Self(id.0)).map_err(|_| Refused::UnknownRun.into())
    }
}

/// The name in a path; empty, which no route has, if it is not UTF-8.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        Ok(Self(text.map_or_else(|_| String::new(), |Path(text)| text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_read_as_browsers_write_it() {
        let query = Query::parse("route=a&state=dead&&state=held&q=event%3Ainvoice.%2A+x&e").unwrap();
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(
            pairs,
            [("route", "a"), ("state", "dead"), ("state", "held"), ("q", "event:invoice.* x"), ("e", "")]
        );
        assert!(Query::parse("a=%00").is_ok());
        for text in ["a=%", "a=%2", "a=%zz", "a=%ff", "%ff=a", "a=%c3%28"] {
            assert_eq!(Query::parse(text).unwrap_err().reason, "bad_query", "{text}");
        }
    }

    #[test]
    fn unknown_and_repeated_keys_are_refused_by_name() {
        let only = |text: &str| Query::parse(text).unwrap().only(&["route", "state"], &["state"]).map(|_| ());
        assert_eq!(only("route=a&state=b&state=c"), Ok(()));
        assert_eq!(only("rout=a").unwrap_err().detail, "unknown key \"rout\"; known here: route, state");
        assert_eq!(only("route=a&route=a").unwrap_err().detail, "the key route is there twice");
    }

    #[test]
    fn an_id_has_one_form() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(Id::parse(id).unwrap().0.to_string(), id);
        for text in [
            "",
            "x",
            "01890a5dac96774bbcceb302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
            "01890a5d-ac96-774b-bcce-b302099a805\u{e9}",
        ] {
            assert_eq!(Id::parse(text).unwrap_err().reason, "not_found", "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(text in any::<String>()) {
            let _ = Query::parse(&text).and_then(|query| query.only(&["q"], &[]));
        }
    }
}
