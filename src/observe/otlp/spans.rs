//! Makes the spans of a delivery, by OpenTelemetry's semantic conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>). The gateway's own attributes begin with `hooklatch.`.
//!
//! A span never contains queries, bodies, signatures or secrets.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::config::{Url, UrlPlace};
use crate::delivery::timeline::Period;
use crate::delivery::trace_context::SpanId;
use crate::observe::trace::{EndedDelivery, OTHER_METHOD};
use crate::reject::Reject;
use crate::routing::table::RouteShared;
use crate::upstream::target::target;

/// The version of the conventions that the attribute names come from.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.38.0";
/// Flags of a span. If bit 8 is set, bit 9 says whether the parent is in another process.
const KNOWN_ORIGIN: u32 = 0x100;
const REMOTE: u32 = 0x200;
const SAMPLED: u32 = 0x001;

/// Makes spans, with the resource and scope that all spans of this process have in common.
pub(super) struct SpanMaker {
    resource: Resource,
    scope: InstrumentationScope,
}

/// A list of attributes. An attribute without a value is not added.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl SpanMaker {
    /// Makes spans for a service of this name.
    pub(super) fn new(service_name: &str) -> Self {
        let mut attributes = Attributes::default();
        attributes.text("service.name", Some(service_name));
        attributes.text("service.version", Some(crate::VERSION));
        attributes.text("service.instance.id", Some(uuid::Uuid::new_v4().to_string()));
        let scope = InstrumentationScope {
            name: "hooklatch".to_owned(),
            version: crate::VERSION.to_owned(),
            ..InstrumentationScope::default()
        };
        Self { resource: Resource { attributes: attributes.0, ..Resource::default() }, scope }
    }

    /// The request that exports the spans of a batch.
    pub(super) fn request(&self, batch: &[EndedDelivery]) -> ExportTraceServiceRequest {
        let spans = batch.iter().flat_map(spans).collect();
        let scope_spans = ScopeSpans { scope: Some(self.scope.clone()), spans, schema_url: SCHEMA.to_owned() };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            schema_url: SCHEMA.to_owned(),
        };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }
}

/// The spans of a delivery: as many as [`EndedDelivery::spans`] says.
fn spans(ended: &EndedDelivery) -> Vec<Span> {
    let mut spans = vec![receive(ended)];
    if let Some(check) = ended.verification {
        // The check begins as soon as the body has arrived.
        let body = Period::between(ended.period.start, check.start);
        spans.push(child(ended, "read body", SpanKind::Internal, rand::random(), body));
        spans.push(verify(ended, check));
    }
    spans.extend(ended.upstream.map(|period| forward(ended, period)));
    spans
}

/// The span of the whole delivery.
fn receive(ended: &EndedDelivery) -> Span {
    let route = ended.route.as_deref();
    let method = ended.method;
    let path = route.map(|route| route.config.path.to_string());
    let status = ended.status.as_u16();
    let mut attributes = Attributes::default();
    attributes.text("http.request.method", Some(method));
    attributes.text("url.scheme", Some(if ended.tls { "https" } else { "http" }));
    attributes.text("url.path", Some(ended.path.as_str()));
    attributes.text("http.route", path.as_deref());
    attributes.number("http.response.status_code", Some(status.into()));
    attributes.text("network.protocol.version", version(ended));
    attributes.text("network.peer.address", Some(ended.peer.ip().to_string()));
    attributes.number("network.peer.port", Some(ended.peer.port().into()));
    attributes.text("client.address", Some(ended.client.to_string()));
    attributes.number("http.request.body.size", ended.request_bytes);
    attributes.number("http.response.body.size", ended.response_bytes);
    attributes.text("hooklatch.route", route.map(|route| route.config.name.as_str()));
    attributes.text("hooklatch.scheme", route.map(|route| route.config.scheme.name.as_str()));
    attributes.text("hooklatch.outcome", Some(ended.outcome.as_str()));
    attributes.text("hooklatch.reason", ended.rejected.map(Reject::reason));
    attributes.text("hooklatch.request_id", ended.request_id.as_deref());
    attributes.text("hooklatch.event_type", ended.event.kind.as_deref());
    attributes.text("hooklatch.event_id", ended.event.id.as_deref());
    // A 4xx is an error of the sender, not of the gateway.
    let failed = status >= 500;
    attributes.text("error.type", failed.then(|| error_type(ended.rejected, status)));
    let context = &ended.context;
    let links = context.link.map(|link| Link {
        trace_id: link.trace.to_vec(),
        span_id: link.span.to_vec(),
        flags: KNOWN_ORIGIN | REMOTE | u32::from(link.sampled),
        ..Link::default()
    });
    let verb = verb(method);
    Span {
        name: path.map_or_else(|| verb.to_owned(), |path| format!("{verb} {path}")),
        parent_span_id: context.parent.map(|parent| parent.span.to_vec()).unwrap_or_default(),
        trace_state: context.state.clone().unwrap_or_default(),
        flags: SAMPLED | KNOWN_ORIGIN | if context.parent.is_some() { REMOTE } else { 0 },
        attributes: attributes.0,
        links: links.into_iter().collect(),
        status: error(failed),
        ..child(ended, "", SpanKind::Server, context.receive, ended.period)
    }
}

