//! Traces: the running binary and a collector that speaks OTLP.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;

use crate::support::certificates::{Authority, Files};
use crate::support::collector::{Collector, attribute, telemetry};
use crate::support::http;
use crate::support::process::{Stream, poll};
use crate::support::sender::sha256;
use crate::support::served::{Served, route};

const SECRET: &str = "a-secret-for-telemetry-tests";
const BODY: &[u8] = br#"{"id":"3888f21b","canary":"in-the-body"}"#;
/// A trace of another system.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn serve(server: &str, telemetry: &str) -> Served {
    let server = format!("listen: 127.0.0.1:0, threads: 1, access_log: all, {server}");
    Served::start_with(&server, &routes(telemetry), &[("s", SECRET), ("token", "Bearer collector-token")])
}

fn routes(telemetry: &str) -> String {
    route("ci", "[{ file: s }]", "") + telemetry
}

fn signed(secret: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let signature = format!("v1={}", sha256(secret, BODY));
    let own = [("circleci-signature", signature.as_str()), ("circleci-event-type", "workflow-completed")];
    http::post("/ci?token=in-the-query", headers.iter().copied().chain(own), BODY)
}

fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{SPAN}-{:02x}", u8::from(sampled))
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// The value of a header that the handler got with the last delivery.
fn told(served: &Served, header: &str) -> Option<String> {
    served.upstream.entries().last().unwrap().header(header).map(str::to_owned)
}

fn spans_counted(served: &Served, result: &str) -> f64 {
    served.metric(&format!("hooklatch_spans_total{{result=\"{result}\"}}")).unwrap()
}

/// An address without a listener.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_delivery_is_a_trace_of_its_receipt_its_check_and_its_way_to_the_handler() {
    let collector = Collector::start();
    let keys = "service_name: gateway-a, headers: { authorization: { file: token } }";
    let mut served = serve("", &collector.telemetry(keys));
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    let spans = collector.wait_for(4);

    let receive = named(&spans, "POST /ci");
    assert_eq!(receive.kind(), SpanKind::Server);
    assert!(receive.parent_span_id.is_empty() && !is_error(receive));
    let of = |span: &Span, key: &str| attribute(&span.attributes, key);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/ci"),
        ("url.path", "/ci"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("http.request.body.size", "40"),
        ("http.response.body.size", "3"),
        ("hooklatch.route", "ci"),
        ("hooklatch.scheme", "circleci"),
        ("hooklatch.outcome", "forwarded"),
        ("hooklatch.event_type", "workflow-completed"),
        ("hooklatch.event_id", "3888f21b"),
    ] {
        assert_eq!(of(receive, key).as_deref(), Some(value), "{key}");
    }
    let body = named(&spans, "read body");
    let verify = named(&spans, "verify");
    let forward = named(&spans, "POST");
    assert_eq!(forward.kind(), SpanKind::Client);
    for child in [body, verify, forward] {
        assert_eq!(child.trace_id, receive.trace_id);
        assert_eq!(child.parent_span_id, receive.span_id);
        assert!(!is_error(child));
        assert!(child.start_time_unix_nano >= receive.start_time_unix_nano);
        assert!(child.start_time_unix_nano <= child.end_time_unix_nano);
        assert!(child.end_time_unix_nano <= receive.end_time_unix_nano);
    }
    assert!(body.end_time_unix_nano <= verify.start_time_unix_nano);
    assert!(verify.end_time_unix_nano <= forward.start_time_unix_nano);
    let upstream = served.upstream.address;
    assert_eq!(of(forward, "url.full"), Some(format!("http://{upstream}/in")));
    assert_eq!(of(forward, "server.port"), Some(upstream.port().to_string()));
    assert_eq!(of(forward, "http.response.status_code").as_deref(), Some("200"));

    // The handler gets the id of the gateway's span.
    let expected = format!("00-{}-{}-01", hex(&receive.trace_id), hex(&forward.span_id));
    assert_eq!(told(&served, "traceparent"), Some(expected));
    assert_eq!(told(&served, "tracestate"), None);

    let exports = collector.exports();
    assert!(exports.iter().all(|export| export.path == "/v1/traces"));
    assert_eq!(exports[0].headers["content-type"], "application/x-protobuf");
    assert_eq!(exports[0].headers["authorization"], "Bearer collector-token");
    let resource = exports[0].request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("gateway-a"));
    poll("counted", || spans_counted(&served, "exported") == 4.0);
    let shown = String::from_utf8(served.admin("/config").body).unwrap();
    assert!(shown.contains("/v1/traces") && !shown.contains("collector-token"), "{shown}");

    assert!(served.gateway.process.terminate().success());
    let log = served.gateway.process.printed(Stream::Stderr).join("\n");
    assert!(log.contains(&format!("\"trace_id\":\"{}\"", hex(&receive.trace_id))), "{log}");
    assert!(!log.contains("collector-token"), "{log}");
    let signature = sha256(SECRET, BODY);
    for export in collector.exports() {
        let text = String::from_utf8_lossy(&export.bytes);
        for canary in [SECRET, &signature, "in-the-body", "in-the-query", "collector-token"] {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
}

#[test]
fn a_refused_delivery_is_a_trace_with_its_reason_that_ends_where_it_was_refused() {
    let collector = Collector::start();
    let mut served = serve("", &collector.telemetry(""));
    assert_eq!(http::send(served.gateway.server, &signed("another", &[])).status, 401);
    let spans = collector.wait_for(3);
    let receive = named(&spans, "POST /ci");
    let reason = |span: &Span, key: &str| attribute(&span.attributes, key);
    assert_eq!(reason(receive, "hooklatch.outcome").as_deref(), Some("rejected"));
    assert_eq!(reason(receive, "hooklatch.reason").as_deref(), Some("signature_mismatch"));
    assert_eq!(reason(receive, "http.response.status_code").as_deref(), Some("401"));
    assert!(!is_error(receive), "the sender's fault");
    let verify = named(&spans, "verify");
    assert!(is_error(verify));
    assert_eq!(reason(verify, "error.type").as_deref(), Some("signature_mismatch"));

    assert_eq!(http::send(served.gateway.server, &http::post("/nowhere", [], b"")).status, 404);
    let spans = collector.wait_for(4);
    let unknown = named(&spans, "POST");
    assert_eq!(unknown.kind(), SpanKind::Server);
    assert_eq!(reason(unknown, "hooklatch.reason").as_deref(), Some("no_route"));
    assert_eq!(reason(unknown, "http.route"), None);
    assert!(served.upstream.entries().is_empty());
    assert!(served.gateway.process.terminate().success());
}

#[test]
fn a_handler_that_is_not_there_is_an_error_of_both_spans() {
    let collector = Collector::start();
    let gone = nobody();
    let yaml = routes(&collector.telemetry("")).replace("UPSTREAM", &format!("'http://{gone}/in'"));
    let mut served = Served::start_with("listen: 127.0.0.1:0, threads: 1", &yaml, &[("s", SECRET)]);
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 502);
    let spans = collector.wait_for(4);
    for name in ["POST /ci", "POST"] {
        let span = named(&spans, name);
        assert!(is_error(span), "{name}");
        let kind = attribute(&span.attributes, "error.type");
        assert_eq!(kind.as_deref(), Some("upstream_unreachable"), "{name}");
    }
    assert!(served.gateway.process.terminate().success());
}

