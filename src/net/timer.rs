//! A timer for a deadline that keeps moving: each request on a connection has a later one, and few are ever reached.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// A timer that is made when it is first polled, and set again only if it would fire too late or has fired too early. So
/// moving the deadline later costs nothing.
#[derive(Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` has passed. Otherwise the task is woken then, or earlier.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = deadline.into();
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_that_is_asked_for_counts_whatever_the_timer_was_set_to() {
        let mut timer = Timer::default();
        let start = Clock::system().now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut is_ready = async |deadline| poll_fn(|cx| Poll::Ready(timer.poll(cx, deadline).is_ready())).await;
        assert!(!is_ready(at(60)).await);
        assert!(!is_ready(at(120)).await, "a later one needs no other timer");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!is_ready(at(120)).await, "fired for the first one");
        assert!(!is_ready(at(90)).await, "an earlier one");
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(is_ready(at(90)).await);
    }
}
