//! The parts of a delivery's way that are pure functions, each by itself: verification for every scheme that can be
//! signed, the edit of the request's headers, the look-up of the route.
//!
//! `cargo bench --bench micro` measures, with a filter if one is given (`-- verify::stripe`). Without `--bench`, as in
//! `cargo test --benches`, each runs once, to see that it works.

#![allow(missing_docs, clippy::unwrap_used)]

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use hooklatch::clock::Clock;
use hooklatch::config::{self, Sources};
use hooklatch::delivery::peer::Peer;
use hooklatch::delivery::request::RequestInfo;
use hooklatch::delivery::timeline::Timeline;
use hooklatch::gateway::headers;
use hooklatch::http1::as_sent::SentHead;
use hooklatch::metrics::Metrics;
use hooklatch::net::connect::Connector;
use hooklatch::routing::limits::LimitStates;
use hooklatch::routing::route_headers::RouteHeaders;
use hooklatch::routing::table::{Route, RouteShared, Router};
use hooklatch::schemes::{self, RequestHead, SchemeOptions, SignedRequest, Spec, Unsigned, Verifier};
use hooklatch::upstream::pool::Pool;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use zeroize::Zeroizing;

/// What the clock says.
const NOW: Duration = Duration::from_secs(1_700_000_000);
/// Bytes that make a sample's body one of about 3 KB.
const FILLER: usize = 3 * 1024;
/// One of these is a secret that a scheme takes, unless it wants a public key.
const SECRETS: [&str; 3] = ["736563726574736563726574", "user:736563726574", "signkey-test-736563726574"];

fn main() {
    divan::main();
}

// --- Verification ----------------------------------------------------------------------------------------------------

/// A delivery that verifies.
struct Delivery {
    verifier: Verifier,
    headers: HeaderMap,
    query: Option<String>,
    body: Bytes,
}

impl Delivery {
    /// With a body of 3 KB where the scheme lets the sample's have more in it; `None` where only the provider can sign.
    fn of(spec: &Spec) -> Option<Self> {
        let open = spec.parameters.iter().filter(|parameter| !parameter.secret);
        let options = SchemeOptions {
            public_url: spec.needs_public_url().then(|| "https://hooks.example.com/in".to_owned()),
            parameters: open.map(|parameter| (parameter.name.clone(), "p".to_owned())).collect(),
            ..SchemeOptions::default()
        };
        let compile = |secret: &&str| spec.compile(&options, &[secret.as_bytes().to_vec().into()]).ok();
        grown(&spec.sample.body)
            .into_iter()
            .find_map(|body| Self::signed(spec, SECRETS.iter().find_map(compile)?, &body))
    }

    fn signed(spec: &Spec, verifier: Verifier, body: &str) -> Option<Self> {
        let mut headers = spec.sample.headers.to_map();
        let query = spec.sample.query.clone();
        let head = RequestHead { method: &Method::POST, path: "/in", query: query.as_deref(), headers: &headers };
        let signed = verifier.sign(0, &Unsigned { head, body: body.as_bytes() }, NOW).ok()?;
        headers.extend(signed.headers);
        let body = signed.body.unwrap_or_else(|| body.as_bytes().to_vec()).into();
        let delivery = Self { verifier, headers, query: signed.query.or(query), body };
        delivery.verifies().then_some(delivery)
    }

    /// Both steps, as the gateway takes them.
    fn verifies(&self) -> bool {
        let Self { headers, query, .. } = self;
        let head = RequestHead { method: &Method::POST, path: "/in", query: query.as_deref(), headers };
        let Ok(claim) = self.verifier.inspect(head, NOW) else { return false };
        let request = SignedRequest { head, body: std::slice::from_ref(&self.body) };
        self.verifier.verify(&claim, &request, NOW).is_ok()
    }
}

