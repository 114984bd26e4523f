//! Why an act is not done.

use thiserror::Error;

use crate::store::StoreError;

/// Why an act is not done. Nothing has changed then.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refused {
    /// No delivery has this id.
    #[error("no delivery has this id")]
    NotFound,
    /// The delivery was kept once, and has made room.
    #[error("the delivery is not kept any more")]
    Gone,
    /// An attempt is under way, or a replay of the delivery waits for its attempt.
    #[error("an attempt of the delivery is under way, or a replay of it waits")]
    InFlight,
    /// The delivery does not verify with the route's secrets of now. Challenges and duplicates never do.
    #[error("the delivery does not verify, so it is not sent")]
    NotVerified,
    /// The delivery's head or body is not kept, or not in full.
    #[error("the delivery's head and body are not kept in full")]
    NoBody,
    /// The delivery neither waits nor is it dead.
    #[error("the delivery neither waits nor is it dead")]
    NotWaiting,
    /// No route has this name.
    #[error("no route has this name")]
    UnknownRoute,
    /// The route has no queue to pause.
    #[error("the route has no queue: delivery is proxy")]
    NoQueue,
    /// No run of this id is known; the oldest ones are forgotten.
    #[error("no bulk replay has this id")]
    UnknownRun,
    /// As many runs go on as may at once.
    #[error("too many bulk replays are running")]
    TooManyRuns,
    /// The store has not done it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    /// A stable name for the reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::InFlight => "in_flight",
            Self::NotVerified => "not_verified",
            Self::NoBody => "no_body",
            Self::NotWaiting => "not_waiting",
            Self::UnknownRoute => "unknown_route",
            Self::NoQueue => "no_queue",
            Self::UnknownRun => "unknown_run",
            Self::TooManyRuns => "too_many_runs",
            Self::Store(StoreError::Full) => "storage_full",
            Self::Store(StoreError::Slow | StoreError::TimedOut) => "storage_slow",
            Self::Store(StoreError::Unreachable(_) | StoreError::Failed(_) | StoreError::Closed) => "storage_failed",
        }
    }
}
