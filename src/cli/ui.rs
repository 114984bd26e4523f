//! `hooklatch ui`: prints the address of a running gateway's page, and opens it in a browser if there is one.

use std::env;
use std::io::{self, IsTerminal};
use std::process::{Command, Stdio};

use http::StatusCode;

use super::Failure;
use super::support::api::{Api, GatewayArgs};

/// A page of the API that the gateway has if it has its page.
const STATUS: &str = "/api/v1/status";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let (status, answer) = api.ask(STATUS)?;
    match status {
        // The page asks for the token itself.
        StatusCode::UNAUTHORIZED => {}
        StatusCode::NOT_FOUND => {
            let why = "either its configuration has `page: false` under `admin`, or it is no gateway";
            return Err(Failure::Failed(format!("{} has no page: {why}", api.base())));
        }
        status if !status.is_success() => return Err(api.refusal(status, &answer)),
        _ => {}
    }
    let address = format!("{}/ui/", api.base());
    outln!("{address}");
    if io::stdout().is_terminal() && has_display() {
        open(&address);
    }
    Ok(())
}

/// Whether a browser could show something.
fn has_display() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// Opens the address in the user's browser. Without one the printed address has to do.
fn open(address: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(opener);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        errln!("hooklatch: no browser is opened: {opener}: {error}");
    }
}
