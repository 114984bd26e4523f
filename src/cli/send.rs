//! `hooklatch send ROUTE`: signs a delivery as the route's provider would, and sends it to the gateway or to another URL.

use std::io::{self, Write};
use std::path::PathBuf;

use clap_complete::ArgValueCandidates;
use http::{HeaderName, HeaderValue, Uri};

use super::support::http::{Transport, is_it_there, parse_header, post, reachable, sign};
use super::support::pinned;
use super::{ConfigArgs, Failure, completions, find_route, load, read_body, written};
use crate::config::{Config, PathPattern, Route};
use crate::reject::{PROBLEM_TYPE, Reject};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The route's name
    #[arg(add = ArgValueCandidates::new(completions::routes))]
    route: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to send the delivery [default: the configured listener and the route's path]
    #[arg(long)]
    url: Option<Uri>,
    /// The file with the body [default: a sample of the route's scheme]
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A header of the delivery, `Name: value`, in place of the sample's or beside it; repeat it for several headers
    #[arg(long = "header", value_name = "LINE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = load(&args.config.config)?;
    let route = find_route(&config, &args.route)?;
    let body = match &args.body {
        Some(path) => read_body(Some(path))?,
        None => route.scheme.sample.body.clone().into_bytes(),
    };
    let (url, way, host) = match &args.url {
        Some(url) if url.authority().is_none() => {
            return Err(Failure::Usage(format!(
                "--url needs a complete URL, such as http://127.0.0.1:8080/webhooks/civo, not {url}"
            )));
        }
        Some(url) => (url.clone(), Transport::default(), None),
        None => {
            let (url, way) = to_gateway(&config, route)?;
            (url, way, route.host.as_deref())
        }
    };
    let delivery = sign(route, url.path(), url.query(), &args.headers, &body)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let url = with_query(url, delivery.query.as_deref())?;
    let reply = post(&url, way, host, delivery.headers, delivery.body).map_err(|error| {
        Failure::Failed(format!("cannot send the delivery to {url}: {error}{}", is_it_there(&error)))
    })?;
    outln!("{}", reply.status);
    let line_end: &[u8] = if reply.body.is_empty() || reply.body.ends_with(b"\n") { b"" } else { b"\n" };
    written(io::stdout().write_all(&reply.body).and_then(|()| io::stdout().write_all(line_end)))?;
    if reply.status.is_success() {
        return Ok(());
    }
    if let Some(refused) = refusal(&reply.body) {
        errln!("hooklatch: {}: {}", refused.reason(), refused.hint());
    }
    Err(Failure::Told)
}

/// Why the gateway refused the delivery, if the body of the answer is a refusal.
fn refusal(body: &[u8]) -> Option<Reject> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    let reason = problem.get("type")?.as_str()?.strip_prefix(PROBLEM_TYPE)?;
    Reject::named(reason)
}

/// Replaces the query of a URL.
fn with_query(url: Uri, query: Option<&str>) -> Result<Uri, Failure> {
    let mut parts = url.into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |target| target.path());
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let failed =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("cannot put the signature into the URL: {error}"));
    parts.path_and_query = Some(target.parse().map_err(|error| failed(&error))?);
    Uri::from_parts(parts).map_err(|error| failed(&error))
}

/// The URL of the route on this machine, and how to connect to it.
fn to_gateway(config: &Config, route: &Route) -> Result<(Uri, Transport), Failure> {
    let address = config.server.listen.first().copied().filter(|address| address.port() != 0);
    let address = address.ok_or_else(|| {
        Failure::Usage("server.listen has port 0, so the port is unknown: name the address with --url".to_owned())
    })?;
    let path = match &route.path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
    };
    let address = reachable(address);
    let server = &config.server;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}{path}");
    // A connection to an address of this machine has that same address as its source.
    let from_proxy = server.trusted_proxies.is_empty() || server.trusted_proxies.contains(address.ip());
    let way = Transport {
        tls: server.tls.as_ref().map(|tls| pinned::client_config(&tls.identity)).transpose()?,
        proxy_protocol: server.proxy_protocol && from_proxy,
    };
    Ok((url.parse().map_err(|error| Failure::Failed(format!("{url}: {error}")))?, way))
}
