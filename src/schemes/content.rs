//! Signed content: what a form's template gives for a body.
//!
//! A template is filled from the body as it came, so that signing and verifying cannot disagree. Where it names a JSON
//! key that the body holds twice, parsers could come to two contents; both are given out, as repeated, and no caller
//! may accept either.

use std::borrow::Cow;
use std::cell::OnceCell;

use bytes::Bytes;
use smallvec::SmallVec;

use super::payload::{self, Found};
use super::spec::{Form, Part};

/// What is signed: slices in order, with nothing between.
pub(super) type Content<'a> = SmallVec<[Cow<'a, [u8]>; 4]>;

/// What a template gives.
pub(super) enum Filled<'a> {
    /// Part of the content is not there.
    Unfit,
    /// The content.
    Once(Content<'a>),
    /// A key of the content is there more than once: the contents that parsers would come to.
    Repeated(Vec<Content<'a>>),
}

/// Fills a form's template from a body.
pub(super) fn fill<'a>(form: &Form, body: &'a Body<'_>) -> Filled<'a> {
    let mut repeated = false;
    match (fill_with(form, body, Occurrence::First, &mut repeated), repeated) {
        (first, true) => {
            let last = fill_with(form, body, Occurrence::Last, &mut repeated);
            Filled::Repeated(first.into_iter().chain(last).collect())
        }
        (Some(content), false) => Filled::Once(content),
        (None, false) => Filled::Unfit,
    }
}

/// Which of several values of a key to take.
#[derive(Clone, Copy)]
enum Occurrence {
    First,
    Last,
}

fn fill_with<'a>(form: &Form, body: &'a Body<'_>, take: Occurrence, repeated: &mut bool) -> Option<Content<'a>> {
    let mut content = Content::new();
    for part in &form.content {
        match part {
            Part::Body => content.extend(body.frames.iter().map(|frame| Cow::Borrowed(&**frame))),
            Part::Json(pointer) => {
                let value = match (payload::find(body.bytes(), pointer.key()), take) {
                    (Found::Nothing, _) => None,
                    (Found::Once(value), _) => value,
                    (Found::Repeated { first: value, .. }, Occurrence::First)
                    | (Found::Repeated { last: value, .. }, Occurrence::Last) => {
                        *repeated = true;
                        value
                    }
                };
                content.push(match value? {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                });
            }
        }
    }
    Some(content)
}

/// A body in pieces, put together only if something has to parse it.
pub(super) struct Body<'a> {
    frames: &'a [Bytes],
    joined: OnceCell<Vec<u8>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(frames: &'a [Bytes]) -> Self {
        Self { frames, joined: OnceCell::new() }
    }

    /// The body in one piece: borrowed if it came so.
    pub(super) fn bytes(&self) -> &[u8] {
        match self.frames {
            [] => &[],
            [whole] => whole,
            frames => self.joined.get_or_init(|| frames.concat()),
        }
    }
}