#[test]
fn the_trace_of_a_trusted_proxy_is_continued_and_its_decision_followed() {
    let collector = Collector::start();
    let mut served = serve("trusted_proxies: [127.0.0.1]", &collector.telemetry("sample: 0%"));
    let state = ("tracestate", "vendor=opaque");
    let unsampled = signed(SECRET, &[("traceparent", &traceparent(false)), state]);
    assert_eq!(http::send(served.gateway.server, &unsampled).status, 200);
    let not_recorded = told(&served, "traceparent").unwrap();
    assert!(not_recorded.starts_with(&format!("00-{TRACE}-")) && not_recorded.ends_with("-00"), "{not_recorded}");
    assert!(!not_recorded.contains(SPAN), "the gateway's own span");

    let sampled = signed(SECRET, &[("traceparent", &traceparent(true)), state]);
    assert_eq!(http::send(served.gateway.server, &sampled).status, 200);
    assert_eq!(told(&served, "tracestate").as_deref(), Some("vendor=opaque"));
    let spans = collector.wait_for(4);
    let receive = named(&spans, "POST /ci");
    assert_eq!((hex(&receive.trace_id).as_str(), hex(&receive.parent_span_id).as_str()), (TRACE, SPAN));
    assert_eq!(receive.trace_state, "vendor=opaque");
    assert!(receive.links.is_empty());
    assert!(served.gateway.process.terminate().success());
}

