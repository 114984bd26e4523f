//! `hooklatch health`: asks the admin listener for its health, for container engines and supervisors that run a command.
//!
//! It reads only `admin.listen` of the configuration. A secret that is missing, or an error elsewhere in the file, must not
//! make a gateway look unhealthy that still runs with its last good configuration.

use std::time::Duration;

use http::Uri;

use super::support::http::{get, is_it_there, reachable};
use super::{ConfigArgs, Failure, failure};
use crate::config;

/// How long the answer may take. The gateway is on this machine and makes the answer from memory.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The URL of the admin listener [default: admin.listen of the configuration]
    #[arg(long)]
    url: Option<Uri>,
    /// Ask whether the process runs (/livez) instead of whether it takes deliveries (/readyz)
    #[arg(long)]
    live: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let base = match &args.url {
        Some(url) if url.authority().is_none() => {
            return Err(Failure::Usage(format!(
                "--url needs a complete URL, such as http://127.0.0.1:9797, not {url}"
            )));
        }
        Some(url) => url.to_string(),
        None => configured(args)?,
    };
    let path = if args.live { "livez" } else { "readyz" };
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let asked = url.parse().map_err(|error| Failure::Usage(format!("{url}: {error}")))?;
    let reply = get(&asked, TIMEOUT)
        .map_err(|error| Failure::Failed(format!("no answer from {url}: {error}{}", is_it_there(&error))))?;
    let said = String::from_utf8_lossy(&reply.body);
    outln!("{}", said.trim_end());
    if reply.status.is_success() { Ok(()) } else { Err(Failure::Told) }
}

/// The URL of the configured admin listener.
fn configured(args: &Args) -> Result<String, Failure> {
    let path = &args.config.config;
    match config::admin_address(path).map_err(|error| failure(path, error))? {
        address if address.port() == 0 => Err(Failure::Usage(
            "admin.listen has port 0, so the port is unknown: name the address with --url".to_owned(),
        )),
        address => Ok(format!("http://{}", reachable(address))),
    }
}
