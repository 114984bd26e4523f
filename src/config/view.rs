//! What operators see of a configuration, and what tells two configurations apart.
//!
//! A [`View`] has one [`Entry`] for each key of the model. Every struct of the model is taken apart by a pattern that names
//! all of its fields, so a field that is added to the model does not compile until it is shown here.
//!
//! Shown are values, names and fingerprints of certificates. A secret is never shown: its entry shows its id or its name
//! and compares a [`Mark`] of the content.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::admin::Admin;
use super::dedupe::Dedupe;
use super::delivery::{Circuit, Delivery, Queue, QueueResponse};
use super::mark::Mark;
use super::model::{Config, RateLimit, Route, Server};
use super::network::Networks;
use super::retry::Retry;
use super::sign::Sign;
use super::store::{Keep, Place, Store};
use super::telemetry::{Otlp, OtlpEndpoint};
use super::tls::{ClientTls, Identity, Roots, ServerTls};
use super::upstream::Upstream;
use super::url::Url;
use crate::schemes::{SchemeOptions, Secret, Spec};

/// A configuration as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    server: Vec<Entry>,
    admin: Vec<Entry>,
    telemetry: Vec<Entry>,
    store: Vec<Entry>,
    /// The entries of each route, in the order of the file.
    routes: Vec<(String, Vec<Entry>)>,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    key: &'static str,
    shown: Value,
    /// Marks of the parts of the value that are not shown.
    hidden: Vec<Mark>,
    /// Whether the key takes effect only at the start of the process.
    needs_restart: bool,
}

impl View {
    /// The view of `config`. Warnings are not part of it: they say nothing that the keys do not say.
    pub fn of(config: &Config) -> Self {
        let Config { server, admin, telemetry, store, routes, warnings: _ } = config;
        Self {
            server: of_server(server),
            admin: of_admin(admin),
            telemetry: vec![of_telemetry(telemetry.as_ref())],
            store: of_store(store.as_ref()).into(),
            routes: routes.iter().map(|route| (route.name.clone(), of_route(route))).collect(),
        }
    }

    /// The keys of each section, and the routes as a list.
    pub fn to_json(&self) -> Map<String, Value> {
        let sections = self.sections().map(|(name, entries)| (name.to_owned(), object(entries)));
        let routes = self.routes.iter().map(|(_, entries)| object(entries)).collect();
        sections.into_iter().chain([("routes".to_owned(), Value::Array(routes))]).collect()
    }

    /// The keys outside of the routes that differ in `after`, each with its section: `server.access_log`.
    pub fn changed_keys(&self, after: &Self) -> Vec<String> {
        self.changed(after).map(|(section, entry)| format!("{section}.{}", entry.key)).collect()
    }

    /// Those of the changed keys that a reload cannot change.
    pub fn changed_at_start_only(&self, after: &Self) -> Vec<String> {
        let changed = self.changed(after).filter(|(_, entry)| entry.needs_restart);
        changed.map(|(section, entry)| format!("{section}.{}", entry.key)).collect()
    }

    /// The keys of the route of this name that differ in `after`; none if the route is not in both.
    pub fn changed_keys_of_route(&self, after: &Self, name: &str) -> Vec<&'static str> {
        match (self.route(name), after.route(name)) {
            (Some(before), Some(after)) => differing(before, after).map(|entry| entry.key).collect(),
            _ => Vec::new(),
        }
    }

    /// The keys that only a restart changes, each with its section.
    pub fn keys_at_start_only(&self) -> Vec<String> {
        let keys = self.sections().into_iter().flat_map(|(section, entries)| {
            entries.iter().filter(|entry| entry.needs_restart).map(move |entry| format!("{section}.{}", entry.key))
        });
        keys.collect()
    }

    fn changed<'v>(&'v self, after: &'v Self) -> impl Iterator<Item = (&'static str, &'v Entry)> {
        let pairs = self.sections().into_iter().zip(after.sections());
        pairs.flat_map(|((section, before), (_, after))| differing(before, after).map(move |entry| (section, entry)))
    }

    fn sections(&self) -> [(&'static str, &[Entry]); 4] {
        let Self { server, admin, telemetry, store, routes: _ } = self;
        [("server", server), ("admin", admin), ("telemetry", telemetry), ("store", store)]
    }

    fn route(&self, name: &str) -> Option<&[Entry]> {
        self.routes.iter().find(|(own, _)| own == name).map(|(_, entries)| entries.as_slice())
    }
}

