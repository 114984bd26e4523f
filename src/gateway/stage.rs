//! Stages of the stack: async functions as tower layers.
//!
//! A stage is called with the rest of the stack, [`Next`], and the delivery as the previous stage made it. [`Stage`] turns
//! this function into a tower layer and service. The type of the service names the type of the rest twice: in itself, and in
//! the function. An [`Erased`] service after every few stages keeps type names and compile times from doubling with each
//! stage.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tower::layer::layer_fn;
use tower::{Layer, Service};

/// The rest of the stack, and the context of the stage that is called with it.
///
/// All requests that pass through the stage share one value: the future of each request holds one reference, however large
/// the rest of the stack is.
pub struct Next<C, S> {
    /// The values of the worker thread that the stage uses.
    pub context: C,
    rest: S,
}

/// An async function as a layer: `stage(next, delivery)`.
pub struct Stage<C, F> {
    context: C,
    stage: F,
}

/// A [`Stage`] with the rest of the stack below it.
pub struct Staged<C, F, S> {
    next: Rc<Next<C, S>>,
    stage: F,
}

impl<C, S> Next<C, S> {
    /// For a stage that needs `context` and has `rest` below it.
    pub fn new(context: C, rest: S) -> Rc<Self> {
        Rc::new(Self { context, rest })
    }

    /// Hands a delivery to the next stage. Every service of the stack is always ready, so `poll_ready` is not called first.
    pub fn run<Delivery>(&self, delivery: Delivery) -> S::Future
    where
        S: Service<Delivery> + Clone,
    {
        self.rest.clone().call(delivery)
    }
}

impl<C, F> Stage<C, F> {
    /// The layer of `stage`, which needs `context`.
    pub fn new(context: C, stage: F) -> Self {
        Self { context, stage }
    }
}

impl<C: Clone, F: Clone, S> Layer<S> for Stage<C, F> {
    type Service = Staged<C, F, S>;

    fn layer(&self, rest: S) -> Self::Service {
        Staged { next: Next::new(self.context.clone(), rest), stage: self.stage.clone() }
    }
}

impl<C, F: Clone, S> Clone for Staged<C, F, S> {
    fn clone(&self) -> Self {
        Self { next: self.next.clone(), stage: self.stage.clone() }
    }
}

impl<C, F, S, Delivery, Fut, Response, Error> Service<Delivery> for Staged<C, F, S>
where
    F: Fn(Rc<Next<C, S>>, Delivery) -> Fut,
    Fut: Future<Output = Result<Response, Error>>,
{
    type Response = Response;
    type Error = Error;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Fut {
        (self.stage)(self.next.clone(), delivery)
    }
}

/// A service whose type names only the delivery, the response and the error. Its futures are boxed.
pub struct Erased<D, R, E>(Rc<Serve<D, R, E>>);

type Serve<D, R, E> = dyn Fn(D) -> Boxed<R, E>;
/// A boxed future; its type names only its result.
pub type Boxed<R, E> = Pin<Box<dyn Future<Output = Result<R, E>>>>;

impl<D, R, E> Erased<D, R, E> {
    /// `service`, which must always be ready.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<D, Response = R, Error = E, Future: 'static> + Clone + 'static,
    {
        Self(Rc::new(move |delivery| {
            // The box first, so that the future is made in it instead of being moved there.
            let place = Box::<S::Future>::new_uninit();
            let future: Box<S::Future> = Box::write(place, service.clone().call(delivery));
            Box::into_pin(future)
        }))
    }

    /// The layer that erases the type of the service below it.
    pub fn layer<S>() -> impl Layer<S, Service = Self>
    where
        S: Service<D, Response = R, Error = E, Future: 'static> + Clone + 'static,
    {
        layer_fn(Self::new)
    }
}

impl<D, R, E> Clone for Erased<D, R, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D, R, E> Service<D> for Erased<D, R, E> {
    type Response = R;
    type Error = E;
    type Future = Boxed<R, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: D) -> Self::Future {
        (self.0)(delivery)
    }
}
