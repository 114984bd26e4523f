//! The token of `admin.token`, as `Authorization: Bearer` (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::schemes::Secret;

/// Whether a request has the token.
pub fn has(headers: &HeaderMap, token: &Secret) -> bool {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let bearer = given.next().and_then(|value| bearer(value.as_bytes()));
    given.next().is_none() && bearer.is_some_and(|bearer| equal(bearer, token.expose()))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer".len())?;
    let token = token.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

/// Compares digests, so that the time tells nothing about the length either.
pub fn equal(given: &[u8], token: &[u8]) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(token)).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn checked(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        has(&headers, &Secret::from(b"t0ken".to_vec()))
    }

    #[test]
    fn the_right_token_once_is_let_in() {
        for value in ["Bearer t0ken", "bearer t0ken", "BEARER  t0ken "] {
            assert!(checked(&[value]), "{value}");
        }
        for value in [
            "",
            "t0ken",
            "Bearer",
            "Bearer ",
            "Bearert0ken",
            "Bearer t0ke",
            "Bearer t0kenx",
            "Basic t0ken",
            "Bearer T0KEN",
        ] {
            assert!(!checked(&[value]), "{value}");
        }
        assert!(!checked(&[]));
        assert!(!checked(&["Bearer t0ken", "Bearer t0ken"]));
    }
}
