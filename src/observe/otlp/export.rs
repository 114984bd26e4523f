//! Sends spans to a collector: OTLP over HTTP with protobuf
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), one request at a time on one connection.
//!
//! A request is repeated if connecting fails or the collector answers 429, 502, 503 or 504. The pause before each attempt
//! grows, and is at least as long as the collector's `Retry-After`. After `timeout` the spans are dropped and counted as failed.
//!
//! hyper's client sends them rather than [`http1`](crate::http1)'s: no delivery waits for a span, and this room need not know
//! how the gateway speaks HTTP.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::sync::watch;

use super::spans::SpanMaker;
use crate::config::{Otlp, OtlpEndpoint, Url};
use crate::metrics::SpanMetrics;
use crate::net::connect::Connector;
use crate::net::tls::client_config;
use crate::observe::trace::EndedDelivery;

/// How long connecting may take, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the first attempt; it doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest response that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Exports spans to one collector.
pub(super) struct Exporter {
    connector: Connector,
    uri: http::Uri,
    headers: HeaderMap,
    timeout: Duration,
    maker: SpanMaker,
    connection: Option<SendRequest<Full<Bytes>>>,
    metrics: SpanMetrics,
    finishing: watch::Receiver<bool>,
    /// Whether the last batch failed.
    failing: bool,
}

/// A failed attempt to export a batch.
struct ExportFailure {
    /// The error, for the log.
    why: String,
    /// The collector's `Retry-After`, or zero without one; `None` if the batch must not be sent again.
    again: Option<Duration>,
}

impl Exporter {
    /// An exporter to the collector in `otlp`. Once `finishing` is true, a failed request is not repeated.
    ///
    /// # Errors
    /// The system has no root certificates, or the host is not a valid TLS server name.
    pub(super) fn new(otlp: &Otlp, metrics: SpanMetrics, finishing: watch::Receiver<bool>) -> io::Result<Self> {
        let OtlpEndpoint { url: Url { tls, place, authority, path, query: _ }, certificates } = &otlp.endpoint;
        let tls = tls.then(|| client_config(certificates.as_ref())).transpose()?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(authority).map_err(io::Error::other)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("hooklatch/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &otlp.headers {
            headers.insert(name, value.clone());
        }
        Ok(Self {
            connector: Connector::new(place.clone(), CONNECT_TIMEOUT, tls)?,
            uri: path.parse().map_err(io::Error::other)?,
            headers,
            timeout: otlp.timeout,
            maker: SpanMaker::new(&otlp.service_name),
            connection: None,
            metrics,
            finishing,
            failing: false,
        })
    }

    /// Exports the spans of a batch; counts and logs the result.
    pub(super) async fn export(&mut self, batch: &[EndedDelivery]) {
        let spans: u64 = batch.iter().map(EndedDelivery::spans).sum();
        let body = Bytes::from(self.maker.request(batch).encode_to_vec());
        let timeout = self.timeout;
        let rejected = match tokio::time::timeout(timeout, self.deliver(body)).await {
            Ok(Ok(rejected)) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the collector takes spans again");
                }
                rejected.min(spans)
            }
            Ok(Err(why)) => {
                self.gave_up(&why);
                spans
            }
            Err(_) => {
                // The connection is dropped, since a response to this request could still arrive on it.
                self.connection = None;
                self.gave_up("the time is up");
                spans
            }
        };
        self.metrics.exported.inc_by(spans - rejected);
        self.metrics.failed.inc_by(rejected);
    }

    /// Logs the first failure of a series of failing batches.
    fn gave_up(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = why, "the collector takes no spans: they are counted and given up");
        }
    }

    /// Sends a batch, in several attempts if necessary. Returns the number of spans that the collector rejected.
    async fn deliver(&mut self, body: Bytes) -> Result<u64, String> {
        let mut pause = FIRST_PAUSE;
        loop {
            let ExportFailure { why, again } = match self.attempt(body.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(failure) => failure,
            };
            let Some(asked) = again else { return Err(why) };
            let wait = asked.max(pause);
            pause *= 2;
            tokio::select! {
                biased;
                _ = self.finishing.wait_for(|finishing| *finishing) => return Err(why),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn attempt(&mut self, body: Bytes) -> Result<u64, ExportFailure> {
        let mut connection = match self.connection.take().filter(SendRequest::is_ready) {
            Some(connection) => connection,
            None => self.connect().await.map_err(ExportFailure::passing)?,
        };
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let response = connection.send_request(request).await.map_err(ExportFailure::passing)?;
        let (head, body) = response.into_parts();
        let answer = read(body).await.map_err(ExportFailure::passing)?;
        self.connection = Some(connection);
        check(&Response::from_parts(head, answer))
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = self.connector.connect().await?;
        let (connection, rest) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // The request reports the same error.
            let _ = rest.await;
        });
        Ok(connection)
    }
}

impl ExportFailure {
    fn passing(error: impl ToString) -> Self {
        Self { why: error.to_string(), again: Some(Duration::ZERO) }
    }
}

/// Reads a whole response body.
async fn read(mut body: Incoming) -> io::Result<Bytes> {
    let mut answer = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            answer.extend_from_slice(&data);
        }
        if answer.len() > MAX_ANSWER {
            return Err(io::Error::other("the collector's answer is too long"));
        }
    }
    Ok(answer.freeze())
}

/// The number of spans that the collector rejected.
fn check(answer: &Response<Bytes>) -> Result<u64, ExportFailure> {
    let status = answer.status();
    if status.is_success() {
        // A body that is not a valid message counts as no rejections, because the status is a success.
        let partial = ExportTraceServiceResponse::decode(answer.body().clone()).ok().and_then(|it| it.partial_success);
        return Ok(partial.and_then(|partial| u64::try_from(partial.rejected_spans).ok()).unwrap_or(0));
    }
    let passing = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let asked = Duration::from_secs(after.unwrap_or_default());
    Err(ExportFailure { why: format!("it answers {status}"), again: passing.then_some(asked) })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn answer(status: u16, retry_after: Option<&'static str>, body: Vec<u8>) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer.headers_mut().extend(retry_after.map(|value| (RETRY_AFTER, HeaderValue::from_static(value))));
        answer
    }

    #[test]
    fn what_a_collector_rejects_in_part_is_counted() {
        let partial = ExportTracePartialSuccess { rejected_spans: 3, ..ExportTracePartialSuccess::default() };
        let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert!(matches!(check(&answer(200, None, body)), Ok(3)));
        for body in [Vec::new(), b"<html>".to_vec()] {
            assert!(matches!(check(&answer(200, None, body)), Ok(0)));
        }
    }

    #[test]
    fn only_what_passes_is_tried_again_and_when_the_collector_says() {
        for status in [400, 401, 404, 413, 500] {
            assert!(check(&answer(status, Some("1"), Vec::new())).is_err_and(|failure| failure.again.is_none()));
        }
        for status in [429, 502, 503, 504] {
            let again = |retry_after| check(&answer(status, retry_after, Vec::new())).err().unwrap().again;
            assert_eq!(again(None), Some(Duration::ZERO));
            assert_eq!(again(Some("soon")), Some(Duration::ZERO));
            assert_eq!(again(Some("7")), Some(Duration::from_secs(7)));
        }
    }
}
