//! A collector of traces: takes OTLP over HTTP with protobuf, and keeps what it gets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::process::poll;

/// A collector that runs for as long as the test.
pub struct Collector {
    pub address: SocketAddr,
    state: Arc<State>,
}

/// A request that it got.
#[derive(Clone)]
pub struct Export {
    pub path: String,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub request: ExportTraceServiceRequest,
}

#[derive(Default)]
struct State {
    exports: Mutex<Vec<Export>>,
    /// Statuses for the next requests; then 200.
    refusals: Mutex<Vec<u16>>,
    /// Whether it leaves requests without an answer.
    hangs: Mutex<bool>,
}

impl Collector {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// One that speaks TLS.
    pub fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::start_with(Some(config.into()))
    }

    fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = state.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (state, tls) = (shared.clone(), tls.clone());
                    tokio::spawn(async move {
                        let service = service_fn(move |request| take(state.clone(), request));
                        let http = http1::Builder::new();
                        // Its error is that of the request, or of the handshake.
                        match tls {
                            None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                                }
                            }
                        }
                    });
                }
            });
        });
        Self { address, state }
    }

    /// Its part of a configuration, with further flow-style keys.
    pub fn telemetry(&self, keys: &str) -> String {
        telemetry(self.address, keys)
    }

    /// Answers the next request with this status and `Retry-After: 0`, and takes nothing from it.
    pub fn refuse_once(&self, status: u16) {
        self.state.refusals.lock().unwrap().push(status);
    }

    /// How many of those refusals have not been given yet.
    pub fn refusals_left(&self) -> usize {
        self.state.refusals.lock().unwrap().len()
    }

    /// Answers no more.
    pub fn hang(&self) {
        *self.state.hangs.lock().unwrap() = true;
    }

    pub fn exports(&self) -> Vec<Export> {
        self.state.exports.lock().unwrap().clone()
    }

    pub fn spans(&self) -> Vec<Span> {
        let exports = self.exports().into_iter().flat_map(|export| export.request.resource_spans);
        exports.flat_map(|spans| spans.scope_spans).flat_map(|spans| spans.spans).collect()
    }

    /// Waits for as many spans.
    pub fn wait_for(&self, count: usize) -> Vec<Span> {
        poll("spans", || self.spans().len() >= count);
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

/// Traces to the server at an address.
pub fn telemetry(address: SocketAddr, keys: &str) -> String {
    format!("telemetry: {{ otlp: {{ endpoint: 'http://{address}/v1/traces', {keys} }} }}\n")
}

/// The text, or the number as text, of an attribute.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

async fn take(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default());
    }
    if *state.hangs.lock().unwrap() {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Full::default());
    if let Some(status) = state.refusals.lock().unwrap().pop() {
        *response.status_mut() = status.try_into().unwrap();
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("0"));
        return Ok(response);
    }
    let request = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
    let path = head.uri.path().to_owned();
    state.exports.lock().unwrap().push(Export { path, headers: head.headers, bytes, request });
    Ok(response)
}
