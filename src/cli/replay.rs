//! `hooklatch replay`: sends deliveries again, by their ids or all that a search finds.

use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::support::api::{Api, GatewayArgs, encoded};
use super::support::confirm::confirm;
use super::support::stop::asked_to_stop;
use crate::app;
use crate::text::plain;

/// The time between two looks at the progress.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "query"])))]
pub(super) struct Args {
    /// The ids of the deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// All deliveries that this search finds
    #[arg(long, value_name = "QUERY", allow_hyphen_values = true)]
    query: Option<String>,
    /// How many a second
    #[arg(long, value_name = "N", requires = "query")]
    per_second: Option<u32>,
    /// Say how many it would be, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before more than one
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let Some(query) = &args.query else { return by_id(args, &api) };
    let counted = api.post("/api/v1/replays", Some(&json!({ "q": query, "dry_run": true })))?;
    let matched = number(&counted, "matched");
    if args.dry_run || matched == 0 {
        outln!("{matched} deliveries match");
        return Ok(());
    }
    if matched > 1 {
        confirm(&format!("Replay {matched} deliveries?"), args.yes)?;
    }
    // No more than were asked for, though more may have come since.
    let mut asked = json!({ "q": query, "max": matched });
    if let (Some(rate), Some(asked)) = (args.per_second, asked.as_object_mut()) {
        asked.insert("per_second".to_owned(), rate.into());
    }
    let started = api.post("/api/v1/replays", Some(&asked))?;
    watch(&api, started)
}

fn by_id(args: &Args, api: &Api) -> Result<(), Failure> {
    let count = args.ids.len();
    if args.dry_run {
        outln!("{count} deliveries are named");
        return Ok(());
    }
    if count > 1 {
        confirm(&format!("Replay {count} deliveries?"), args.yes)?;
    }
    each(&args.ids, |id| {
        let answer = api.post(&format!("/api/v1/deliveries/{}/replay", encoded(id)), None)?;
        Ok(format!("attempt {}", number(&answer, "attempt")))
    })
}

/// Does something to each of these deliveries and prints what came of it. One that fails does not hold back the others.
pub(super) fn each(ids: &[String], act: impl Fn(&str) -> Result<String, Failure>) -> Result<(), Failure> {
    let mut failed = false;
    for id in ids {
        match act(id) {
            Ok(done) => outln!("{}  {done}", plain(id)),
            Err(failure) if ids.len() == 1 => return Err(failure),
            Err(failure) => {
                failed = true;
                errln!("hooklatch: {}: {failure}", plain(id));
            }
        }
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// Follows a replay in bulk to its end. Ctrl-C or SIGTERM stops it.
fn watch(api: &Api, started: Value) -> Result<(), Failure> {
    let path = match started.get("id").and_then(Value::as_str) {
        Some(id) => format!("/api/v1/replays/{}", encoded(id)),
        None => return Err(Failure::Failed("the answer names no replay".to_owned())),
    };
    let mut progress = started;
    let mut stopped = false;
    while progress.get("state").and_then(Value::as_str) == Some("running") {
        let interrupted = app::runtime()?.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                _ = asked_to_stop() => true,
            }
        });
        if interrupted && !stopped {
            stopped = true;
            api.delete(&path)?;
        }
        progress = api.get(&path)?;
    }
    let (done, failed, left) = (number(&progress, "done"), number(&progress, "failed"), number(&progress, "left"));
    outln!("{done} sent again, {failed} could not be, {left} left");
    if failed == 0 && left == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn number(answer: &Value, key: &str) -> u64 {
    answer.get(key).and_then(Value::as_u64).unwrap_or_default()
}