/// A section has the same keys in the same order in every configuration.
fn differing<'e>(before: &'e [Entry], after: &'e [Entry]) -> impl Iterator<Item = &'e Entry> {
    before.iter().zip(after).filter(|(before, after)| before != after).map(|(_, after)| after)
}

fn object(entries: &[Entry]) -> Value {
    entries.iter().map(|entry| (entry.key.to_owned(), entry.shown.clone())).collect::<Map<_, _>>().into()
}

impl Entry {
    fn new(key: &'static str, shown: impl Into<Value>) -> Self {
        Self { key, shown: shown.into(), hidden: Vec::new(), needs_restart: false }
    }

    fn at_start_only(self) -> Self {
        Self { needs_restart: true, ..self }
    }

    fn hiding(self, hidden: impl IntoIterator<Item = Mark>) -> Self {
        Self { hidden: hidden.into_iter().collect(), ..self }
    }
}

fn of_server(server: &Server) -> Vec<Entry> {
    let Server {
        name,
        listen,
        tls,
        trusted_proxies,
        proxy_protocol,
        threads,
        max_connections,
        header_timeout,
        idle_timeout,
        max_header_bytes,
        buffered_bytes,
        shutdown_grace,
        access_log,
    } = server;
    vec![
        Entry::new("name", name.as_str()).at_start_only(),
        Entry::new("listen", texts(listen)).at_start_only(),
        Entry::new("tls", tls.as_ref().map(server_tls)),
        Entry::new("trusted_proxies", networks(trusted_proxies)),
        Entry::new("proxy_protocol", *proxy_protocol),
        Entry::new("threads", threads.get()).at_start_only(),
        Entry::new("max_connections", *max_connections),
        Entry::new("header_timeout_seconds", header_timeout.as_secs_f64()),
        Entry::new("idle_timeout_seconds", idle_timeout.as_secs_f64()),
        Entry::new("max_header_bytes", *max_header_bytes),
        Entry::new("buffered_bytes", *buffered_bytes),
        Entry::new("shutdown_grace_seconds", shutdown_grace.as_secs_f64()),
        Entry::new("access_log", access_log.as_str()),
    ]
}

fn of_admin(admin: &Admin) -> Vec<Entry> {
    let Admin { listen, page, hosts, token, read_only } = admin;
    vec![
        Entry::new("listen", listen.to_string()).at_start_only(),
        Entry::new("page", *page),
        Entry::new("hosts", hosts.as_slice()),
        Entry::new("token", token.as_ref().map(|_| "set")).hiding(token.iter().map(|token| Mark::of(token.expose()))),
        Entry::new("read_only", *read_only),
    ]
}

fn of_telemetry(otlp: Option<&Otlp>) -> Entry {
    let Some(otlp) = otlp else { return Entry::new("otlp", Value::Null) };
    let Otlp { endpoint, headers, timeout, sample, service_name, context_from } = otlp;
    // The text of the endpoint is that of the URL.
    let OtlpEndpoint { url: _, certificates } = endpoint;
    let shown = json!({
        "endpoint": endpoint.to_string(),
        "headers": headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        "tls": certificates.as_ref().map(client_tls),
        "timeout_seconds": timeout.as_secs_f64(),
        "sample": sample,
        "service_name": service_name,
        "context_from": context_from.as_str(),
    });
    Entry::new("otlp", shown).hiding(headers.iter().map(|(_, value)| Mark::of(value.as_bytes())))
}

