//! `hooklatch demo`: runs the gateway as `serve` does, with an embedded upstream behind it, and sends it three deliveries
//! for each of three providers.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::support::handler::EmbeddedUpstream;
use super::support::http::{HttpResponse, Transport, post, sign, unsigned_headers};
use super::{Failure, serve};
use crate::app::{self, Listeners, ShutdownResult, StartError};
use crate::clock::Clock;
use crate::config::{self, Config, Route, Sources};

/// The schemes shown, in this order.
const SCHEMES: [&str; 3] = ["icr", "civo", "circleci"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after the nine deliveries, with exit status 1 if one of them was not as expected
    #[arg(long)]
    once: bool,
}

/// One random secret for each scheme, with the name of the environment variable that the configuration reads.
struct RandomSecrets(Vec<(String, String)>);

/// How a delivery is prepared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeliveryKind {
    Signed,
    Unsigned,
    Tampered,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let upstream = EmbeddedUpstream::start()?;

    let secrets = RandomSecrets::new();
    let (config, listeners) = bind(&secrets, upstream.address)?;
    // The gateway consumes its configuration, so the sender's side loads another one.
    let sender = configure(&secrets, upstream.address, config.server.listen.first().copied(), config.admin.listen)?;
    let server = listeners.addresses().first().copied().ok_or_else(|| io::Error::other("no address is bound"))?;
    let admin = listeners.admin_address();
    let page = serve::page(&listeners);
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = std::thread::Builder::new().name("gateway".to_owned()).spawn(move || {
        let shutdown = async { drop(stopped.await) };
        app::run(config, listeners, Clock::system(), shutdown)
    })?;

    outln!("hooklatch demo: gateway on http://{server}, metrics on http://{admin}/metrics\n");
    outln!("{:<10}{:<10}{:<28}THE UPSTREAM SAW", "SCHEME", "DELIVERY", "THE GATEWAY ANSWERED");
    let mut wrong = 0;
    for route in &sender.routes {
        for kind in [DeliveryKind::Signed, DeliveryKind::Unsigned, DeliveryKind::Tampered] {
            wrong += usize::from(!show(route, kind, server, &upstream)?);
        }
    }
    let total = sender.routes.len() * 3;
    if wrong == 0 {
        outln!("\nAll {total} as expected: signed deliveries got through unchanged, everything else was refused.");
    } else {
        outln!("\n{wrong} of {total} not as expected.");
    }
    if !args.once {
        invite(&sender, server, admin, &page)?;
        app::runtime()?.block_on(serve::shutdown());
    }
    drop(stop);
    let ended = gateway.join().map_err(|_| Failure::Failed("the gateway's thread panicked".to_owned()))?;
    match ended.map_err(|error| Failure::Failed(error.to_string()))? {
        ShutdownResult::Drained if wrong == 0 => Ok(()),
        ShutdownResult::Drained | ShutdownResult::CutOff(_) | ShutdownResult::Stopped(_) => Err(Failure::Told),
    }
}

/// Sends one delivery and prints its line. Returns whether the result is the expected one.
fn show(route: &Route, kind: DeliveryKind, server: SocketAddr, upstream: &EmbeddedUpstream) -> Result<bool, Failure> {
    let sample = route.scheme.sample.body.clone();
    let sign = |body: &str| signed_headers(route, body);
    let (headers, body) = match kind {
        DeliveryKind::Signed => (sign(&sample)?, sample),
        DeliveryKind::Unsigned => (unsigned_headers(route), sample),
        // Changes the first string of the body.
        DeliveryKind::Tampered => (sign(&sample)?, sample.replacen("\":\"", "\":\"un", 1)),
    };
    let url = format!("http://{server}{}", route.path).parse().map_err(io::Error::other)?;
    let reply = post(&url, Transport::default(), None, headers, body.clone().into_bytes())?;
    let delivered = upstream.seen();

    let reason = reason(&reply);
    let answered = match &reason {
        Some(reason) => format!("{} {reason}", reply.status.as_u16()),
        None => reply.status.to_string(),
    };
    let saw = match delivered.as_slice() {
        [] => "nothing".to_owned(),
        [one] => format!("{} bytes, Hooklatch-Verified: {}", one.body.len(), one.verified()),
        more => format!("{} deliveries", more.len()),
    };
    let right = match kind {
        DeliveryKind::Signed => {
            let [one] = delivered.as_slice() else { return line(route, kind, &answered, &saw, false) };
            reply.status == StatusCode::OK && one.body == body.as_bytes() && one.verified() == "true"
        }
        DeliveryKind::Unsigned => delivered.is_empty() && is_refusal(&reply, &reason, &["missing_signature"]),
        DeliveryKind::Tampered => {
            delivered.is_empty() && is_refusal(&reply, &reason, &["signature_mismatch", "payload_mismatch"])
        }
    };
    line(route, kind, &answered, &saw, right)
}

