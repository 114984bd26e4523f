//! `hooklatch tail`: a line for each delivery as it comes and when its state changes, until Ctrl-C or SIGTERM.

use serde_json::Value;

use super::Failure;
use super::support::api::{Api, GatewayArgs, with_query};
use super::support::events::{Event, left_out, several};
use super::support::follow::{Heard, follow};
use super::support::stop::asked_to_stop;
use super::support::summary::Summary;
use crate::app;
use crate::text;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to look for, in the search language; without it, all deliveries
    #[arg(value_name = "QUERY", allow_hyphen_values = true)]
    query: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print the JSON of the API, one delivery a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let path = with_query("/api/v1/stream", [("q", args.query.as_deref())]);
    let act = |heard| match heard {
        Heard::Connected => Ok(()),
        Heard::Event(event) => print(&event, args.json),
    };
    app::runtime()?.block_on(async {
        tokio::select! {
            failure = follow(&api, &path, None, act) => Err(failure),
            signal = asked_to_stop() => Ok(signal?),
        }
    })
}

fn print(event: &Event, json: bool) -> Result<(), Failure> {
    let Ok(data) = serde_json::from_str::<Value>(&event.data) else { return Ok(()) };
    match event.kind.as_str() {
        "delivery" | "update" => {
            for line in lines(&data, json) {
                outln!("{line}");
            }
        }
        "gap" => {
            errln!("hooklatch: {}deliveries are left out here: `hooklatch deliveries` has them", left_out(&data));
        }
        // What a later gateway may send.
        _ => {}
    }
    Ok(())
}

/// The lines of an event.
fn lines(data: &Value, json: bool) -> Vec<String> {
    let line = |summary: &Value| if json { text::json(summary) } else { Summary::of(summary).line() };
    several(data).iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_delivery_or_several() {
        let one = serde_json::json!({"id": "1", "route": "a"});
        let several = serde_json::json!({"deliveries": [{"id": "1"}, {"id": "2\u{1b}"}]});
        assert_eq!(lines(&one, true), [r#"{"id":"1","route":"a"}"#]);
        assert_eq!(lines(&several, true), [r#"{"id":"1"}"#, r#"{"id":"2\u001b"}"#]);
        assert!(lines(&several, false)[1].starts_with(r"2\u{1b}  -"));
    }
}
