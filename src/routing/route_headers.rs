//! The field lines that a route adds to every request, made once.

use http::header::InvalidHeaderValue;
use http::{HeaderName, HeaderValue};

use crate::config::{self, HostHeader};
use crate::http1::client::request::Head;

const HOOKLATCH_ROUTE: HeaderName = HeaderName::from_static("hooklatch-route");
const HOOKLATCH_SCHEME: HeaderName = HeaderName::from_static("hooklatch-scheme");

/// What a route adds to every request.
pub struct RouteHeaders {
    /// Lines that all requests have.
    pub constant: Head,
    /// The id of each secret, in the order of the configuration.
    pub secrets: Vec<HeaderValue>,
    /// The upstream's own `Host`.
    pub host: HeaderValue,
    /// Whether the sender's goes on instead, if there is one.
    pub preserve_host: bool,
}

impl RouteHeaders {
    /// The lines of `route`.
    ///
    /// # Errors
    /// A name that no header can carry, which validation of the configuration rules out.
    pub fn new(route: &config::Route) -> Result<Self, InvalidHeaderValue> {
        let mut constant = Head::default();
        constant.line(&HOOKLATCH_ROUTE, &HeaderValue::from_str(&route.name)?);
        constant.line(&HOOKLATCH_SCHEME, &HeaderValue::from_str(&route.scheme.name)?);
        Ok(Self {
            constant,
            secrets: route.secret_ids.iter().map(|id| HeaderValue::from_str(id)).collect::<Result<_, _>>()?,
            host: HeaderValue::from_str(&route.upstream.authority)?,
            preserve_host: route.upstream.host_header == HostHeader::Preserve,
        })
    }
}