fn of_store(store: Option<&Store>) -> [Entry; 7] {
    let parts = store.map(|store| {
        let Store { place, max_size, min_free, keep: Keep { delivered, dead, refused } } = store;
        (place, *max_size, *min_free, [delivered, dead, refused].map(Duration::as_secs_f64))
    });
    let parts = parts.as_ref();
    let keep = |index: usize| parts.and_then(|(_, _, _, keep)| keep.get(index).copied());
    let (path, postgres, mark) = match parts {
        Some((Place::Folder(path), ..)) => (Some(path.display().to_string()), None, None),
        Some((Place::Postgres { target, mark }, ..)) => (None, Some(target.to_string()), Some(*mark)),
        None => (None, None, None),
    };
    [
        Entry::new("path", path).at_start_only(),
        Entry::new("postgres", postgres).hiding(mark).at_start_only(),
        Entry::new("max_size_bytes", parts.map(|(_, max_size, ..)| *max_size)),
        Entry::new("min_free_bytes", parts.map(|(_, _, min_free, _)| *min_free)),
        Entry::new("keep_delivered_seconds", keep(0)),
        Entry::new("keep_dead_seconds", keep(1)),
        Entry::new("keep_refused_seconds", keep(2)),
    ]
}

fn of_route(route: &Route) -> Vec<Entry> {
    let Route {
        name,
        path,
        host,
        scheme,
        scheme_options,
        // Made from the scheme, its options and the secrets.
        verifier: _,
        // A reload compares each secret by its mark and reports it by its id.
        secrets: _,
        secret_marks: _,
        secret_ids,
        upstream,
        methods,
        enforce,
        reject_status,
        allowed_ips,
        max_body,
        body_timeout,
        max_in_flight,
        rate_limit,
        timeout,
        delivery,
        dedupe,
        sign,
        record,
        record_body,
    } = route;
    let mut entries = vec![
        Entry::new("name", name.as_str()),
        Entry::new("path", path.to_string()),
        Entry::new("host", host.as_deref()),
        of_scheme(scheme),
        Entry::new("secrets", secret_ids.as_slice()),
        Entry::new("methods", texts(methods)),
        Entry::new("enforce", *enforce),
        Entry::new("reject_status", reject_status.as_u16()),
        Entry::new("allowed_ips", networks(allowed_ips)),
        Entry::new("max_body_bytes", *max_body),
        Entry::new("body_timeout_seconds", body_timeout.as_secs_f64()),
        Entry::new("max_in_flight", *max_in_flight),
        Entry::new("rate_limit", rate_limit.map(of_rate_limit)),
        Entry::new("timeout_seconds", timeout.as_secs_f64()),
        Entry::new("dedupe", dedupe.as_ref().map(of_dedupe)),
        of_sign(sign.as_ref()),
        Entry::new("record", record.as_str()),
        Entry::new("record_body_bytes", *record_body),
    ];
    entries.extend(of_delivery(delivery));
    entries.extend(of_options(scheme_options));
    entries.extend(of_upstream(upstream));
    entries
}

/// The name, and a mark of the rest: the file can define the scheme itself.
fn of_scheme(scheme: &Spec) -> Entry {
    Entry::new("scheme", scheme.name.as_str()).hiding([Mark::of(format!("{scheme:?}").as_bytes())])
}

fn of_options(options: &SchemeOptions) -> [Entry; 7] {
    // `max_uncompressed` is the route's `max_body`.
    let SchemeOptions {
        signed_content,
        match_payload,
        public_url,
        tolerance,
        max_uncompressed: _,
        parameters,
        secrets,
        challenge,
    } = options;
    [
        Entry::new("signed_content", signed_content.as_deref()),
        Entry::new("match_payload", *match_payload),
        Entry::new("public_url", public_url.as_deref()),
        Entry::new("tolerance_seconds", tolerance.map(|tolerance| tolerance.as_secs_f64())),
        Entry::new("parameters", json!(parameters)),
        of_scheme_secrets(secrets),
        Entry::new("challenge", *challenge),
    ]
}

fn of_scheme_secrets(secrets: &BTreeMap<String, Secret>) -> Entry {
    let names: Vec<&str> = secrets.keys().map(String::as_str).collect();
    Entry::new("scheme_secrets", names).hiding(secrets.values().map(|secret| Mark::of(secret.expose())))
}

