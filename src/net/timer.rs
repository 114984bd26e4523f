//! One timer for deadlines that keep moving: a connection's next request has a later one, and hardly any is ever reached.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// A timer that is made when it is first needed, and set again only where it has to fire earlier than it would, or has
/// fired too early. So what is done in time costs no timer.
#[derive(Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` is reached. Else the task is woken then, or earlier.
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
