//! The `upstream` of a route, and what it shares with the endpoint of `telemetry`: a URL and its certificates.

use std::fmt;
use std::time::Duration;

use super::raw::Node;
use super::reader::{Field, all};
use super::sources::Context;
use super::tls::{self, ClientTls};
use super::units::read_timeout;
use super::url::{Url, parse_url};

pub(super) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const HOST_HEADERS: [(&str, HostHeader); 2] =
    [("upstream", HostHeader::Upstream), ("preserve", HostHeader::Preserve)];

/// The existing handler that gets verified deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its addresses: at least one, none twice, all with the same path. They get deliveries in turn. An exact route sends to
    /// this path. A prefix route sends to this path, less one slash at its end, followed by the rest of the request's path. The
    /// query of a URL comes before that of the delivery.
    pub urls: Vec<Url>,
    /// The time to connect, name resolution and TLS included; not zero. Default 3 s.
    pub connect_timeout: Duration,
    /// Whether a request that was lost on a stale connection may be sent again although bytes of it were written. Default
    /// true.
    pub resend: bool,
    /// The `Host` header of requests to the upstream.
    pub host_header: HostHeader,
    /// Certificates for `https://`; `None` for the system's roots and no client certificate.
    pub certificates: Option<ClientTls>,
}

/// The `Host` header of requests to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostHeader {
    /// The upstream's own: [`Url::authority`](super::Url::authority).
    #[default]
    Upstream,
    /// The header that the sender sent.
    Preserve,
}

impl HostHeader {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Preserve => "preserve",
        }
    }
}

impl Upstream {
    /// The path of its URLs.
    pub fn path(&self) -> &str {
        self.urls.first().map_or("", |url| &url.path)
    }
}

/// As its URLs: for people, not for requests.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.urls.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{url}")?;
        }
        Ok(())
    }
}

/// A URL, or a map of one or several URLs and how to talk to them.
pub(super) fn read_upstream(field: &Field<'_>, context: Context<'_>) -> Option<Upstream> {
    let (urls, connect_timeout, resend, host_header, certificates) = match field.node() {
        Node::Text(_) => {
            let urls = read_url(field).map(|url| vec![url]);
            (urls, Some(DEFAULT_CONNECT_TIMEOUT), Some(true), Some(HostHeader::default()), Some(None))
        }
        Node::Map(_) => {
            let mut section = field.section()?;
            let urls = match (section.get("url"), section.get("urls")) {
                (Some(url), None) => read_url(&url).map(|url| vec![url]),
                (None, Some(urls)) => read_urls(&urls),
                (Some(_), Some(urls)) => {
                    urls.error("cannot stand beside url: write all URLs here");
                    None
                }
                (None, None) => {
                    field.error_below("url", "is missing");
                    None
                }
            };
            let connect_timeout = section.optional("connect_timeout", DEFAULT_CONNECT_TIMEOUT, read_timeout);
            let resend = section.optional("resend", true, Field::boolean);
            let host_header =
                section.optional("host_header", HostHeader::default(), |field| field.one_of(&HOST_HEADERS));
            let known = urls.as_deref().unwrap_or_default();
            let certificates = section.optional("tls", None, |field| read_certificates(field, known, context));
            section.finish(|_| None);
            (urls, connect_timeout, resend, host_header, certificates)
        }
        _ => return field.wrong_kind("a URL, or a map with url or urls"),
    };
    let urls = urls?;
    if urls.iter().any(|url| url.path.contains('*')) {
        field.warn("the * in the path is sent as it is: what follows the route's prefix is added without one");
    }
    Some(Upstream {
        urls,
        connect_timeout: connect_timeout?,
        resend: resend?,
        host_header: host_header?,
        certificates: certificates?,
    })
}

/// Several URLs of one handler.
fn read_urls(field: &Field<'_>) -> Option<Vec<Url>> {
    let mut urls: Vec<Url> = Vec::new();
    let read = field.list()?.into_iter().map(|item| {
        let url = read_url(&item)?;
        if urls.iter().any(|other| (other.tls, &other.place) == (url.tls, &url.place)) {
            item.error("names the same server as a URL before it");
            return None;
        }
        if let Some(first) = urls.first()
            && first.path != url.path
        {
            item.error(format!(
                "must have the same path as the first URL, \"{}\": each gets the same deliveries",
                first.path
            ));
            return None;
        }
        urls.push(url);
        Some(())
    });
    all(read)?;
    Some(urls)
}

/// Certificates for `https://` URLs; at least one of `urls` must be one. With a wrong URL, `urls` is empty.
pub(super) fn read_certificates(field: &Field<'_>, urls: &[Url], context: Context<'_>) -> Option<Option<ClientTls>> {
    let certificates = tls::read_client(field, context);
    if !urls.is_empty() && !urls.iter().any(|url| url.tls) {
        field.error("applies only to https:// URLs, and there is none here");
        return None;
    }
    certificates.map(Some)
}

pub(super) fn read_url(field: &Field<'_>) -> Option<Url> {
    match parse_url(field.text()?) {
        Ok(url) => Some(url),
        Err(errors) => {
            errors.into_iter().for_each(|error| field.error(error));
            None
        }
    }
}