/// The mode, and the keys of a queue, which are `null` without one.
fn of_delivery(delivery: &Delivery) -> [Entry; 7] {
    let queue = match delivery {
        Delivery::Proxy => None,
        Delivery::Queue(queue) => Some(&**queue),
    };
    let [response, retry, max_concurrent, max_rate, circuit, paused] = match queue {
        None => [const { Value::Null }; 6],
        Some(Queue { response, retry, max_concurrent, max_rate, circuit, paused }) => [
            of_response(response),
            of_retry(retry),
            json!(max_concurrent),
            json!(max_rate),
            circuit.map_or(Value::Bool(false), of_circuit),
            json!(paused),
        ],
    };
    [
        Entry::new("delivery", delivery.as_str()),
        Entry::new("response", response),
        Entry::new("retry", retry),
        Entry::new("max_concurrent", max_concurrent),
        Entry::new("max_rate", max_rate),
        Entry::new("circuit", circuit),
        Entry::new("paused", paused),
    ]
}

fn of_response(response: &QueueResponse) -> Value {
    let QueueResponse { status, body, content_type } = response;
    json!({
        "status": status.as_u16(),
        "body": String::from_utf8_lossy(body),
        "content_type": String::from_utf8_lossy(content_type.as_bytes()),
    })
}

fn of_retry(retry: &Retry) -> Value {
    let Retry { min_backoff, max_backoff, jitter, schedule, max_age, min_attempts, max_attempts, give_up_on } = retry;
    let seconds = |waits: &Vec<Duration>| waits.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    json!({
        "min_backoff_seconds": min_backoff.as_secs_f64(),
        "max_backoff_seconds": max_backoff.as_secs_f64(),
        "jitter": jitter,
        "schedule_seconds": schedule.as_ref().map(seconds),
        "max_age_seconds": max_age.as_secs_f64(),
        "min_attempts": min_attempts,
        "max_attempts": max_attempts.map_or(0, NonZeroU32::get),
        "give_up_on": give_up_on.iter().map(StatusCode::as_u16).collect::<Vec<_>>(),
    })
}

fn of_circuit(circuit: Circuit) -> Value {
    let Circuit { failures, max_wait } = circuit;
    json!({ "failures": failures, "max_wait_seconds": max_wait.as_secs_f64() })
}

fn of_dedupe(dedupe: &Dedupe) -> Value {
    let Dedupe { window, key } = dedupe;
    json!({ "window_seconds": window.as_secs_f64(), "key": key.to_string() })
}

/// The number of secrets, which have no names.
fn of_sign(sign: Option<&Sign>) -> Entry {
    let Some(Sign { secrets }) = sign else { return Entry::new("sign", Value::Null) };
    let marks = secrets.iter().map(|secret| Mark::of(secret.expose()));
    Entry::new("sign", json!({ "secrets": secrets.len() })).hiding(marks)
}

fn of_rate_limit(limit: RateLimit) -> Value {
    let RateLimit { per_second, burst } = limit;
    json!({ "per_second": per_second, "burst": burst })
}

fn of_upstream(upstream: &Upstream) -> [Entry; 5] {
    let Upstream { urls, connect_timeout, resend, host_header, certificates } = upstream;
    // The text of a URL writes an empty path as a slash, and has no query.
    let marks = urls.iter().map(|Url { tls, place, authority, path, query }| {
        Mark::of(format!("{:?}", (tls, place, authority, path, query)).as_bytes())
    });
    [
        Entry::new("upstream", upstream.to_string()).hiding(marks),
        Entry::new("connect_timeout_seconds", connect_timeout.as_secs_f64()),
        Entry::new("resend", *resend),
        Entry::new("host_header", host_header.as_str()),
        Entry::new("upstream_tls", certificates.as_ref().map(client_tls)),
    ]
}

fn server_tls(tls: &ServerTls) -> Value {
    let ServerTls { identity, client_ca } = tls;
    json!({ "certificate": identity.fingerprint(), "client_ca": client_ca.as_ref().map(Roots::fingerprint) })
}

fn client_tls(tls: &ClientTls) -> Value {
    let ClientTls { ca, identity } = tls;
    json!({
        "ca": ca.as_ref().map(Roots::fingerprint),
        "client_certificate": identity.as_ref().map(Identity::fingerprint),
    })
}

fn networks(networks: &Networks) -> Vec<String> {
    networks.iter().map(|network| network.to_string()).collect()
}

fn texts(values: &[impl fmt::Display]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