#[test]
fn the_trace_of_a_stranger_is_linked_and_decides_nothing() {
    let collector = Collector::start();
    let mut served = serve("", &collector.telemetry(""));
    let request = signed(SECRET, &[("traceparent", &traceparent(false)), ("tracestate", "vendor=opaque")]);
    assert_eq!(http::send(served.gateway.server, &request).status, 200);
    let spans = collector.wait_for(4);
    let receive = named(&spans, "POST /ci");
    assert_ne!(hex(&receive.trace_id), TRACE);
    assert!(receive.parent_span_id.is_empty() && receive.trace_state.is_empty());
    assert_eq!(receive.links.len(), 1);
    let link = &receive.links[0];
    assert_eq!((hex(&link.trace_id).as_str(), hex(&link.span_id).as_str()), (TRACE, SPAN));
    assert!(told(&served, "traceparent").unwrap().contains(&hex(&receive.trace_id)));
    assert_eq!(told(&served, "tracestate"), None);

    served.configure_with(
        "listen: 127.0.0.1:0, threads: 1, access_log: all",
        &routes(&collector.telemetry("context_from: anyone, sample: 0%")),
    );
    assert_eq!(served.reload()["keys"], "telemetry.otlp");
    let request = signed(SECRET, &[("traceparent", &traceparent(true))]);
    assert_eq!(http::send(served.gateway.server, &request).status, 200);
    let told = told(&served, "traceparent").unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    assert!(served.gateway.process.terminate().success());
    collector.wait_for(4);
}

#[test]
fn without_telemetry_the_senders_headers_pass_untouched() {
    let mut served = serve("", "");
    let request = signed(SECRET, &[("traceparent", "anything"), ("tracestate", "vendor=opaque")]);
    assert_eq!(http::send(served.gateway.server, &request).status, 200);
    assert_eq!(told(&served, "traceparent").as_deref(), Some("anything"));
    assert_eq!(told(&served, "tracestate").as_deref(), Some("vendor=opaque"));
    assert!(served.gateway.process.terminate().success());
    let log = served.gateway.process.printed(Stream::Stderr).join("\n");
    assert!(!log.contains("trace_id"), "{log}");
}

#[test]
fn a_reload_changes_the_collector_and_turns_traces_off() {
    let (first, second) = (Collector::start(), Collector::start());
    let mut served = serve("", &first.telemetry(""));
    let server = "listen: 127.0.0.1:0, threads: 1, access_log: all";
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    served.configure_with(server, &routes(&second.telemetry("")));
    served.reload();
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    // What waited for the first goes there.
    first.wait_for(4);
    second.wait_for(4);
    served.configure_with(server, &routes(""));
    served.reload();
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[("traceparent", "mine")])).status, 200);
    assert_eq!(told(&served, "traceparent").as_deref(), Some("mine"));
    assert!(served.gateway.process.terminate().success());
    assert_eq!((first.spans().len(), second.spans().len()), (4, 4));
}

#[test]
fn the_last_spans_are_exported_before_the_end() {
    let collector = Collector::start();
    let mut served = serve("", &collector.telemetry(""));
    for _ in 0..20 {
        assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    }
    assert!(served.gateway.process.terminate().success());
    assert_eq!(collector.spans().len(), 80);
}

#[test]
fn a_collector_that_is_busy_for_a_moment_gets_its_spans_all_the_same() {
    let collector = Collector::start();
    collector.refuse_once(503);
    let served = serve("", &collector.telemetry(""));
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    collector.wait_for(4);
    poll("counted", || spans_counted(&served, "exported") == 4.0);
    assert_eq!(spans_counted(&served, "failed"), 0.0);
}

#[test]
fn a_collector_is_reached_by_tls_with_both_certificates_checked() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let collector = Collector::start_tls(ours.issue("127.0.0.1").server(Some(&ours)));
    let files = Files::new();
    files.write_identity("client", &ours.issue("gateway-a"));
    let telemetry = |ca: &Authority| {
        let ca = files.write("collector-ca.pem", &ca.pem());
        let (certificate, key) = (files.path("client.crt"), files.path("client.key"));
        let tls = format!("{{ ca: '{ca}', client_certificate: '{certificate}', client_key: '{key}' }}");
        collector.telemetry(&format!("tls: {tls}, timeout: 1s")).replace("http://", "https://")
    };
    let mut served = serve("", &telemetry(&theirs));
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    poll("given up", || spans_counted(&served, "failed") == 4.0);
    assert!(collector.exports().is_empty(), "another authority's collector gets nothing");

    // The same file with another content.
    telemetry(&ours);
    served.reload();
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    collector.wait_for(4);
    assert!(served.gateway.process.terminate().success());
}

