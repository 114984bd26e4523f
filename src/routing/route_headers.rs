//! The field lines that a route adds to every request, encoded once.

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use crate::config;
use crate::http1::client::request::Head;

const HOOKLATCH_ROUTE: &str = "Hooklatch-Route";
const HOOKLATCH_SCHEME: &str = "Hooklatch-Scheme";
const HOOKLATCH_VERIFIED: &str = "Hooklatch-Verified";
const HOOKLATCH_SECRET_ID: &str = "Hooklatch-Secret-Id";

/// The field lines that a route adds to its requests: `Hooklatch-Route`, `-Scheme`, `-Verified` and `-Secret-Id`.
pub struct RouteHeaders {
    /// Whether the gateway signs for the handler: the sender's fields of the same names do not go on.
    pub signs: bool,
    /// The lines of a delivery that does not verify, on a route with `enforce: false`.
    unverified: Head,
    /// The lines of a delivery that has verified: one value for each secret, in the order of the configuration.
    verified: Vec<Head>,
}

impl RouteHeaders {
    /// The field lines of `route`.
    ///
    /// # Errors
    /// A name that cannot be a field value, which loading the configuration rules out.
    pub fn new(route: &config::Route) -> Result<Self, InvalidHeaderValue> {
        let (name, scheme) = (HeaderValue::from_str(&route.name)?, HeaderValue::from_str(&route.scheme.name)?);
        let lines = |verified| {
            let mut lines = Head::default();
            lines.line(HOOKLATCH_ROUTE, &name);
            lines.line(HOOKLATCH_SCHEME, &scheme);
            lines.line(HOOKLATCH_VERIFIED, &HeaderValue::from_static(verified));
            lines
        };
        let of_secret = |id: &String| {
            let mut lines = lines("true");
            lines.line(HOOKLATCH_SECRET_ID, &HeaderValue::from_str(id)?);
            Ok(lines)
        };
        let verified = route.secret_ids.iter().map(of_secret).collect::<Result<_, _>>()?;
        Ok(Self { signs: route.sign.is_some(), unverified: lines("false"), verified })
    }

    /// The lines of a delivery that the secret at this position has verified; `None` if it does not verify.
    pub fn lines(&self, secret: Option<usize>) -> &Head {
        secret.and_then(|secret| self.verified.get(secret)).unwrap_or(&self.unverified)
    }
}
