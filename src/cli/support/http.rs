//! Sends one request: a delivery, as a provider would, for `send` and `demo`, or a question to the admin listener.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use rustls::ClientConfig;

use crate::app;
use crate::clock::Clock;
use crate::config::{Route, UrlPlace};
use crate::http1::client::request::{Head, OutgoingRequest};
use crate::http1::payload::Payload;
use crate::net::connect::Connector;
use crate::net::tls::client_config;
use crate::schemes::{RequestHead, SignError, Unsigned};
use crate::upstream::pool::{Pool, ResponseBody, SendError};

/// The PROXY protocol's header for a connection that the sender has opened for itself.
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the response may take, its body included: more than any deadline of a provider.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes that are read of a response's body.
const MAX_RESPONSE: usize = 1024 * 1024;

/// A response: its status and body.
pub struct HttpResponse {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

/// A delivery that is ready to be sent.
pub struct Delivery {
    pub headers: HeaderMap,
    pub query: Option<String>,
    pub body: Vec<u8>,
}

/// Reads a header as it is written in a request: `Name: value`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or("has no colon: write it as NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "is not the name of a header before its colon".to_owned())?;
    Ok((name, value.trim().parse().map_err(|_| "has a value that no header can have".to_owned())?))
}

/// Makes a delivery with this body and with these headers beside those of the route's sample, for the route at this path and
/// query, signed with the route's first secret.
pub fn sign(
    route: &Route,
    path: &str,
    query: Option<&str>,
    more: &[(HeaderName, HeaderValue)],
    body: &[u8],
) -> Result<Delivery, SignError> {
    let mut headers = unsigned_headers(route);
    for (name, value) in more {
        headers.insert(name, value.clone());
    }
    let query = query.or(route.scheme.sample.query.as_deref());
    let head = RequestHead { method: &Method::POST, path, query, headers: &headers };
    let signed = route.verifier.sign(0, &Unsigned { head, body }, Clock::system().unix())?;
    let query = signed.query.or_else(|| query.map(ToOwned::to_owned));
    let body = signed.body.unwrap_or_else(|| body.to_vec());
    headers.extend(signed.headers);
    Ok(Delivery { headers, query, body })
}

/// The headers of a delivery without its signature.
pub fn unsigned_headers(route: &Route) -> HeaderMap {
    let mut headers = route.scheme.sample.headers.to_map();
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers
}

/// How to connect to the configured listener.
#[derive(Default)]
pub struct Transport {
    /// The TLS configuration for `https`; `None` to trust the system's roots.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether the connection must begin with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// POSTs to an `http` or `https` URL and reads the response.
pub fn post(
    url: &Uri,
    way: Transport,
    host: Option<&str>,
    mut headers: HeaderMap,
    body: Vec<u8>,
) -> io::Result<HttpResponse> {
    let host = host.or(url.authority().map(Authority::as_str)).unwrap_or_default();
    headers.insert(HOST, HeaderValue::from_str(host).map_err(io::Error::other)?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("hooklatch/", env!("CARGO_PKG_VERSION"))));
    exchange(url, way, (Method::POST, headers), body, RESPONSE_TIMEOUT)
}

/// GETs an `http` or `https` URL and reads the response, within `timeout`.
pub fn get(url: &Uri, timeout: Duration) -> io::Result<HttpResponse> {
    let host = url.authority().map(Authority::as_str).unwrap_or_default();
    let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
    exchange(url, Transport::default(), (Method::GET, HeaderMap::from_iter([(HOST, host)])), Vec::new(), timeout)
}

/// A hint for an error of a connection that was refused or whose TLS handshake failed.
pub fn is_it_there(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the gateway running? `hooklatch serve -c FILE` starts it",
        _ if matches!(tls, Some(rustls::Error::InvalidMessage(_))) => {
            "; without server.tls, the URL of the gateway begins with http://"
        }
        _ => "",
    }
}

/// The address at which this machine reaches a listener: loopback if the listener is on every address.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Sends a request to the host of `url`, for its path and query, and reads the response; of a long body the first part.
fn exchange(
    url: &Uri,
    way: Transport,
    request: (Method, HeaderMap),
    body: Vec<u8>,
    timeout: Duration,
) -> io::Result<HttpResponse> {
    let exchange = async {
        let response = open(url, way, request, body, timeout).await?;
        let status = response.status();
        Ok(HttpResponse { status, body: beginning(response.into_body()).await? })
    };
    app::runtime()?.block_on(async {
        let too_late = || io::Error::new(io::ErrorKind::TimedOut, "no response in time");
        tokio::time::timeout(timeout, exchange).await.map_err(|_| too_late())?
    })
}

/// Sends a request to the host of `url`, for its path and query, and waits for the head of the response.
pub async fn open(
    url: &Uri,
    way: Transport,
    (method, headers): (Method, HeaderMap),
    body: Vec<u8>,
    timeout: Duration,
) -> io::Result<Response<ResponseBody>> {
    let target = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut head = Head::for_body(body.len() as u64);
    head.begin(method, &[target], None);
    headers.iter().for_each(|(name, value)| head.line(name, value));
    send(url, way, head.with(Payload::from(Bytes::from(body))), timeout).await
}

/// Sends this request to the host of `url`, and waits for the head of the response.
pub async fn send(
    url: &Uri,
    way: Transport,
    request: OutgoingRequest,
    timeout: Duration,
) -> io::Result<Response<ResponseBody>> {
    let (tls, port) = match url.scheme_str() {
        Some("http") => (None, 80),
        Some("https") => (Some(way.tls.map_or_else(|| client_config(None), Ok)?), 443),
        _ => return Err(io::Error::other("the URL must begin with http:// or https://")),
    };
    let authority = url.authority().ok_or_else(|| io::Error::other("the URL has no host"))?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let place = UrlPlace::Tcp { host: name.to_owned(), port: authority.port_u16().unwrap_or(port) };
    let connector = Connector::new(place, CONNECT_TIMEOUT, tls)?;
    let connector = if way.proxy_protocol { connector.beginning_with(UNKNOWN) } else { connector };
    let now = Clock::system().now();
    let sent = Pool::new(connector).send_afresh(request, now, now + timeout).await;
    sent.map_err(|unanswered| match unanswered.error {
        SendError::Unreachable(error) => error,
        error @ SendError::Failed(_) => io::Error::other(error),
        error @ SendError::Late => io::Error::new(io::ErrorKind::TimedOut, error),
    })
}

/// Reads a body; of a long one the first part.
pub async fn beginning(mut incoming: ResponseBody) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < MAX_RESPONSE
        && let Some(data) = next_piece(&mut incoming).await?
    {
        body.extend_from_slice(&data);
    }
    body.truncate(MAX_RESPONSE);
    Ok(body)
}

/// The next piece of a response's body; `None` at its end.
pub async fn next_piece(body: &mut ResponseBody) -> io::Result<Option<Bytes>> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
