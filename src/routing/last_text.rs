//! Reuses the text of a delivery for the record of the next one, if both have the same.

use std::cell::RefCell;

use smol_str::SmolStr;

/// The text that came last. Most deliveries of a route are for the same host, so that a long one is shared by their records, and is
/// not copied for each. The last one stays in memory until another one comes; nothing shows it.
#[derive(Debug, Default)]
pub struct LastText(RefCell<SmolStr>);

impl LastText {
    /// The text of these bytes, as [`ascii`] has it.
    pub fn of(&self, bytes: &[u8]) -> Option<SmolStr> {
        let mut last = self.0.borrow_mut();
        if last.as_bytes() != bytes {
            *last = ascii(bytes)?;
        }
        Some(last.clone())
    }
}

/// The text of these bytes; `None` if they are not ASCII.
pub fn ascii(bytes: &[u8]) -> Option<SmolStr> {
    bytes.is_ascii().then(|| str::from_utf8(bytes).ok().map(SmolStr::new)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_that_comes_again_is_not_copied() {
        let last = LastText::default();
        for text in
            ["", "hooks.example.com", "hooks.a-subdomain-too-long-for-the-value.example.com", "hooks.example.com"]
        {
            let [first, second] = [(); 2].map(|()| last.of(text.as_bytes()).unwrap());
            assert_eq!((first.as_str(), second.as_str()), (text, text));
            assert_eq!(first.is_heap_allocated(), first.as_ptr() == second.as_ptr(), "{text}");
        }
        assert_eq!(last.of("h\u{f6}oks.example.com".as_bytes()), None);
        assert_eq!(last.of(b"\xff"), None);
        assert_eq!(last.of(b"hooks.example.com").as_deref(), Some("hooks.example.com"));
    }
}
