//! `hooklatch conformance [PROVIDER…]`: sends deliveries with a known verdict through a whole gateway on loopback, whose
//! clock stands still at the time of the delivery.
//!
//! A valid delivery must reach the upstream byte for byte and marked as verified. An invalid delivery must be refused, for
//! the reason that its vector names, if any.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap_complete::ArgValueCandidates;
use zeroize::Zeroizing;

use super::support::loopback::{LoopbackGateway, Request, Verdict};
use super::support::vectors::{self, Vector};
use super::{Failure, completions};
use crate::clock::Clock;
use crate::config::{self, Config, Sources};
use crate::schemes::{self, Spec};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names of schemes; without any: all
    #[arg(value_name = "PROVIDER", add = ArgValueCandidates::new(completions::schemes))]
    providers: Vec<String>,
    /// A JSON file of vectors to run instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
}

/// The vectors of one provider.
struct Suite {
    provider: String,
    /// Why they cannot be run.
    unsupported: Option<String>,
    vectors: Vec<Vector>,
}

/// Supplies the secret of a vector as an environment variable.
struct OneSecret(Vec<u8>);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(name) = args.providers.iter().find(|name| schemes::find(name).is_none()) {
        return Err(super::schemes::unknown(name));
    }
    let wanted = |name: &str| args.providers.is_empty() || args.providers.iter().any(|provider| provider == name);
    let suites = match &args.vectors {
        Some(path) => from_file(path, wanted)?,
        None => schemes::names().filter(|name| wanted(name)).filter_map(built_in).collect::<Result<_, _>>()?,
    };
    let loopback = LoopbackGateway::new()?;
    let (mut providers, mut total, mut failed) = (0, 0, 0);
    for suite in &suites {
        let failures = suite.run(&loopback)?;
        let count = suite.vectors.len();
        let verdict = match &suite.unsupported {
            Some(reason) => format!("cannot be verified: {reason}"),
            None if count == 0 => "no vectors".to_owned(),
            None if failures.is_empty() => "pass".to_owned(),
            None => "FAIL".to_owned(),
        };
        outln!("{:<24} {:>7}  {verdict}", suite.provider, format!("{}/{count}", count - failures.len()));
        for failure in &failures {
            outln!("    {failure}");
        }
        providers += usize::from(count > 0);
        total += count;
        failed += failures.len();
    }
    outln!("{providers} providers, {total} vectors, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn built_in(name: &str) -> Option<Result<Suite, Failure>> {
    let spec = schemes::find(name)?;
    let vectors = vectors::of_scheme(spec).map_err(Failure::Failed);
    let suite = |vectors| Suite { provider: name.to_owned(), unsupported: spec.unsupported.clone(), vectors };
    Some(vectors.map(suite))
}

fn from_file(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Suite>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let mut suites: BTreeMap<String, Suite> = BTreeMap::new();
    for vector in vectors::parse(&text).map_err(|error| failed(&error))? {
        let provider = vector.provider.clone();
        let new = || Suite { provider: provider.clone(), unsupported: None, vectors: Vec::new() };
        suites.entry(provider.clone()).or_insert_with(new).vectors.push(vector);
    }
    if suites.is_empty() {
        return Err(failed(&"there is no vector in it"));
    }
    Ok(suites.into_values().filter(|suite| wanted(&suite.provider)).collect())
}

impl Suite {
    /// Runs every vector. Returns a line for each that failed.
    fn run(&self, loopback: &LoopbackGateway) -> io::Result<Vec<String>> {
        let mut failures = Vec::new();
        for vector in &self.vectors {
            if let Err(what) = vector.run(loopback)? {
                failures.push(format!("{}: {what}", vector.place));
            }
        }
        Ok(failures)
    }
}

impl Vector {
    /// `Ok` if the verdict is the expected one; otherwise what happened.
    fn run(&self, loopback: &LoopbackGateway) -> io::Result<Result<(), String>> {
        let config = match schemes::find(&self.provider) {
            None => return Ok(Err("there is no such scheme".to_owned())),
            Some(spec) => match self.configure(spec) {
                Ok(config) => config,
                Err(why) => return Ok(Err(format!("no route can have this: {why}"))),
            },
        };
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + self.now);
        let request = Request { head: self.head(), body: self.body.clone() };
        Ok(match (loopback.judge(config, clock, &request)?, &self.refused) {
            (Verdict::Forwarded(seen), None) if seen.verified() != "true" => {
                Err("the upstream was not told that it is verified".to_owned())
            }
            (Verdict::Forwarded(seen), None) if seen.body != self.body => {
                Err("the upstream got another body".to_owned())
            }
            (Verdict::Forwarded(_), None) => Ok(()),
            (Verdict::Refused { reason, .. }, None) => Err(format!("was refused as {reason}, must be accepted")),
            (Verdict::Refused { reason, .. }, Some(Some(expected))) if reason != *expected => {
                Err(format!("was refused as {reason}, must be refused as {expected}"))
            }
            (Verdict::Refused { .. }, Some(_)) => Ok(()),
            (Verdict::Forwarded(_), Some(_)) => Err("was accepted, must be refused".to_owned()),
            (Verdict::Answered, _) => Err("was answered by the gateway itself".to_owned()),
        })
    }

    /// A gateway with one route for this vector.
    fn configure(&self, spec: &Spec) -> Result<Config, String> {
        let mut scheme = self.options.clone();
        scheme.insert("name".to_owned(), spec.name.clone());
        let text = serde_json::json!({ "routes": [{
            "name": "vector",
            "path": "/*",
            "scheme": scheme,
            "methods": [self.method],
            "max_body": "1GiB",
            "secrets": [{ "env": "SECRET" }],
            "upstream": "http://127.0.0.1/",
        }] });
        let config = config::parse(&text.to_string(), Path::new(""), &OneSecret(self.secret.clone()));
        config.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            head.extend_from_slice(b"Host: gateway.example\r\n");
        }
        if !has("content-length") {
            head.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        head
    }
}

impl Sources for OneSecret {
    fn env(&self, _: &str) -> Option<OsString> {
        Some(OsString::from_vec(self.0.clone()))
    }

    fn file(&self, _: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}
