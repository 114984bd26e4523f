//! `hooklatch explain ROUTE --request FILE`: whether the route would take a captured request, and if not, why. For one that
//! a running gateway has recorded, see [`recorded`](super::recorded).
//!
//! The verdict comes from the gateway itself, see [`loopback`](super::support::loopback); the reason behind it comes from
//! [`why`](crate::acts::why). The client's address (`allowed_ips`), limits and timeouts are not judged.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use clap_complete::ArgValueCandidates;
use http::Method;

use super::support::api::{Api, GatewayArgs};
use super::support::captured::{self, Captured, Context, Lost};
use super::support::loopback::{LoopbackGateway, Verdict};
use super::{Failure, completions, find_route, load, recorded};
use crate::acts::why::{Question, Why, is_of_signature};
use crate::clock::Clock;
use crate::config::{Config, PathPattern, Route};
use crate::reject::Reject;
use crate::schemes::diagnose::{Diagnosis, Effort};
use crate::schemes::{self, RequestHead};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["request", "id", "last"])))]
pub(super) struct Args {
    /// The route's name
    #[arg(required_unless_present = "id", add = ArgValueCandidates::new(completions::routes))]
    route: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The request: raw HTTP, HAR, JSON of ngrok's agent, webhook.site or Hookdeck, a curl command, or the output of curl -v,
    /// --trace or --trace-ascii; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "token_file"])]
    request: Option<PathBuf>,
    /// The body, if the file of --request has the headers only
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "last"])]
    body: Option<PathBuf>,
    /// Which request of the file, counted from 1 [default: the newest POST]
    #[arg(long, value_name = "N", conflicts_with_all = ["id", "last"])]
    entry: Option<usize>,
    /// A delivery that the running gateway has recorded
    #[arg(long, value_name = "ID", conflicts_with = "route")]
    id: Option<String>,
    /// The last refused delivery of the route that the running gateway has recorded
    #[arg(long)]
    last: bool,
    /// Judge it as of this time (RFC 3339, or seconds since 1970) instead of now
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["id", "last"])]
    at: Option<Duration>,
}

fn parse_time(text: &str) -> Result<Duration, &'static str> {
    schemes::parse_time(text).ok_or("must be like 2026-01-31T12:00:00Z, or seconds since 1970")
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let route = args.route.as_deref().unwrap_or_default();
    let Some(request) = &args.request else {
        let api = Api::new(&args.gateway)?;
        let id = args.id.clone().map_or_else(|| recorded::last_refused(&api, route), Ok)?;
        return recorded::explain(&api, &id);
    };
    let config = load(&args.gateway.config)?;
    let route = find_route(&config, route)?;
    let captured = read(args, request, route)?;
    let now = args.at.unwrap_or_else(|| Clock::system().unix());
    let body = Bytes::copy_from_slice(&captured.request.body);
    let (head, routes) = (captured.parts.as_ref(), config.routes.iter().collect());
    let question = Question { route, routes, head, body: Some(&body), received_at: now };
    let question = Judged { config: &config, captured: &captured, question };
    let accepted = match &captured.cut_short {
        Some(missing) => {
            outln!("refused: bad_request (400): The request is not valid HTTP");
            outln!("cause: the file ends before the body does: {missing}");
            question.tell_signature(&question.question.diagnosis(&Effort::thorough()))?;
            false
        }
        None => question.ask()?,
    };
    outln!("note: the file was read as {}", captured.format.name());
    for note in captured.notes.iter().cloned().chain(question.notes(accepted)) {
        outln!("note: {note}");
    }
    if accepted { Ok(()) } else { Err(Failure::Told) }
}

/// Reads the request, and its body if that has a file of its own.
fn read(args: &Args, request: &Path, route: &Route) -> Result<Captured, Failure> {
    let body = args.body.as_deref().map(captured::load).transpose().map_err(Failure::Usage)?;
    let file = captured::load(request).map_err(Failure::Usage)?;
    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = &route.path;
    let context = Context {
        method: route.methods.first().map_or("POST", Method::as_str),
        path,
        host: route.host.as_deref(),
        entry: args.entry,
        body,
        open: &|name| captured::load(Path::new(name)),
    };
    captured::read(&file, &context).map_err(|why| Failure::Usage(format!("{} {why}", request.display())))
}

