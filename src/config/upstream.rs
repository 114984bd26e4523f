//! The `upstream` of a route, and what it shares with the endpoint of `telemetry`: a URL and its certificates.

use std::fmt;
use std::time::Duration;

use super::address::{Url, parse_url};
use super::raw::Node;
use super::reader::Field;
use super::sources::Context;
use super::tls::{self, ClientTls};
use super::units::read_timeout;

pub(super) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const HOST_HEADERS: [(&str, HostHeader); 2] =
    [("upstream", HostHeader::Upstream), ("preserve", HostHeader::Preserve)];

/// The existing handler that gets verified deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Whether the URL begins with `https://`.
    pub tls: bool,
    /// The host to connect to: a DNS name in lower case, or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port, the scheme's default (80, 443) filled in; not zero.
    pub port: u16,
    /// The value of the `Host` header: the host (IPv6 in brackets), with the port if it is not the scheme's default.
    pub authority: String,
    /// The path as written; may be empty. An exact route sends to this path. A prefix route sends to this path, less one
    /// slash at its end, followed by the rest of the request's path.
    pub path: String,
    /// The time to connect, name resolution and TLS included; not zero. Default 1 s.
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
    /// The upstream's own: [`Upstream::authority`].
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

/// As a URL: for people, not for requests.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// A URL, or a map of the URL and how to talk to it.
pub(super) fn read_upstream(field: &Field<'_>, context: Context<'_>) -> Option<Upstream> {
    let (url, connect_timeout, resend, host_header, certificates) = match field.node() {
        Node::Text(_) => {
            (read_url(field), Some(DEFAULT_CONNECT_TIMEOUT), Some(true), Some(HostHeader::default()), Some(None))
        }
        Node::Map(_) => {
            let mut section = field.section()?;
            let url = section.required("url", read_url);
            let connect_timeout = section.optional("connect_timeout", DEFAULT_CONNECT_TIMEOUT, read_timeout);
            let resend = section.optional("resend", true, Field::boolean);
            let host_header =
                section.optional("host_header", HostHeader::default(), |field| field.one_of(&HOST_HEADERS));
            let certificates = section.optional("tls", None, |field| read_certificates(field, url.as_ref(), context));
            section.finish(|_| None);
            (url, connect_timeout, resend, host_header, certificates)
        }
        _ => return field.wrong_kind("a URL, or a map with url"),
    };
    let url = url?;
    if url.path.contains('*') {
        field.warn("the * in the path is sent as it is: what follows the route's prefix is added without one");
    }
    Some(Upstream {
        tls: url.tls,
        host: url.host,
        port: url.port,
        authority: url.authority,
        path: url.path,
        connect_timeout: connect_timeout?,
        resend: resend?,
        host_header: host_header?,
        certificates: certificates?,
    })
}

/// Certificates for an `https://` URL.
pub(super) fn read_certificates(
    field: &Field<'_>,
    url: Option<&Url>,
    context: Context<'_>,
) -> Option<Option<ClientTls>> {
    let certificates = tls::read_client(field, context);
    if url.is_some_and(|url| !url.tls) {
        field.error("applies only to https:// URLs, and this URL begins with http://");
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