#[test]
fn a_collector_that_asks_to_be_hammered_is_not() {
    let collector = Collector::start();
    for _ in 0..100 {
        collector.refuse_once(503);
    }
    let mut served = serve("", &collector.telemetry("timeout: 2s"));
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    poll("given up", || spans_counted(&served, "failed") == 4.0);
    // At once, after 0.5 s and after 1.5 s, although it asks for `Retry-After: 0`.
    assert!(collector.refusals_left() >= 97, "{}", collector.refusals_left());
    assert!(served.gateway.process.terminate().success());
}

#[test]
fn what_is_no_collector_costs_spans_and_nothing_else() {
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\n\r\nwithout an end", "HTTP/1.1 100 Continue\r\n\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Says the same for as long as it is listened to.
        thread::spawn(move || {
            for mut connection in listener.incoming().map(Result::unwrap) {
                while connection.write_all(answer.as_bytes()).is_ok() {}
            }
        });
        let mut served = serve("", &telemetry(address, "timeout: 1s"));
        assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
        poll("given up", || spans_counted(&served, "failed") == 4.0);
        let memory = served.metric("process_resident_memory_bytes").unwrap();
        assert!(memory < f64::from(200 << 20), "{memory} after {answer:?}");
        assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
        assert!(served.gateway.process.terminate().success());
    }
}

#[test]
fn a_collector_that_refuses_for_good_costs_spans_and_is_told_once() {
    let collector = Collector::start();
    let mut served = serve("", &collector.telemetry(""));
    for count in [4.0, 8.0] {
        collector.refuse_once(400);
        assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
        poll("given up", || spans_counted(&served, "failed") == count);
    }
    assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
    poll("taken again", || spans_counted(&served, "exported") == 4.0);
    assert!(served.gateway.process.terminate().success());
    let printed = served.gateway.process.printed(Stream::Stderr);
    let told = |what: &str| printed.iter().filter(|line| line.contains(what)).count();
    assert_eq!((told("takes no spans"), told("takes spans again")), (1, 1), "{printed:#?}");
}

#[test]
fn a_collector_that_is_gone_or_hangs_delays_neither_deliveries_nor_the_end() {
    let hanging = Collector::start();
    hanging.hang();
    for address in [nobody(), hanging.address] {
        let mut served = serve("shutdown_grace: 1s", &telemetry(address, "timeout: 60s"));
        for _ in 0..50 {
            assert_eq!(http::send(served.gateway.server, &signed(SECRET, &[])).status, 200);
        }
        let slowest =
            served.metric("hooklatch_request_duration_seconds_bucket{outcome=\"forwarded\",route=\"ci\",le=\"10\"}");
        assert_eq!(slowest, Some(50.0));
        assert_eq!(spans_counted(&served, "exported"), 0.0);
        let begun = now();
        assert!(served.gateway.process.terminate().success());
        assert!(begun.elapsed() < Duration::from_secs(20), "it waited for the collector's timeout");
    }
}

#[test]
fn each_mistake_in_the_section_is_told_at_its_place() {
    let mut served = serve("", "");
    for (telemetry, expected) in [
        ("{ otlp: { endpoint: 'http://c:4318' } }", "telemetry.otlp.endpoint: needs a path"),
        ("{ otlp: {} }", "telemetry.otlp.endpoint: is missing"),
        ("{ otlp: { endpoint: 'http://c/t', sample: 0.5 } }", "telemetry.otlp.sample: "),
        (
            "{ otlp: { endpoint: 'http://c/t', headers: { authorization: hunter2 } } }",
            "a secret must not stand in this file",
        ),
        ("{ otlp: { endpoint: 'http://c/t', headers: { host: { file: s } } } }", "telemetry.otlp.headers.host: "),
        ("{ otlp: { endpoint: 'http://c/t', tls: { ca: ca.pem } } }", "telemetry.otlp.tls: applies only to https://"),
        ("{ otlp: { endpoint: 'http://c/t', context_from: all } }", "must be one of"),
    ] {
        let server = "listen: 127.0.0.1:0, threads: 1, access_log: all";
        served.configure_with(server, &routes(&format!("telemetry: {telemetry}\n")));
        let errors = served.reload_failed();
        assert!(errors.iter().any(|error| error.contains(expected)), "{telemetry}: {errors:?}");
        assert!(!errors.iter().any(|error| error.contains("hunter2")), "{errors:?}");
    }
    let summary: Value = served.admin("/config").json();
    assert_eq!(summary["telemetry"]["otlp"], Value::Null);
}

#[allow(clippy::disallowed_methods, reason = "bounds how long the end takes")]
fn now() -> Instant {
    Instant::now()
}
