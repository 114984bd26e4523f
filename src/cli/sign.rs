//! `hooklatch sign`: prints the header lines that make a body a valid delivery, for curl and for tests of handlers.

use std::path::PathBuf;

use super::{Failure, completions, read_body};
use clap_complete::ArgValueCandidates;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::clock::Clock;
use crate::config;
use crate::schemes::{self, RequestHead, SchemeOptions, Spec, Unsigned};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("secret").required(true))]
pub(super) struct Args {
    /// The scheme: how the provider signs (`hooklatch schemes` lists all)
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completions::schemes))]
    scheme: String,
    /// The environment variable that holds the secret
    #[arg(long, value_name = "NAME", group = "secret")]
    secret_env: Option<String>,
    /// The file that holds the secret; one newline at its end is removed
    #[arg(long, value_name = "FILE", group = "secret")]
    secret_file: Option<PathBuf>,
    /// The file with the body [default: standard input]
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// An option of the scheme, as under `scheme` in gateway.yaml; repeat it for several options
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// A header of the delivery, `Name: value`, for schemes that sign it or whose signature depends on it; repeat it for several headers
    #[arg(long = "header", value_name = "LINE", value_parser = super::support::http::parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The path and query of the delivery, for schemes that sign them
    #[arg(long, value_name = "PATH", default_value = "/")]
    target: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let spec = schemes::find(&args.scheme).ok_or_else(|| super::schemes::unknown(&args.scheme))?;
    let secret = match (&args.secret_env, &args.secret_file) {
        (Some(name), _) => config::secret_from_env(name, &config::System),
        (None, Some(path)) => config::secret_from_file(path, &config::System),
        (None, None) => return Err(Failure::Usage("--secret-env or --secret-file is required".to_owned())),
    };
    let secret = secret.map_err(|error| Failure::Failed(error.to_string()))?;
    let options = read_options(spec, &args.options)?;
    let verifier = spec
        .compile(&options, &[secret])
        .map_err(|error| Failure::Failed(format!("the secret does not fit the scheme: {error}")))?;
    let body = read_body(args.body.as_deref())?;
    // The delivery will have this header, and some schemes depend on it.
    let mut headers = HeaderMap::new();
    if let Some(kind) = spec.sample.headers.to_map().get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, kind.clone());
    }
    for (name, value) in &args.headers {
        headers.insert(name, value.clone());
    }
    let (path, query) = match args.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (args.target.as_str(), None),
    };
    let head = RequestHead { method: &Method::POST, path, query, headers: &headers };
    let signed = verifier.sign(0, &Unsigned { head, body: &body }, Clock::system().unix());
    let signed = signed.map_err(|error| Failure::Failed(error.to_string()))?;
    // The target may have already what belongs into the query.
    let missing = signed.query.as_deref().filter(|needed| query != Some(*needed));
    match (&signed.body, missing) {
        (None, None) => {}
        (None, Some(query)) if !signed.headers.is_empty() => {
            return Err(Failure::Failed(format!(
                "{} needs more in the query: send the delivery to this target, and sign it with --target '{path}?{query}'",
                spec.name
            )));
        }
        (body, _) => {
            let place = if body.is_some() { "body" } else { "query" };
            return Err(Failure::Failed(format!(
                "{} puts its signature or its time into the {place}, so header lines alone do not make a valid delivery: \
                 use `hooklatch send`",
                spec.name
            )));
        }
    }
    for (name, value) in signed.headers {
        outln!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    Ok(())
}

/// Reads the options of the scheme, each `KEY=VALUE`.
fn read_options(spec: &Spec, given: &[String]) -> Result<SchemeOptions, Failure> {
    let mut options = SchemeOptions::default();
    for option in given {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("--option needs KEY=VALUE, not \"{option}\"")))?;
        match key {
            // With a password it is a secret.
            "public_url" if value.contains('@') => {
                drop(options.secrets.insert(key.to_owned(), value.as_bytes().to_vec().into()));
            }
            "public_url" => options.public_url = Some(value.to_owned()),
            "signed_content" => options.signed_content = Some(value.to_owned()),
            "match_payload" => {
                let value = value
                    .parse()
                    .map_err(|_| Failure::Usage("--option match_payload must be true or false".to_owned()))?;
                options.match_payload = Some(value);
            }
            key => drop(options.parameters.insert(key.to_owned(), value.to_owned())),
        }
    }
    spec.check_options(&options).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(|(key, fault)| format!("--option {key}: {fault}")).collect();
        Failure::Usage(faults.join("\n"))
    })?;
    Ok(options)
}