/// The body with more in it, as JSON and as a form; as it is where that would not be one.
fn grown(body: &str) -> Vec<String> {
    let filler = "x".repeat(FILLER);
    let json = body.strip_suffix('}').map(|start| format!(r#"{start},"filler":"{filler}"}}"#));
    let form = body.contains('=').then(|| format!("{body}&filler={filler}"));
    json.or(form).into_iter().chain([body.to_owned()]).collect()
}

fn signable() -> impl Iterator<Item = &'static str> {
    schemes::names().filter(|name| {
        let spec = schemes::find(name).unwrap();
        spec.unsupported.is_none() && Delivery::of(spec).is_some()
    })
}

#[divan::bench(args = signable())]
fn verify(bencher: Bencher<'_, '_>, scheme: &str) {
    let delivery = Delivery::of(schemes::find(scheme).unwrap()).unwrap();
    bencher.bench_local(|| assert!(divan::black_box(&delivery).verifies()));
}

// --- Headers ---------------------------------------------------------------------------------------------------------

/// The headers of a delivery for its upstream.
#[divan::bench]
fn write_headers(bencher: Bencher<'_, '_>) {
    let route = configured(["path: /in".to_owned()]).remove(0);
    let lines = RouteHeaders::new(&route).unwrap();
    let host = HeaderValue::from_static("hooks.example.com");
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("user-agent", "CircleCI-Webhook/1.0"),
        ("content-type", "application/json"),
        ("circleci-event-type", "workflow-completed"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("circleci-signature", "v1=4fcc06915b43d8a49aff193441e9e18654e6a27c2c428b02e8fcc41ccc2299f9"),
        ("content-length", "3072"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(HOST, host.clone());
    let mut head = Request::new(()).into_parts().0;
    head.headers = headers;
    let info = RequestInfo {
        head,
        sent: SentHead::default(),
        peer: Rc::new(Peer::new("192.0.2.1:4711".parse().unwrap(), true)),
        has_senders_id: true,
        delivery_id: uuid::Uuid::nil(),
        request_id: HeaderValue::from_static("1f0c8a4e-1d0c-4f5e-9a43-3d1f0e5b7c11"),
        received: Clock::system().now(),
        received_unix: Clock::system().unix(),
        timeline: Timeline::default(),
    };
    bencher.bench_local(|| headers::fields(&lines, &info, Some(&host), Some(0), 3072));
}

// --- Routes ----------------------------------------------------------------------------------------------------------

#[divan::bench(args = [1, 1_000])]
fn find_exact(bencher: Bencher<'_, '_>, routes: usize) {
    find(bencher, routes, |route| format!("path: /in/{route}"), "/in/0", None);
}

#[divan::bench(args = [1, 1_000])]
fn find_prefix(bencher: Bencher<'_, '_>, routes: usize) {
    find(bencher, routes, |route| format!("path: /in/{route}/*"), "/in/0/delivery", None);
}

#[divan::bench(args = [1, 1_000])]
fn find_host(bencher: Bencher<'_, '_>, routes: usize) {
    find(bencher, routes, |route| format!("path: /in, host: h{route}.example.com"), "/in", Some("h0.example.com:443"));
}

#[divan::bench(args = [1, 1_000])]
fn find_nothing(bencher: Bencher<'_, '_>, routes: usize) {
    let router = router(routes, |route| format!("path: /in/{route}"));
    bencher.bench_local(|| assert!(router.find(divan::black_box("/elsewhere"), None).is_none()));
}

fn find(bencher: Bencher<'_, '_>, routes: usize, place: fn(usize) -> String, path: &str, host: Option<&str>) {
    let router = router(routes, place);
    bencher.bench_local(|| assert!(router.find(divan::black_box(path), divan::black_box(host)).is_some()));
}

/// This many routes, each at its place.
fn router(routes: usize, place: fn(usize) -> String) -> Router {
    let metrics = Metrics::new(0.0).unwrap();
    let limits = LimitStates::default();
    let upstream = config::UrlPlace::Tcp { host: "192.0.2.2".to_owned(), port: 80 };
    let pool = Pool::new(Connector::new(upstream, Duration::from_secs(1), None).unwrap());
    let routes = configured((0..routes).map(place)).into_iter().map(|route| {
        let shared = RouteShared::new(route, &metrics, &limits).unwrap();
        Rc::new(Route::new(Arc::new(shared), [pool.clone()]))
    });
    Router::new(routes)
}

/// Routes as a configuration has them, from what it says of their paths and hosts.
fn configured(places: impl IntoIterator<Item = String>) -> Vec<config::Route> {
    let mut text = "routes:\n".to_owned();
    for (route, place) in places.into_iter().enumerate() {
        writeln!(
            text,
            "  - {{ name: route-{route}, {place}, scheme: circleci, secrets: [{{ env: SECRET }}], \
             upstream: \"http://192.0.2.2/in\" }}"
        )
        .unwrap();
    }
    config::parse(&text, Path::new("/"), &OneSecret).unwrap().routes
}

/// The same secret for every name.
struct OneSecret;

impl Sources for OneSecret {
    fn env(&self, _: &str) -> Option<OsString> {
        Some("benchmark-secret-of-32-bytes-len".into())
    }

    fn file(&self, _: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}
