//! The id and the type of an event as a delivery states them, for logs and traces. No decision depends on them; for the id
//! that a signature covers, see [`proof`](super::proof).

use std::borrow::Cow;

use bytes::Bytes;

use super::content::Body;
use super::fields::{self, Found};
use super::payload::{self, Kind};
use super::spec::Place;

impl Place {
    /// The value at this place in a request with this query and body; the first if it is repeated. `None` for a header or
    /// the claim of a token.
    pub fn in_query_or_body(&self, query: Option<&str>, body: &[Bytes]) -> Option<Vec<u8>> {
        let body = Body::new(body);
        let found = match self {
            Self::Header(_) | Self::Claim(_) => Found::Nothing,
            Self::Json(pointer) => payload::find(body.bytes(), pointer, Kind::Scalar),
            Self::Form(name) => fields::find(body.bytes(), name),
            Self::Query(name) => fields::find(query?.as_bytes(), name),
        };
        match found {
            Found::Nothing => None,
            Found::Once(value) | Found::Repeated { first: value, .. } => value.map(Cow::into_owned),
        }
    }
}

impl Place {
    /// The first value at this place, as a log tells it, told by `tell`: what follows it in the body is not looked at, so that this costs
    /// little in a long body. `None` for a header or the claim of a token.
    pub fn first_in_query_or_body<T>(
        &self,
        query: Option<&str>,
        body: &[Bytes],
        tell: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        match self {
            Self::Json(pointer) => payload::find_first(Body::new(body).bytes(), pointer).map(|value| tell(&value)),
            other => other.in_query_or_body(query, body).map(|value| tell(&value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::spec::Pointer;

    #[test]
    fn a_fact_is_found_where_the_scheme_says_and_nowhere_else() {
        let json = |pointer: &str| Place::Json(Pointer::try_from(pointer.to_owned()).unwrap());
        let body = [Bytes::from_static(br#"{"id":7,"a":{"#), Bytes::from_static(br#""type":"x"}}"#)];
        let found = |place: Place, query, body: &[Bytes]| {
            place.in_query_or_body(query, body).map(|value| String::from_utf8(value).unwrap())
        };
        assert_eq!(found(json("/id"), None, &body).as_deref(), Some("7"));
        assert_eq!(found(json("/a/type"), None, &body).as_deref(), Some("x"));
        assert_eq!(found(json("/a"), None, &body), None, "a map is no value to tell");
        assert_eq!(found(json("/b"), None, &body), None);
        assert_eq!(found(json("/id"), None, &[Bytes::from_static(b"{")]), None);
        let first = |body: &'static [u8]| {
            json("/a/id").first_in_query_or_body(None, &[Bytes::from_static(body)], |value| {
                String::from_utf8(value.to_vec()).unwrap()
            })
        };
        assert_eq!(first(br#"{"b":[{"id":0}],"a":{"id":"1","id":2},"c":"#).as_deref(), Some("1"));
        assert_eq!(first(br#"{"a":{"id":{}},"a":{"id":2}}"#), None, "as without the others");
        assert_eq!(first(br#"{"a":[]}"#), None);
        let form = [Bytes::from_static(b"id=a%20b&id=c")];
        assert_eq!(found(Place::Form("id".to_owned()), None, &form).as_deref(), Some("a b"));
        assert_eq!(found(Place::Query("e".to_owned()), Some("e=1"), &form).as_deref(), Some("1"));
        assert_eq!(found(Place::Query("e".to_owned()), None, &form), None);
        assert_eq!(found(Place::Claim("id".to_owned()), Some("id=1"), &form), None);
    }
}
