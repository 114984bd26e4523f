//! `hooklatch discard` and `hooklatch erase`: deliveries that are not to be sent any more, or not to be kept.

use serde_json::Value;

use super::Failure;
use super::deliveries::Pages;
use super::replay::each;
use super::support::api::{Api, GatewayArgs, encoded};
use super::support::confirm::confirm;

/// The states in which a delivery can be discarded; `pending` has those that are retried, too.
const WAITING_OR_DEAD: [&str; 3] = ["pending", "held", "dead"];
/// The most deliveries that are discarded at once.
const MOST: usize = 100_000;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "query"])))]
pub(super) struct Args {
    /// The ids of the deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// All deliveries that this search finds and that wait or are dead
    #[arg(long, value_name = "QUERY", allow_hyphen_values = true)]
    query: Option<String>,
    /// Do not ask before more than one
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EraseArgs {
    /// The ids of the deliveries
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Do not ask before more than one
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let ids = match &args.query {
        Some(query) => found(&api, query)?,
        None => args.ids.clone(),
    };
    if ids.is_empty() {
        outln!("0 deliveries match");
        return Ok(());
    }
    act(&api, &ids, args.yes, "Discard", ("discard", "discarded"))
}

pub(super) fn erase(args: &EraseArgs) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    act(&api, &args.ids, args.yes, "Erase", ("erase", "erased"))
}

fn act(api: &Api, ids: &[String], yes: bool, verb: &str, (action, done): (&str, &str)) -> Result<(), Failure> {
    if ids.len() > 1 {
        confirm(&format!("{verb} {} deliveries?", ids.len()), yes)?;
    }
    each(ids, |id| {
        api.post(&format!("/api/v1/deliveries/{}/{action}", encoded(id)), None)?;
        Ok(done.to_owned())
    })
}

/// The ids of all deliveries that a search finds and that can be discarded.
fn found(api: &Api, query: &str) -> Result<Vec<String>, Failure> {
    let mut pages = Pages::new(Some(query), &WAITING_OR_DEAD);
    let mut ids = Vec::new();
    while let Some(page) = pages.next(api, MOST)? {
        ids.extend(page.iter().filter_map(|summary| summary.get("id").and_then(Value::as_str)).map(str::to_owned));
        if ids.len() > MOST {
            return Err(Failure::Failed(format!("more than {MOST} deliveries match: nothing was sent")));
        }
    }
    Ok(ids)
}
