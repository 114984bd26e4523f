//! `hooklatch tail`: a line for each delivery as it comes and when its state changes, until Ctrl-C.

use std::io;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::Value;

use super::Failure;
use super::support::api::{Api, GatewayArgs, read, with_query};
use super::support::events::{Event, Events};
use super::support::http::next_piece;
use super::support::summary::Summary;
use crate::app;
use crate::text;

/// The gateway says something at least this often; after this time without a byte the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(90);
/// The waits before it connects again, in seconds; the last one repeats.
const WAITS: [u64; 5] = [1, 2, 4, 8, 15];

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

/// Why a stream ended.
enum End {
    /// The connection broke, or the gateway stopped: it is worth a new try.
    Broken(io::Error),
    /// It is not.
    Failed(Failure),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let path = with_query("/api/v1/stream", [("q", args.query.as_deref())]);
    app::runtime()?.block_on(async {
        tokio::select! {
            result = follow(&api, &path, args.json) => result,
            signal = tokio::signal::ctrl_c() => Ok(signal?),
        }
    })
}

async fn follow(api: &Api, path: &str, json: bool) -> Result<(), Failure> {
    let mut events = Events::default();
    let mut connected = false;
    let mut tries = 0;
    loop {
        let mut heard = false;
        let end = stream(api, path, json, &mut events, &mut heard).await;
        match end {
            End::Failed(failure) => return Err(failure),
            End::Broken(error) if !connected && !heard => return Err(api.unreachable(&error)),
            End::Broken(error) => {
                if heard {
                    tries = 0;
                    errln!("hooklatch: the connection ended: {error}; connecting again");
                }
            }
        }
        connected = true;
        let wait = Duration::from_secs(WAITS.get(tries).or(WAITS.last()).copied().unwrap_or(1));
        tries += 1;
        tokio::time::sleep(wait).await;
    }
}

/// Prints the events of one connection, until it ends.
async fn stream(api: &Api, path: &str, json: bool, events: &mut Events, heard: &mut bool) -> End {
    match try_stream(api, path, json, events, heard).await {
        Ok(()) => End::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway has closed it")),
        Err(end) => end,
    }
}

async fn try_stream(api: &Api, path: &str, json: bool, events: &mut Events, heard: &mut bool) -> Result<(), End> {
    events.reconnected();
    let last_id = events.last_id.clone();
    let last_id = last_id.as_deref().map(|id| (HeaderName::from_static("last-event-id"), id));
    let response = api.open(Method::GET, path, None, last_id.as_slice()).await?;
    let status = response.status();
    if !status.is_success() {
        let failure = api.refusal(status, &read(response.into_body()).await?);
        // As many streams as there may be, or a gateway that is about to stop: the next try may do.
        let passes = status == StatusCode::SERVICE_UNAVAILABLE && events.last_id.is_some();
        return Err(if passes { End::Broken(io::Error::other(failure.to_string())) } else { End::Failed(failure) });
    }
    *heard = true;
    let mut body = response.into_body();
    loop {
        let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "nothing was heard for too long");
        let piece = tokio::time::timeout(SILENCE, next_piece(&mut body)).await.map_err(silent)??;
        let Some(piece) = piece else { return Ok(()) };
        for event in events.read(&piece) {
            print(&event, json).map_err(End::Failed)?;
        }
    }
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
            let count = data.get("count").and_then(Value::as_u64).map_or_else(String::new, |count| format!("{count} "));
            errln!("hooklatch: {count}deliveries are left out here: `hooklatch deliveries` has them");
        }
        // What a later gateway may send.
        _ => {}
    }
    Ok(())
}

/// The lines of an event, which has one summary or several.
fn lines(data: &Value, json: bool) -> Vec<String> {
    let several = data.get("deliveries").and_then(Value::as_array);
    let summaries = several.map_or(std::slice::from_ref(data), Vec::as_slice);
    let line = |summary: &Value| if json { text::json(summary) } else { Summary::of(summary).line() };
    summaries.iter().map(line).collect()
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
