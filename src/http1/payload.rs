//! A body in memory.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

/// A body in the pieces in which it arrived. A clone shares them.
#[derive(Clone)]
pub struct Payload(Arc<Pieces<dyn Any + Send + Sync>>);

/// Pieces of a body, in order.
pub type Frames = SmallVec<[Bytes; 2]>;

struct Pieces<G: ?Sized> {
    frames: Frames,
    /// The sum of the pieces, in bytes.
    length: u64,
    /// Dropped with the last clone, for instance to return memory to a budget.
    _guard: G,
}

impl Payload {
    /// A body in these pieces. `guard` is dropped with the last clone.
    pub fn new(frames: Frames, guard: impl Any + Send + Sync) -> Self {
        let length = frames.iter().map(|frame| frame.len() as u64).sum();
        Self(Arc::new(Pieces { frames, length, _guard: guard }))
    }

    /// The body's length in bytes.
    pub fn len(&self) -> u64 {
        self.0.length
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn frames(&self) -> &[Bytes] {
        &self.0.frames
    }

    /// The body in one piece: copied only if it arrived in several.
    pub fn whole(&self) -> Bytes {
        match self.frames() {
            [only] => only.clone(),
            frames => frames.concat().into(),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::new(Frames::from_iter([bytes]), ())
    }
}
