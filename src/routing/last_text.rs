//! A text that mostly is the same as the last time.

use std::cell::RefCell;

use smol_str::SmolStr;

/// The text that came last. Most deliveries of a route have the same path and host, so that a long one is shared by their
/// records, and is not copied for each.
#[derive(Debug, Default)]
pub struct LastText(RefCell<SmolStr>);

impl LastText {
    /// The text of these bytes; `None` if they are not UTF-8.
    pub fn of(&self, bytes: &[u8]) -> Option<SmolStr> {
        let mut last = self.0.borrow_mut();
        if last.as_bytes() != bytes {
            *last = SmolStr::new(str::from_utf8(bytes).ok()?);
        }
        Some(last.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_that_comes_again_is_not_copied() {
        let last = LastText::default();
        let texts = ["", "/hooks", "/a/path/that/does/not/fit/into/the/value", "/hooks"];
        for text in texts {
            let [first, second] = [(); 2].map(|()| last.of(text.as_bytes()).unwrap());
            assert_eq!((first.as_str(), second.as_str()), (text, text));
            assert_eq!(first.is_heap_allocated(), first.as_ptr() == second.as_ptr(), "{text}");
        }
        assert_eq!(last.of(b"\xff"), None);
        assert_eq!(last.of(b"/hooks").as_deref(), Some("/hooks"));
    }
}
