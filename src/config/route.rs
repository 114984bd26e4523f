//! Checks one route. The rules that span routes (names, pairs of path and host) are kept in [`Seen`].

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::address::{PathPattern, parse_path, parse_route_host};
use super::dedupe;
use super::delivery::{self, Mode};
use super::mark::Mark;
use super::model::{RateLimit, Route};
use super::network::{self, Networks};
use super::raw::Node;
use super::reader::{Errors, Field, Section};
use super::record::{DEFAULT_RECORD_BODY, RECORDS, Record};
use super::scheme;
use super::secret::{Labelled, explain_key, read_all};
use super::sign;
use super::sources::Context;
use super::units::{parse_size, read_count, read_size, read_timeout};
use super::upstream::read_upstream;
use crate::schemes::{SchemeOptions, Secret, Spec};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// With a queue, the provider has its answer already.
pub(super) const DEFAULT_QUEUE_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_MAX_BODY: u64 = 1 << 20;
pub(super) const DEFAULT_IN_FLIGHT: u32 = 1024;

pub(super) const REJECT_STATUSES: RangeInclusive<u16> = 400..=599;

/// The part of a provider's deadline that is left for reading the request and sending the response.
const DEADLINE_MARGIN: Duration = Duration::from_millis(500);

/// The methods of RFC 9110 section 9.3 and RFC 5789, except CONNECT, which has no path.
pub(super) const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// What metrics and logs call the route of a request that matches none; no route can have this name.
pub const NO_ROUTE: &str = "none";

/// The names and places of earlier routes, each with its YAML path.
#[derive(Debug, Default)]
pub(super) struct Seen {
    names: HashMap<String, String>,
    places: HashMap<(PathPattern, Option<String>), String>,
    /// The schemes that the file itself defines, by name.
    pub(super) schemes: HashMap<String, Arc<Spec>>,
    /// Whether the file has a store.
    pub(super) has_store: bool,
}

/// Where a route is found.
struct Place {
    name: String,
    path: PathPattern,
    host: Option<String>,
}

/// Which requests a route lets in, and how it refuses the others.
struct Admission {
    methods: Vec<Method>,
    enforce: bool,
    reject_status: StatusCode,
    allowed_ips: Networks,
}

/// How much a route lets in, and for how long it waits.
struct Bounds {
    max_body: u64,
    body_timeout: Duration,
    max_in_flight: u32,
    rate_limit: Option<RateLimit>,
    timeout: Duration,
}

/// Reads a route; `None` after any error.
pub(super) fn read(field: &Field<'_>, seen: &mut Seen, context: Context<'_>) -> Option<Route> {
    let mut section = field.section()?;
    let place = read_place(&mut section, field, seen);
    let scheme = section.required("scheme", |field| scheme::read(field, &seen.schemes, context));
    let spec = scheme.as_ref().map(|(spec, _)| &**spec);
    let secrets = section.required("secrets", |field| read_all(field, spec, context));
    let upstream = section.required("upstream", |field| read_upstream(field, context));
    let mode = delivery::read_mode(&mut section, seen.has_store);
    let admission = read_admission(&mut section, spec, mode);
    let bounds = read_bounds(&mut section, spec, mode);
    let delivery = delivery::read(&mut section, mode);
    let dedupe = dedupe::read(&mut section);
    let sign = sign::read(&mut section, context);
    let record = section.optional("record", Record::default(), |field| field.one_of(&RECORDS));
    let record_body = section.optional("record_body", DEFAULT_RECORD_BODY, |field| field.parsed_or_number(parse_size));
    // A route whose scheme signs no time ignores it.
    let tolerance = section.optional("tolerance", None, |field| read_timeout(field).map(Some));
    section.finish(explain_key);

    let (scheme, options) = scheme?;
    let max_uncompressed = bounds.as_ref().map(|bounds| usize::try_from(bounds.max_body).unwrap_or(usize::MAX));
    let scheme_options = SchemeOptions { tolerance: tolerance?, max_uncompressed, ..options };
    let (secret_ids, secrets): (Vec<String>, Vec<Secret>) =
        secrets?.into_iter().map(|Labelled { id, secret }| (id, secret)).unzip();
    let verifier = match scheme.compile(&scheme_options, &secrets) {
        Ok(verifier) => verifier,
        Err(error) => {
            field.error_below("scheme", error.to_string());
            return None;
        }
    };
    let has_queue = mode == Some(Mode::Queue);
    let dedupe = dedupe.and_then(|wanted| dedupe::resolve(field, wanted, has_queue, &scheme.name, &verifier));
    let sign = sign.filter(|sign| sign.is_none() || sign::check(field, &scheme.name, &verifier).is_some());
    let Place { name, path, host } = place?;
    let Admission { methods, enforce, reject_status, allowed_ips } = admission?;
    let Bounds { max_body, body_timeout, max_in_flight, rate_limit, timeout } = bounds?;
    Some(Route {
        name,
        path,
        host,
        scheme,
        scheme_options,
        verifier,
        secret_marks: secrets.iter().map(|secret| Mark::of(secret.expose())).collect(),
        secrets,
        secret_ids,
        upstream: upstream?,
        methods,
        enforce,
        reject_status,
        allowed_ips,
        max_body,
        body_timeout,
        max_in_flight,
        rate_limit,
        timeout,
        delivery: delivery?,
        dedupe: dedupe?,
        sign: sign?,
        record: record?,
        record_body: record_body?,
    })
}