/// The span of the check of the signature.
fn verify(ended: &EndedDelivery, period: Period) -> Span {
    let refused = ended.rejected.filter(|reject| matches!(reject, Reject::Signature(_))).map(Reject::reason);
    let mut attributes = Attributes::default();
    attributes.text("hooklatch.scheme", ended.route.as_deref().map(|route| route.config.scheme.name.as_str()));
    attributes.text("error.type", refused);
    Span {
        attributes: attributes.0,
        status: error(refused.is_some()),
        ..child(ended, "verify", SpanKind::Internal, rand::random(), period)
    }
}

/// The span of the request to the upstream.
fn forward(ended: &EndedDelivery, period: Period) -> Span {
    let status = ended.upstream_status.map(|status| status.as_u16());
    let refused = ended.rejected.map(Reject::reason);
    let failed = refused.is_some() || status.is_some_and(|status| status >= 400);
    let mut attributes = Attributes::default();
    attributes.text("http.request.method", Some(ended.method));
    attributes.number("http.response.status_code", status.map(u64::from));
    attributes.text("error.type", failed.then(|| error_type(ended.rejected, status.unwrap_or_default())));
    if let Some(route) = ended.route.as_deref()
        && let Some(upstream) = route.config.upstream.urls.get(ended.upstream_url)
    {
        let (address, port) = match &upstream.place {
            UrlPlace::Tcp { host, port } => (host.clone(), Some(u64::from(*port))),
            UrlPlace::Unix(path) => (path.display().to_string(), None),
        };
        attributes.text("server.address", Some(address));
        attributes.number("server.port", port);
        attributes.text("url.full", Some(url(upstream, route, ended)));
    }
    Span {
        attributes: attributes.0,
        status: error(failed),
        ..child(ended, verb(ended.method), SpanKind::Client, ended.context.forward, period)
    }
}

/// A method in the name of a span.
fn verb(method: &str) -> &str {
    if method == OTHER_METHOD { "HTTP" } else { method }
}

/// The URL of the request to the upstream, without the query.
fn url(upstream: &Url, route: &RouteShared, ended: &EndedDelivery) -> String {
    let rest = route.config.path.prefix_len().map(|prefix| ended.path.get(prefix..).unwrap_or_default());
    let path = target(&upstream.path, rest, None, None).concat();
    let scheme = if upstream.tls { "https" } else { "http" };
    format!("{scheme}://{}{path}", upstream.authority)
}

/// A span whose parent is the span of the delivery.
fn child(ended: &EndedDelivery, name: &str, kind: SpanKind, id: SpanId, period: Period) -> Span {
    Span {
        trace_id: ended.context.trace.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: ended.context.receive.to_vec(),
        flags: SAMPLED | KNOWN_ORIGIN,
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: ended.nanos(period.start),
        end_time_unix_nano: ended.nanos(period.end()),
        ..Span::default()
    }
}

fn error(failed: bool) -> Option<Status> {
    failed.then(|| Status { code: StatusCode::Error.into(), ..Status::default() })
}

/// The gateway's reason, or the status of the response.
fn error_type(reject: Option<Reject>, status: u16) -> String {
    reject.map_or_else(|| status.to_string(), |reject| reject.reason().to_owned())
}

fn version(ended: &EndedDelivery) -> Option<&'static str> {
    match ended.version {
        http::Version::HTTP_10 => Some("1.0"),
        http::Version::HTTP_11 => Some("1.1"),
        http::Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

impl Attributes {
    fn text(&mut self, key: &str, value: Option<impl Into<String>>) {
        self.add(key, value.map(|value| Value::StringValue(value.into())));
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.add(key, value.and_then(|value| i64::try_from(value).ok()).map(Value::IntValue));
    }

    fn add(&mut self, key: &str, value: Option<Value>) {
        let attribute = |value| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        };
        self.0.extend(value.map(attribute));
    }
}
