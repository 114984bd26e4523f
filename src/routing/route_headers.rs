//! The field lines that a route adds to every request, made once.

use http::header::InvalidHeaderValue;
use http::{HeaderName, HeaderValue};

use crate::config;
use crate::http1::client::request::Head;

const HOOKLATCH_ROUTE: HeaderName = HeaderName::from_static("hooklatch-route");
const HOOKLATCH_SCHEME: HeaderName = HeaderName::from_static("hooklatch-scheme");

/// What a route adds to every request.
pub struct RouteHeaders {
    /// Field lines that all requests have.
    pub constant: Head,
    /// The id of each secret, in the order of the configuration.
    pub secrets: Vec<HeaderValue>,
}

impl RouteHeaders {
    /// The lines of `route`.
    ///
    /// # Errors
    /// A name that cannot be a field value, which loading the configuration rules out.
    pub fn new(route: &config::Route) -> Result<Self, InvalidHeaderValue> {
        let mut constant = Head::default();
        constant.line(&HOOKLATCH_ROUTE, &HeaderValue::from_str(&route.name)?);
        constant.line(&HOOKLATCH_SCHEME, &HeaderValue::from_str(&route.scheme.name)?);
        let secrets = route.secret_ids.iter().map(|id| HeaderValue::from_str(id)).collect::<Result<_, _>>()?;
        Ok(Self { constant, secrets })
    }
}
