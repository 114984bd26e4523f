//! `telemetry`: where to send traces.
//!
//! Refused, in addition to the errors of each reader: 1. an endpoint without a path, because no collector accepts traces
//! at `/`; 2. a header whose name or value HTTP cannot carry, or which the exporter sets itself; 3. a header's
//! value in the file, because it can be a credential; 4. certificates for an `http://` endpoint.

use std::fmt;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};

use super::reader::{Field, all};
use super::secret::{self, explain_key};
use super::sources::Context;
use super::tls::ClientTls;
use super::units::{parse_share, read_timeout};
use super::upstream::{read_certificates, read_url};
use super::url::{Url, UrlPlace};

pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const DEFAULT_SERVICE_NAME: &str = "hooklatch";
pub(super) const CONTEXTS: [(&str, ContextFrom); 3] = [
    ("trusted_proxies", ContextFrom::TrustedProxies),
    ("anyone", ContextFrom::Anyone),
    ("nobody", ContextFrom::Nobody),
];
/// The longest name of a service.
pub(super) const MAX_NAME: usize = 128;
/// The headers that the exporter sets itself.
const OWN_HEADERS: [HeaderName; 7] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING];

/// Traces by OTLP over HTTP, with protobuf.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// The collector.
    pub endpoint: OtlpEndpoint,
    /// Headers of each request to the collector; marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The time for the collector to accept spans, all attempts together; not zero. Default 10 s.
    pub timeout: Duration,
    /// The share of deliveries that are traced, 0 to 1. Default 1.
    pub sample: f64,
    /// `service.name` of the resource; not empty. Default `hooklatch`.
    pub service_name: String,
    /// Whose `traceparent` a trace continues.
    pub context_from: ContextFrom,
}

/// A collector's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// Its URL: `http://` or `https://`, with a path and without a query.
    pub url: Url,
    /// Certificates for `https://`; `None` for the system's roots and no client certificate.
    pub certificates: Option<ClientTls>,
}

/// Whose `traceparent` a delivery's trace continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContextFrom {
    /// That of `server.trusted_proxies`, whose sampling decision is followed too.
    #[default]
    TrustedProxies,
    /// Any sender's, but only the trusted proxies decide what is sampled.
    Anyone,
    /// No sender's: every delivery begins a trace of its own.
    Nobody,
}

impl ContextFrom {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TrustedProxies => "trusted_proxies",
            Self::Anyone => "anyone",
            Self::Nobody => "nobody",
        }
    }
}

/// As a URL, for display.
impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// Reads the section; `Some(None)` if it is empty.
pub(super) fn read(field: &Field<'_>, context: Context<'_>) -> Option<Option<Otlp>> {
    let mut section = field.section_or_nothing()?;
    let otlp = section.optional("otlp", None, |field| read_otlp(field, context).map(Some));
    section.finish(explain_key);
    otlp
}

fn read_otlp(field: &Field<'_>, context: Context<'_>) -> Option<Otlp> {
    let mut section = field.section()?;
    let url = section.required("endpoint", read_endpoint);
    let certificates = section.optional("tls", None, |field| read_certificates(field, url.as_slice(), context));
    let headers = section.optional("headers", Vec::new(), |field| read_headers(field, context));
    let timeout = section.optional("timeout", DEFAULT_TIMEOUT, read_timeout);
    let sample = section.optional("sample", 1.0, |field| field.parsed(parse_share));
    let service_name =
        section.optional("service_name", DEFAULT_SERVICE_NAME.to_owned(), |field| field.parsed(parse_name));
    let context_from = section.optional("context_from", ContextFrom::default(), |field| field.one_of(&CONTEXTS));
    section.finish(explain_key);
    let url = url?;
    Some(Otlp {
        endpoint: OtlpEndpoint { url, certificates: certificates? },
        headers: headers?,
        timeout: timeout?,
        sample: sample?,
        service_name: service_name?,
        context_from: context_from?,
    })
}

fn read_endpoint(field: &Field<'_>) -> Option<Url> {
    let url = read_url(field)?;
    if url.query.is_some() {
        field.error("must have no query");
        return None;
    }
    if matches!(url.place, UrlPlace::Unix(_)) {
        field.error("must be a URL that begins with http:// or https://");
        return None;
    }
    if url.path.is_empty() || url.path == "/" {
        field.error("needs a path: most collectors accept traces at /v1/traces");
        return None;
    }
    Some(url)
}

/// A map of names to `{ env: NAME }` or `{ file: PATH }`.
fn read_headers(field: &Field<'_>, context: Context<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    all(field.entries()?.into_iter().map(|(name, field)| {
        let value = secret::read_required(&field, context);
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !OWN_HEADERS.contains(name));
        if name.is_none() {
            field.error("is not a header that can be set here");
        }
        let mut value = HeaderValue::from_bytes(value?.expose()).ok();
        match &mut value {
            Some(value) => value.set_sensitive(true),
            None => field.error("contains a line break or another control character, which a header cannot carry"),
        }
        Some((name?, value?))
    }))
}

fn parse_name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= MAX_NAME && !text.contains(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("must be 1 to {MAX_NAME} bytes without control characters")) }
}
