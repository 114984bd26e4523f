//! `hooklatch pause` and `hooklatch resume`: whether the queued deliveries of a route are sent.

use clap_complete::ArgValueCandidates;

use super::support::api::{Api, GatewayArgs, encoded};
use super::{Failure, completions};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The route's name
    #[arg(add = ArgValueCandidates::new(completions::routes))]
    route: String,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(super) fn pause(args: &Args) -> Result<(), Failure> {
    tell(args, "pause")?;
    outln!("{} is paused: its deliveries wait until it is resumed", args.route);
    Ok(())
}

pub(super) fn resume(args: &Args) -> Result<(), Failure> {
    tell(args, "resume")?;
    outln!("{} is resumed", args.route);
    Ok(())
}

fn tell(args: &Args, action: &str) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    api.post(&format!("/api/v1/routes/{}/{action}", encoded(&args.route)), None).map(drop)
}
