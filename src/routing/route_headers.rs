//! The field lines that a route adds to every request, encoded once.

use http::header::InvalidHeaderValue;
use http::{HeaderName, HeaderValue};

use crate::config;
use crate::http1::client::request::Head;

const HOOKLATCH_ROUTE: HeaderName = HeaderName::from_static("hooklatch-route");
const HOOKLATCH_SCHEME: HeaderName = HeaderName::from_static("hooklatch-scheme");

/// The field lines that a route adds to its requests.
pub struct RouteHeaders {
    /// The field lines of every request: `Hooklatch-Route` and `Hooklatch-Scheme`.
    pub constant: Head,
    /// Whether the gateway signs for the handler: the sender's fields of the same names do not go on.
    pub signs: bool,
    /// The values of `Hooklatch-Secret-Id`: one for each secret, in the order of the configuration.
    pub secrets: Vec<HeaderValue>,
}

impl RouteHeaders {
    /// The field lines of `route`.
    ///
    /// # Errors
    /// A name that cannot be a field value, which loading the configuration rules out.
    pub fn new(route: &config::Route) -> Result<Self, InvalidHeaderValue> {
        let mut constant = Head::default();
        constant.line(&HOOKLATCH_ROUTE, &HeaderValue::from_str(&route.name)?);
        constant.line(&HOOKLATCH_SCHEME, &HeaderValue::from_str(&route.scheme.name)?);
        let secrets = route.secret_ids.iter().map(|id| HeaderValue::from_str(id)).collect::<Result<_, _>>()?;
        Ok(Self { constant, signs: route.sign.is_some(), secrets })
    }
}
