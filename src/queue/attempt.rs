//! One attempt to hand a delivery to its upstream, and what follows from it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use uuid::Uuid;

use super::circuit::Signal;
use super::retry::{Failure, Verdict, Why};
use super::state::after_attempt;
use crate::http1::client::request::Head;
use crate::metrics::UpstreamResult;
use crate::record::recorder::response_head;
use crate::store::{Attempt, AttemptOutcome, Millis, Next, Settled, State, Ticket, Waiting, received_at};
use crate::upstream::pool::{ResponseBody, SendError};

/// How much of a response's body is kept, in bytes.
const KEPT: usize = 4 << 10;
/// How much of a response's body is read, so that its connection can be used again, in bytes.
const MAX_READ: usize = 256 << 10;
/// How long that is read. The outcome is known by then, and is not to be lost in a crash meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

const HOOKLATCH_ATTEMPT: &str = "Hooklatch-Attempt";
const HOOKLATCH_RECEIVED_AT: &str = "Hooklatch-Received-At";
const HOOKLATCH_REPLAY: &str = "Hooklatch-Replay";

/// A delivery that is to be attempted, claimed from the store.
#[derive(Clone, Copy)]
pub struct Job {
    /// Names it towards the store.
    pub ticket: Ticket,
    /// The delivery's id.
    pub id: Uuid,
    /// When it was received, by the clock of the queue.
    pub received_at: Millis,
    /// Its place in the queue.
    pub waiting: Waiting,
}

/// How an attempt ended.
pub struct Ended {
    /// As metrics count it.
    pub result: UpstreamResult,
    /// The handler's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// What `Retry-After` asks for.
    retry_after: Option<Duration>,
    head: Bytes,
    body: Bytes,
}

impl Job {
    /// The field lines that this attempt adds to the message.
    pub fn fields(&self) -> Head {
        let mut fields = Head::default();
        fields.text_line(HOOKLATCH_ATTEMPT, &(self.waiting.attempts + 1).to_string());
        fields.text_line(HOOKLATCH_RECEIVED_AT, &rfc3339(received_at(self.id)));
        if self.waiting.replay {
            fields.text_line(HOOKLATCH_REPLAY, "true");
        }
        fields
    }

    /// What is written of an attempt that began at `at` and took `took`, and what follows by `policy`. `random` is from 0 to 1;
    /// `settled` is what stays of the delivery if it is delivered.
    pub fn outcome(
        &self,
        ended: Ended,
        policy: &super::retry::RetryPolicy,
        (at, now, took): (Millis, Millis, Duration),
        random: f64,
        settled: Option<Settled>,
    ) -> AttemptOutcome {
        let delivered = matches!(ended.status, Some(200..=299));
        let (status, retry_after) = (ended.status, ended.retry_after);
        // A gateway that started with a slow clock has noted a receipt that is too early. Age makes nothing dead too early.
        let since = self.waiting.since.max(received_at(self.id));
        let failure = Failure { now, since, attempts: self.waiting.counted + 1, status, retry_after };
        let (retry_at, why) = match policy.after(&failure, random) {
            _ if delivered => (None, None),
            Verdict::RetryAt(at) => (Some(at), None),
            Verdict::GiveUp(why) => (None, Some(why)),
        };
        let next = after_attempt(delivered, self.waiting.once, retry_at);
        let is_settled = matches!(next, Next::Settle(State::Delivered));
        AttemptOutcome {
            id: self.id,
            ticket: self.ticket,
            since: self.waiting.since,
            attempt: self.written(ended, at, took),
            reason: why.filter(|_| next == Next::Settle(State::Dead)).map(|why| Arc::from(why_dead(why))),
            next,
            settled: settled.filter(|_| is_settled),
        }
    }

    /// What is written of a delivery that no attempt can send: its bytes in the store are not those that were written there.
    pub fn unreadable(&self, error: String, at: Millis) -> AttemptOutcome {
        AttemptOutcome {
            id: self.id,
            ticket: self.ticket,
            since: self.waiting.since,
            attempt: self.written(Ended::without_response(UpstreamResult::Failed, error), at, Duration::ZERO),
            next: after_attempt(false, self.waiting.once, None),
            reason: (!self.waiting.once).then(|| Arc::from("unreadable")),
            settled: None,
        }
    }

    /// The attempt of this job that ended so.
    fn written(&self, ended: Ended, at: Millis, took: Duration) -> Attempt {
        Attempt {
            destination: self.ticket.destination(),
            number: self.waiting.attempts + 1,
            at,
            result: Arc::from(ended.result.label()),
            status: ended.status,
            error: ended.error,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            replay: self.waiting.replay,
            gateway: None,
            response_head: ended.head,
            response_body: ended.body,
        }
    }
}

impl Ended {
    fn without_response(result: UpstreamResult, error: String) -> Self {
        let (head, body) = (Bytes::new(), Bytes::new());
        Self { result, status: None, error: Some(error), retry_after: None, head, body }
    }

    /// What came of sending. Reads the response's body, for [`READ_TIMEOUT`] at most.
    pub async fn of(sent: Result<Response<ResponseBody>, SendError>, now: SystemTime) -> Self {
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                let result = match &error {
                    SendError::Unreachable(_) => UpstreamResult::Unreachable,
                    SendError::Failed(_) => UpstreamResult::Failed,
                    SendError::Late => UpstreamResult::Timeout,
                };
                return Self::without_response(result, error.to_string());
            }
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now);
        let head = response_head(response.headers());
        let mut body = BytesMut::new();
        // A body that breaks off or takes too long changes nothing: the status has said whether the handler took it.
        let _ = tokio::time::timeout(READ_TIMEOUT, read(response.into_body(), &mut body)).await;
        Self {
            result: UpstreamResult::Status(status),
            status: Some(status),
            error: None,
            retry_after,
            head,
            body: body.freeze(),
        }
    }

    /// The end of an attempt that a bug in the gateway has broken off.
    pub fn panicked() -> Self {
        let (result, error) = (UpstreamResult::Failed, Some("internal error".to_owned()));
        Self { result, status: None, error, retry_after: None, head: Bytes::new(), body: Bytes::new() }
    }

    /// What it says about the upstream.
    pub fn signal(&self) -> Signal {
        match self.result {
            // A connection that breaks off may be this delivery's fault: the handler may have died of it.
            UpstreamResult::Failed => Signal::Refused,
            _ => Signal::of(self.status),
        }
    }
}

/// Reads a body to its end, or to [`MAX_READ`]; keeps its first bytes.
async fn read(mut body: ResponseBody, kept: &mut BytesMut) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        read += data.len();
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        if read > MAX_READ {
            return;
        }
    }
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // More than a number can hold.
        Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => Some(Duration::MAX),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

fn why_dead(why: Why) -> &'static str {
    match why {
        Why::Status => "status",
        Why::Attempts => "max_attempts",
        Why::Age => "max_age",
    }
}

/// A time of the store by RFC 3339: UTC, with milliseconds.
pub fn rfc3339(at: Millis) -> String {
    let since_epoch = Duration::from_millis(u64::try_from(at).unwrap_or_default());
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_epoch).to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]), now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("99999999999999999999999"), Some(Duration::MAX));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT"), None, "a date that has passed asks for nothing");
        assert_eq!((asked("-1"), asked("soon"), asked("")), (None, None, None));
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
