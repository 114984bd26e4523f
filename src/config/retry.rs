//! `retry` of a route with a queue: how long to wait after a failed attempt, and when to give a delivery up.
//!
//! Refused, in addition to the errors of each reader: 1. `min_backoff` over `max_backoff`, or beside a schedule; 2. a jitter
//! over 100 %; 3. a schedule without an entry; 4. a status in `give_up_on` that is no status, or that ends a delivery with success.

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;

use super::raw::Node;
use super::reader::{Field, all};
use super::units::{MAX_COUNT, display_duration, parse_duration, parse_share, read_timeout};

pub(super) const DEFAULT_MIN_BACKOFF: Duration = Duration::from_secs(5);
pub(super) const DEFAULT_MAX_BACKOFF: Duration = Duration::from_secs(3600);
pub(super) const DEFAULT_JITTER: f64 = 0.2;
pub(super) const DEFAULT_MAX_AGE: Duration = Duration::from_secs(72 * 3600);
pub(super) const DEFAULT_MIN_ATTEMPTS: u32 = 5;
pub(super) const DEFAULT_GIVE_UP_ON: StatusCode = StatusCode::GONE;

/// When a failed attempt is repeated, and when a delivery is given up.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The wait after the first failed attempt; each further wait is twice as long. Not zero, and not over
    /// [`Retry::max_backoff`]. Default 5 s, or `max_backoff` if that is less. Without effect if there is a schedule.
    pub min_backoff: Duration,
    /// The longest wait between two attempts, also if the handler asks for more with `Retry-After`; not zero. Default 1 h.
    pub max_backoff: Duration,
    /// The share of each wait that is added or taken off at random, 0 to 1. Default 0.2.
    pub jitter: f64,
    /// The waits after the first, second … failed attempt, of which the last one repeats: at least one, none zero.
    /// `None`, the default: waits that double.
    pub schedule: Option<Vec<Duration>>,
    /// The age at which a delivery is given up, if [`Retry::min_attempts`] were made; may be zero. Default 72 h.
    pub max_age: Duration,
    /// The number of attempts without which age alone does not give a delivery up; may be zero. Default 5.
    pub min_attempts: u32,
    /// The number of attempts after which a delivery is given up at any age, also before `min_attempts`; `None`, the
    /// default, for no limit.
    pub max_attempts: Option<NonZeroU32>,
    /// The statuses of the handler that give a delivery up at once; never 2xx, maybe none. Default 410.
    pub give_up_on: Vec<StatusCode>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            min_backoff: DEFAULT_MIN_BACKOFF,
            max_backoff: DEFAULT_MAX_BACKOFF,
            jitter: DEFAULT_JITTER,
            schedule: None,
            max_age: DEFAULT_MAX_AGE,
            min_attempts: DEFAULT_MIN_ATTEMPTS,
            max_attempts: None,
            give_up_on: vec![DEFAULT_GIVE_UP_ON],
        }
    }
}

/// Reads the section.
pub(super) fn read(field: &Field<'_>) -> Option<Retry> {
    let default = Retry::default();
    let mut section = field.section()?;
    let min_backoff = section.optional("min_backoff", None, |field| read_timeout(field).map(Some));
    let max_backoff = section.optional("max_backoff", default.max_backoff, read_timeout);
    let jitter = section.optional("jitter", default.jitter, |field| field.parsed_or_number(parse_share));
    let schedule = section.optional("schedule", None, |field| read_schedule(field).map(Some));
    let max_age = section.optional("max_age", default.max_age, |field| field.parsed_or_number(parse_duration));
    let min_attempts = section.optional("min_attempts", default.min_attempts, read_number);
    let max_attempts = section.optional("max_attempts", None, |field| read_number(field).map(NonZeroU32::new));
    let give_up_on = section.optional("give_up_on", default.give_up_on, read_statuses);
    section.finish(|_| None);
    if min_backoff.is_some_and(|wait| wait.is_some()) && schedule.as_ref().is_some_and(Option::is_some) {
        field.error_below("min_backoff", "has no meaning beside schedule: remove one of them");
        return None;
    }
    let max_backoff = max_backoff?;
    let min_backoff = min_backoff?.unwrap_or(default.min_backoff.min(max_backoff));
    if min_backoff > max_backoff {
        let (min, max) = (display_duration(min_backoff), display_duration(max_backoff));
        field.error_below("min_backoff", format!("{min} is over max_backoff, which is {max}"));
        return None;
    }
    Some(Retry {
        min_backoff,
        max_backoff,
        jitter: jitter?,
        schedule: schedule?,
        max_age: max_age?,
        min_attempts: min_attempts?,
        max_attempts: max_attempts?,
        give_up_on: give_up_on?,
    })
}

fn read_schedule(field: &Field<'_>) -> Option<Vec<Duration>> {
    all(field.list()?.iter().map(read_timeout))
}

/// A number of attempts, also zero.
fn read_number(field: &Field<'_>) -> Option<u32> {
    u32::try_from(field.integer(0, MAX_COUNT.into())?).ok()
}

/// A list that may be empty.
fn read_statuses(field: &Field<'_>) -> Option<Vec<StatusCode>> {
    if matches!(field.node(), Node::List(items) if items.is_empty()) {
        return Some(Vec::new());
    }
    all(field.list()?.iter().map(read_status))
}

fn read_status(field: &Field<'_>) -> Option<StatusCode> {
    let status = field.integer(100, 599)?;
    let status = field.checked(StatusCode::from_u16(u16::try_from(status).ok()?))?;
    if status.is_success() {
        field.error("must not be 200 to 299: such a response means that the handler has accepted the delivery");
        return None;
    }
    Some(status)
}
