//! Follows the stream of deliveries of a running gateway, and connects again when it breaks off.

use std::io;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use super::super::Failure;
use super::api::{Api, read};
use super::events::{Event, Events};
use super::http::next_piece;

/// The gateway says something at least this often; after this time without a byte the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(90);
/// The waits before something is tried again, in seconds: connecting, where the last one repeats.
pub const WAITS: [u64; 5] = [1, 2, 4, 8, 15];

/// What happens on a stream.
pub enum Heard {
    /// The gateway has opened it, for the first time or again.
    Connected,
    /// It says something.
    Event(Event),
}

/// Why a connection ended.
enum End {
    /// It broke, or the gateway stopped: it is worth a new try.
    Broken(io::Error),
    /// It is not.
    Failed(Failure),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Follows the stream at `path` until it is in vain to try again, or `act` fails: why. With `last_id` the gateway sends first
/// what is newer than that delivery, as it does whenever the connection has broken off; that it has is said once on stderr.
pub async fn follow(
    api: &Api,
    path: &str,
    last_id: Option<String>,
    mut act: impl FnMut(Heard) -> Result<(), Failure>,
) -> Failure {
    let mut events = Events::default();
    events.last_id = last_id;
    let mut connected = false;
    let mut tries = 0;
    loop {
        let mut heard = false;
        let end = one_connection(api, path, connected, &mut events, |said| {
            heard = true;
            act(said)
        });
        let error = match end.await {
            Ok(()) => io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway has closed it"),
            Err(End::Failed(failure)) => return failure,
            Err(End::Broken(error)) => error,
        };
        if heard {
            tries = 0;
            errln!("hooklatch: the connection ended: {error}; connecting again");
        } else if !connected {
            return api.unreachable(&error);
        }
        connected = true;
        let wait = Duration::from_secs(WAITS.get(tries).or(WAITS.last()).copied().unwrap_or(1));
        tries += 1;
        tokio::time::sleep(wait).await;
    }
}

/// Reads the events of one connection, until it ends.
async fn one_connection(
    api: &Api,
    path: &str,
    again: bool,
    events: &mut Events,
    mut act: impl FnMut(Heard) -> Result<(), Failure>,
) -> Result<(), End> {
    events.reconnected();
    let last_id = events.last_id.clone();
    let last_id = last_id.as_deref().map(|id| (HeaderName::from_static("last-event-id"), id));
    let response = api.open(Method::GET, path, None, last_id.as_slice()).await?;
    let status = response.status();
    if !status.is_success() {
        let failure = api.refusal(status, &read(response.into_body()).await?);
        // As many streams as there may be, or a gateway that is about to stop: the next try may do.
        let passes = status == StatusCode::SERVICE_UNAVAILABLE && again;
        return Err(if passes { End::Broken(io::Error::other(failure.to_string())) } else { End::Failed(failure) });
    }
    act(Heard::Connected).map_err(End::Failed)?;
    let mut body = response.into_body();
    loop {
        let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "nothing was heard for too long");
        let piece = tokio::time::timeout(SILENCE, next_piece(&mut body)).await.map_err(silent)??;
        let Some(piece) = piece else { return Ok(()) };
        for event in events.read(&piece) {
            act(Heard::Event(event)).map_err(End::Failed)?;
        }
    }
}
