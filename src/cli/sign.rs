//! `hooklatch sign`: the header lines that make a body a valid delivery, for curl and for tests of handlers.

use std::path::PathBuf;

use super::{Failure, read_body};
use crate::config;
use crate::schemes::{self, SchemeOptions};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("secret").required(true))]
pub(super) struct Args {
    /// How the provider signs; see `hooklatch schemes`
    #[arg(long, value_name = "NAME")]
    scheme: String,
    /// An environment variable that holds the secret
    #[arg(long, value_name = "NAME", group = "secret")]
    secret_env: Option<String>,
    /// A file that holds the secret; one newline at its end is stripped
    #[arg(long, value_name = "FILE", group = "secret")]
    secret_file: Option<PathBuf>,
    /// The body; without it: standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let spec = schemes::find(&args.scheme).ok_or_else(|| super::schemes::unknown(&args.scheme))?;
    let secret = match (&args.secret_env, &args.secret_file) {
        (Some(name), _) => config::secret_from_env(name, &config::System),
        (None, Some(path)) => config::secret_from_file(path, &config::System),
        (None, None) => return Err(Failure::Usage("needs --secret-env or --secret-file".to_owned())),
    };
    let secret = secret.map_err(|error| Failure::Failed(error.to_string()))?;
    let verifier = spec
        .compile(&SchemeOptions::default(), &[secret])
        .map_err(|error| Failure::Failed(format!("the secret does not fit the scheme: {error}")))?;
    let body = read_body(args.body.as_deref())?;
    for (name, value) in verifier.sign(0, &body).map_err(|error| Failure::Failed(error.to_string()))? {
        outln!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    Ok(())
}
