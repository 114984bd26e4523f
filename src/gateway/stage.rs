//! Stages of the stack: async functions as tower layers.
//!
//! A stage takes its place in the stack, [`Here`], and the delivery as the stage before it made it. [`Stage`] makes a tower
//! layer and service of it, whose type names all that is below twice over: in itself, and in the function. So that names and
//! compile times do not double with each stage, an [`Erased`] service stands between every few.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tower::layer::layer_fn;
use tower::{Layer, Service};

/// Where a stage is: what it needs of its thread, and the rest of the stack.
///
/// Shared by all requests that are on their way through the stage: the future of each holds one reference, whatever is
/// below it.
pub struct Here<C, S> {
    /// What the stage needs of its thread.
    pub context: C,
    next: S,
}

/// An async function as a layer: `stage(here, delivery)`.
pub struct Stage<C, F> {
    context: C,
    stage: F,
}

/// A [`Stage`] in its place.
pub struct Staged<C, F, S> {
    here: Rc<Here<C, S>>,
    stage: F,
}

impl<C, S> Here<C, S> {
    /// A stage's place, with `next` as the rest of the stack.
    pub fn new(context: C, next: S) -> Rc<Self> {
        Rc::new(Self { context, next })
    }

    /// Hands a delivery on. Nothing below has to be waited for first: every service of the stack is always ready.
    pub fn next<Delivery>(&self, delivery: Delivery) -> S::Future
    where
        S: Service<Delivery> + Clone,
    {
        self.next.clone().call(delivery)
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

    fn layer(&self, next: S) -> Self::Service {
        Staged { here: Here::new(self.context.clone(), next), stage: self.stage.clone() }
    }
}

impl<C, F: Clone, S> Clone for Staged<C, F, S> {
    fn clone(&self) -> Self {
        Self { here: self.here.clone(), stage: self.stage.clone() }
    }
}

impl<C, F, S, Delivery, Fut, Response, Error> Service<Delivery> for Staged<C, F, S>
where
    F: Fn(Rc<Here<C, S>>, Delivery) -> Fut,
    Fut: Future<Output = Result<Response, Error>>,
{
    type Response = Response;
    type Error = Error;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Fut {
        (self.stage)(self.here.clone(), delivery)
    }
}

/// A service of which only the delivery, the response and the error are known. Its futures are boxed.
pub struct Erased<D, R, E>(Rc<Serve<D, R, E>>);

type Serve<D, R, E> = dyn Fn(D) -> Boxed<R, E>;
type Boxed<R, E> = Pin<Box<dyn Future<Output = Result<R, E>>>>;

impl<D, R, E> Erased<D, R, E> {
    /// `service`, which must always be ready.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<D, Response = R, Error = E, Future: 'static> + Clone + 'static,
    {
        Self(Rc::new(move |delivery| {
            // The box first: so the future can be made in its place, instead of being moved there.
            let place = Box::<S::Future>::new_uninit();
            let future: Box<S::Future> = Box::write(place, service.clone().call(delivery));
            Box::into_pin(future)
        }))
    }

    /// The layer that erases what is below.
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