fn read_place(section: &mut Section<'_>, route: &Field<'_>, seen: &mut Seen) -> Option<Place> {
    let name = section.required("name", |field| read_name(field, seen));
    let path = section.required("path", |field| field.parsed(parse_path));
    let host = section.optional("host", None, |field| field.parsed(parse_route_host).map(Some));
    if let (Some(path), Some(host)) = (&path, &host) {
        let place = (path.clone(), host.clone());
        if let Some(other) = seen.places.insert(place, route.path().to_owned()) {
            route.error_below("path", format!("{other} has the same path and host"));
        }
    }
    Some(Place { name: name?, path: path?, host: host? })
}

fn read_admission(section: &mut Section<'_>, spec: Option<&Spec>, mode: Option<Mode>) -> Option<Admission> {
    let methods = section.optional("methods", vec![Method::POST], read_methods);
    let enforce = section.optional("enforce", true, |field| {
        let enforce = field.boolean()?;
        if !enforce && mode == Some(Mode::Queue) {
            field.error("must be true with delivery: queue, because only a delivery that verifies is stored");
        }
        Some(enforce)
    });
    let reject_status = section.optional("reject_status", default_status(spec), read_status);
    let allowed_ips = section.optional("allowed_ips", Networks::default(), network::read);
    Some(Admission { methods: methods?, enforce: enforce?, reject_status: reject_status?, allowed_ips: allowed_ips? })
}

fn read_bounds(section: &mut Section<'_>, spec: Option<&Spec>, mode: Option<Mode>) -> Option<Bounds> {
    let max_body = spec.and_then(|spec| spec.max_body_bytes).unwrap_or(DEFAULT_MAX_BODY);
    let max_body = section.optional("max_body", max_body, read_size);
    let body_timeout = section.optional("body_timeout", DEFAULT_BODY_TIMEOUT, read_timeout);
    let max_in_flight =
        section.optional("max_in_flight", DEFAULT_IN_FLIGHT, |field| read_count(field).map(NonZeroU32::get));
    let rate_limit = section.optional("rate_limit", None, |field| read_rate_limit(field).map(Some));
    let default = if mode == Some(Mode::Queue) { DEFAULT_QUEUE_TIMEOUT } else { default_timeout(spec) };
    let timeout = section.optional("timeout", default, read_timeout);
    Some(Bounds {
        max_body: max_body?,
        body_timeout: body_timeout?,
        max_in_flight: max_in_flight?,
        rate_limit: rate_limit?,
        timeout: timeout?,
    })
}

fn read_name(field: &Field<'_>, seen: &mut Seen) -> Option<String> {
    let name = field.parsed(parse_name)?;
    match seen.names.insert(name.clone(), field.path().to_owned()) {
        None => Some(name),
        Some(other) => {
            field.error(format!("the name \"{name}\" is already used by {other}"));
            None
        }
    }
}

/// The names in a file that may have errors.
pub(super) fn names(root: &Node, errors: &Errors) -> Option<Vec<String>> {
    let routes = Field::root(root, errors).section()?.get("routes")?.list()?;
    let name = |route: &Field<'_>| parse_name(route.section()?.get("name")?.text()?).ok();
    Some(routes.iter().filter_map(name).collect())
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = text.bytes().next().is_some_and(alphanumeric);
    if !first || !text.bytes().all(|byte| alphanumeric(byte) || byte == b'_' || byte == b'-') {
        return Err("must be lower-case letters, digits, _ and -, and begin with a letter or digit");
    }
    if text == NO_ROUTE {
        return Err("must not be \"none\": metrics use this name for requests that match no route");
    }
    Ok(text.to_owned())
}

fn read_methods(field: &Field<'_>) -> Option<Vec<Method>> {
    field.distinct(parse_method)
}

fn parse_method(text: &str) -> Result<Method, String> {
    let names = || METHODS.map(|method| method.to_string()).join(", ");
    let known = METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
    match known {
        Some(method) if method.as_str() == text => Ok(method),
        Some(method) => Err(format!("methods are in upper case: write {method}")),
        None => Err(format!("must be one of: {}", names())),
    }
}

fn read_status(field: &Field<'_>) -> Option<StatusCode> {
    let status =
        u16::try_from(field.integer((*REJECT_STATUSES.start()).into(), (*REJECT_STATUSES.end()).into())?).ok()?;
    field.checked(StatusCode::from_u16(status))
}

/// A map of the rate and the burst.
fn read_rate_limit(field: &Field<'_>) -> Option<RateLimit> {
    let mut section = field.section()?;
    let per_second = section.required("per_second", read_count);
    let burst = section.optional("burst", per_second, |field| read_count(field).map(Some));
    section.finish(|_| None);
    Some(RateLimit { per_second: per_second?, burst: burst?? })
}

fn default_status(spec: Option<&Spec>) -> StatusCode {
    let own = spec.and_then(|spec| spec.reject_status).and_then(|status| StatusCode::from_u16(status).ok());
    own.unwrap_or(StatusCode::UNAUTHORIZED)
}

/// Shorter than the provider's deadline, so that the provider receives the gateway's answer to a timeout.
fn default_timeout(spec: Option<&Spec>) -> Duration {
    let deadline = spec.and_then(Spec::deadline);
    let timeout = deadline.and_then(|deadline| deadline.checked_sub(DEADLINE_MARGIN));
    timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT)
}
