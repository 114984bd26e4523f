//! Reads an upstream's response before the sender takes it, so that a delivery gives its place in `max_in_flight` back when the
//! handler is done.
//!
//! Over HTTP/1.1 the system's buffers do that. Over HTTP/2 no more than one part is read while the sender's window is closed (RFC
//! 9113 section 5.2), and the window may never open.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tower::BoxError;

use crate::routing::limits::{Permit, Reservation};
use crate::upstream::pool::ResponseBody;

/// Bytes of one response that wait for its sender. They count in `buffered_bytes`, too.
const MOST: usize = 64 << 10;
/// Parts of one response that wait. Each takes memory beside its bytes.
const MOST_PARTS: usize = 64;

/// The body of a response that a task of its own reads.
pub struct Ahead(Rc<RefCell<State>>);

struct State {
    /// `None` after its end, and when the response is dropped.
    body: Option<ResponseBody>,
    /// The delivery's place, until the body has ended.
    permit: Option<Permit>,
    /// Why the body broke off.
    error: Option<BoxError>,
    /// What the sender has not taken.
    parts: VecDeque<Bytes>,
    /// The bytes of `parts`.
    waiting: u64,
    /// For the bytes of `parts`; it has fewer if the budget has no room.
    held: Reservation,
    /// Whether no more is read until the sender takes something.
    is_full: bool,
    /// Woken when there is something to take.
    taker: Option<Waker>,
    /// Woken when there is room again, or the response is not wanted any more.
    reader: Option<Waker>,
}

impl Ahead {
    /// Reads `body` on a task of this thread. Its bytes count in `held`, and `permit` is dropped at its end.
    pub fn start(body: ResponseBody, permit: Option<Permit>, held: Reservation) -> Self {
        let state = State {
            body: Some(body),
            permit,
            error: None,
            parts: VecDeque::new(),
            waiting: 0,
            held,
            is_full: false,
            taker: None,
            reader: None,
        };
        let state = Rc::new(RefCell::new(state));
        let read = state.clone();
        tokio::task::spawn_local(async move { poll_fn(|cx| read.borrow_mut().poll_read(cx)).await });
        Self(state)
    }

    /// Takes what has been read.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.0.borrow_mut();
        if let Some(part) = state.parts.pop_front() {
            state.waiting -= part.len() as u64;
            let left = state.waiting;
            state.held.shrink_to(left);
            state.is_full = false;
            wake(&mut state.reader);
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if state.body.is_none() {
            return Poll::Ready(state.error.take().map(Err));
        }
        state.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether all of it has been taken.
    pub fn is_end_stream(&self) -> bool {
        let state = self.0.borrow();
        state.body.is_none() && state.parts.is_empty() && state.error.is_none()
    }

    /// The bytes that have not been taken.
    pub fn size_hint(&self) -> SizeHint {
        let state = self.0.borrow();
        let waiting = state.waiting;
        match (&state.body, &state.error) {
            (None, None) => SizeHint::with_exact(waiting),
            (None, Some(_)) => SizeHint::default(),
            (Some(body), _) => {
                body.size_hint().exact().map_or_else(SizeHint::default, |more| SizeHint::with_exact(waiting + more))
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.end();
        wake(&mut state.reader);
    }
}

impl State {
    /// Reads as long as there is room. Ready at the body's end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(body) = &mut self.body {
            if self.is_full {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let is_end = body.is_end_stream();
                    if let Ok(data) = frame.into_data() {
                        self.waiting += data.len() as u64;
                        self.parts.push_back(data);
                    }
                    // What has been read stays, even if the budget has no room for it: that is one part at most.
                    let is_over = self.held.grow_to(self.waiting).is_err();
                    self.is_full = is_over || self.waiting >= MOST as u64 || self.parts.len() >= MOST_PARTS;
                    if is_end {
                        self.end();
                    }
                }
                Some(Err(error)) => {
                    self.error = Some(error);
                    self.end();
                }
                None => self.end(),
            }
            wake(&mut self.taker);
        }
        Poll::Ready(())
    }

    /// The handler is done, or the response is not wanted any more.
    fn end(&mut self) {
        self.body = None;
        self.permit = None;
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
