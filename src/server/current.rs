//! A service that can be exchanged for another while it is in use. Each must always be ready.
//!
//! A connection holds a clone of the [`Swap`], not of what is in it: a request that comes after the exchange goes to the
//! new service, also on a connection that was open before. A request that came before it ends where it began.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use tower::Service;

/// The place of a service. Clones are the same place.
pub struct Swap<S>(Rc<RefCell<S>>);

impl<S> Swap<S> {
    /// A place with `service` in it.
    pub fn new(service: S) -> Self {
        Self(Rc::new(RefCell::new(service)))
    }

    /// Puts `service` there instead.
    pub fn replace(&self, service: S) {
        // What was there is dropped only after the borrow has ended: that may run anything.
        let before = self.0.replace(service);
        drop(before);
    }
}

impl<S> Clone for Swap<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, Request> Service<Request> for Swap<S>
where
    S: Service<Request> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Whichever service it will be is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut service = self.0.borrow().clone();
        service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn a_clone_made_before_the_exchange_takes_the_new_service_and_a_request_under_way_stays_with_the_old() {
        let answering = |answer: u8| service_fn(move |_: ()| async move { Ok::<_, Infallible>(answer) });
        let swap = Swap::new(answering(1));
        let mut clone = swap.clone();
        let under_way = clone.call(());
        swap.replace(answering(2));
        assert_eq!(under_way.await, Ok(1));
        assert_eq!(clone.call(()).await, Ok(2));
    }
}