/// The question whether a route accepts a captured request.
struct Judged<'a> {
    config: &'a Config,
    captured: &'a Captured,
    question: Question<'a>,
}

impl Judged<'_> {
    /// Prints what the gateway does with the request. Returns whether the route accepts it.
    fn ask(&self) -> Result<bool, Failure> {
        let route = self.question.route;
        let method = self.captured.parts.as_ref().map(|parts| &parts.method);
        let config = self.config.clone().judging(&route.name, method);
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + self.question.received_at);
        match LoopbackGateway::new()?.judge(config, clock, &self.captured.request)? {
            Verdict::Forwarded(seen) if seen.header("hooklatch-route") == Some(&route.name) => {
                let secret = seen.header("hooklatch-secret-id").unwrap_or_default();
                outln!("accepted: signed with the secret \"{secret}\"");
                Ok(true)
            }
            Verdict::Forwarded(seen) => {
                let other = seen.header("hooklatch-route").unwrap_or_default();
                outln!("refused: the request goes to the route \"{other}\", whose path and host fit it better");
                self.tell_why(Reject::NoRoute.reason())?;
                Ok(false)
            }
            Verdict::Answered => {
                outln!("accepted: it is an endpoint's challenge, which the gateway answers itself");
                Ok(true)
            }
            Verdict::Refused { status, reason, title } if self.captured.lost.is_some() && self.is_of_body(&reason) => {
                outln!("unclear: as the file has it, it is refused: {reason} ({status}): {title}");
                self.tell_why(&reason)?;
                Ok(false)
            }
            Verdict::Refused { status, reason, title } => {
                outln!("refused: {reason} ({status}): {title}");
                self.tell_why(&reason)?;
                Ok(false)
            }
        }
    }

    /// Whether a refusal for this reason depends on the body: the head alone would be let through.
    fn is_of_body(&self, reason: &str) -> bool {
        let Question { route, head: Some(head), received_at, .. } = self.question else { return false };
        let by_head = || route.verifier.inspect(RequestHead::of(head), received_at).is_err();
        reason == Reject::BodyTooLarge.reason() || (is_of_signature(reason) && !by_head())
    }

    fn tell_why(&self, reason: &str) -> Result<(), Failure> {
        let Why { causes, signature } = self.question.why(reason, &Effort::thorough());
        for cause in causes {
            outln!("cause: {cause}");
        }
        match self.captured.lost {
            // What the search finds rests on a body that may be another. Only a proof holds.
            Some(_) if self.is_of_body(reason) && !signature.proven => Ok(()),
            _ if is_of_signature(reason) => tell(&signature),
            _ => self.tell_signature(&signature),
        }
    }

    /// Prints whether the signature is valid, if the request is refused for another reason.
    fn tell_signature(&self, diagnosis: &Diagnosis) -> Result<(), Failure> {
        if self.captured.parts.is_none() {
            return Ok(());
        }
        if diagnosis.causes.is_empty() {
            outln!("apart from that, the signature is right");
            return Ok(());
        }
        if (self.captured.lost.is_some() || self.captured.cut_short.is_some()) && !diagnosis.proven {
            outln!("whether the signature is right cannot be said: the file may not have the body that came");
            return Ok(());
        }
        outln!("apart from that, the signature is not right either:");
        tell(diagnosis)
    }

    /// Prints what the verdict does not cover.
    fn notes(&self, accepted: bool) -> Vec<String> {
        let mut notes = self.question.notes();
        match &self.captured.lost {
            // They were the right ones.
            Some(Lost::Bytes(_)) if accepted => {}
            Some(Lost::Body(why) | Lost::Bytes(why)) => {
                notes.push(format!("the body may not be the one that came: {why}"));
            }
            None => {}
        }
        if !self.question.route.allowed_ips.is_empty() {
            notes.push("who sent it does not stand in the file: allowed_ips was not looked at".to_owned());
        }
        notes
    }
}

fn tell(diagnosis: &Diagnosis) -> Result<(), Failure> {
    let kind = if diagnosis.proven { "cause" } else { "hint" };
    for cause in &diagnosis.causes {
        outln!("{kind}: {cause}");
    }
    if diagnosis.proven {
        outln!("but for that, the signature is right");
    }
    if let Some(at) = diagnosis.signed_at {
        outln!("note: to judge it as of the time that it was signed at: --at {at}");
    }
    Ok(())
}