/// The headers of a delivery with this body. None of the schemes shown changes the body when it signs.
fn signed_headers(route: &Route, body: &str) -> Result<HeaderMap, Failure> {
    let delivery = sign(route, &route.path.to_string(), None, &[], body.as_bytes());
    Ok(delivery.map_err(|error| Failure::Failed(error.to_string()))?.headers)
}

fn line(route: &Route, kind: DeliveryKind, answered: &str, saw: &str, right: bool) -> Result<bool, Failure> {
    let kind = match kind {
        DeliveryKind::Signed => "signed",
        DeliveryKind::Unsigned => "unsigned",
        DeliveryKind::Tampered => "tampered",
    };
    let wrong = if right { "" } else { "   <- wrong" };
    outln!("{:<10}{kind:<10}{answered:<28}{saw}{wrong}", route.scheme.name);
    Ok(right)
}

fn is_refusal(reply: &HttpResponse, reason: &Option<String>, expected: &[&str]) -> bool {
    reply.status == StatusCode::UNAUTHORIZED && reason.as_deref().is_some_and(|reason| expected.contains(&reason))
}

/// The reason in a refusal's body.
fn reason(reply: &HttpResponse) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
    Some(problem.get("reason")?.as_str()?.to_owned())
}

/// Prints the page's address and commands to try while the demo runs.
fn invite(sender: &Config, server: SocketAddr, admin: SocketAddr, page: &str) -> Result<(), Failure> {
    outln!("\nThe page shows them, and why each was refused: {page}");
    outln!("\nThe gateway runs until you press Ctrl-C. Try this in another terminal:");
    for route in sender.routes.iter().filter(|route| route.scheme.name == "civo") {
        let body = &route.scheme.sample.body;
        let headers = signed_headers(route, body)?;
        out!("  curl -i http://{server}{}", route.path);
        for (name, value) in &headers {
            out!(" -H '{name}: {}'", String::from_utf8_lossy(value.as_bytes()));
        }
        outln!(" -d '{body}'");
    }
    outln!("  curl -s http://{admin}/metrics | grep ^hooklatch_requests_total");
    Ok(())
}

/// The gateway's configuration and its bound listeners: on the usual ports, or on free ports if those are taken.
fn bind(secrets: &RandomSecrets, upstream: SocketAddr) -> Result<(Config, Listeners), Failure> {
    let mut server = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut admin = SocketAddr::from(([127, 0, 0, 1], 9797));
    loop {
        let config = configure(secrets, upstream, Some(server), admin)?;
        match app::bind(&config) {
            Ok(listeners) => return Ok((config, listeners)),
            Err(StartError::Bind { address, .. }) if address == server && server.port() != 0 => server.set_port(0),
            Err(StartError::Bind { address, .. }) if address == admin && admin.port() != 0 => admin.set_port(0),
            Err(error) => return Err(Failure::Failed(error.to_string())),
        }
    }
}

/// Loads a gateway.yaml made for the demo, as any other configuration.
fn configure(
    secrets: &RandomSecrets,
    upstream: SocketAddr,
    server: Option<SocketAddr>,
    admin: SocketAddr,
) -> Result<Config, Failure> {
    let server = server.unwrap_or(admin);
    let mut text = format!("server:\n  listen: {server}\n  threads: 1\nadmin:\n  listen: {admin}\nroutes:\n");
    for (scheme, (variable, _)) in SCHEMES.iter().zip(&secrets.0) {
        text.push_str(&format!(
            "  - name: {scheme}\n    path: /webhooks/{scheme}\n    scheme: {scheme}\n    \
             secrets: [{{ env: {variable}, id: demo }}]\n    upstream: http://{upstream}/{scheme}\n    record: full\n"
        ));
    }
    config::parse(&text, Path::new(""), secrets).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure::Failed(errors.join("\n"))
    })
}

impl RandomSecrets {
    fn new() -> Self {
        let random = || format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Self(SCHEMES.iter().map(|scheme| (format!("{}_SECRET", scheme.to_ascii_uppercase()), random())).collect())
    }
}

impl Sources for RandomSecrets {
    fn env(&self, name: &str) -> Option<OsString> {
        self.0.iter().find(|(variable, _)| variable == name).map(|(_, secret)| secret.into())
    }

    fn file(&self, _: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}
