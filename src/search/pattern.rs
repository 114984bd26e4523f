//! Compares texts with `*`, which stands for any characters.

use memchr::memmem;

use super::split::{Letter, text};

/// A text to compare with, in which `*` may stand for any characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// What stands between the `*`; one part is a text without any.
    parts: Vec<String>,
    /// The case of letters does not count.
    any_case: bool,
}

impl Pattern {
    /// The pattern that a value writes.
    pub fn of(letters: &[Letter]) -> Self {
        let parts = letters.split(|letter| letter.means('*')).map(text);
        Self { parts: parts.collect(), any_case: false }
    }

    /// One that finds a word anywhere in a text, whatever the case of its letters.
    pub fn anywhere(letters: &[Letter]) -> Self {
        let mut parts = vec![String::new()];
        parts.extend(letters.split(|letter| letter.means('*')).map(|part| text(part).to_lowercase()));
        parts.push(String::new());
        Self { parts, any_case: true }
    }

    /// The text, if it has no `*`.
    pub fn exact(&self) -> Option<&str> {
        match &*self.parts {
            [text] => Some(text),
            _ => None,
        }
    }

    /// Whether a word is the whole of a text.
    pub fn is_whole(&self, text: &str) -> bool {
        matches!(&*self.parts, [_, word, _] if *word == text)
    }

    /// Whether a text is as the pattern says.
    pub fn fits(&self, text: &str) -> bool {
        if self.any_case { self.fits_bytes(text.to_lowercase().as_bytes()) } else { self.fits_bytes(text.as_bytes()) }
    }

    /// Whether bytes are as the pattern says; the case of letters counts.
    pub fn fits_bytes(&self, bytes: &[u8]) -> bool {
        let (first, between, last) = match &*self.parts {
            [] => return bytes.is_empty(),
            [only] => return bytes == only.as_bytes(),
            [first, between @ .., last] => (first, between, last),
        };
        let Some(rest) = bytes.strip_prefix(first.as_bytes()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_bytes()) else { return false };
        for part in between {
            let after = memmem::find(rest, part.as_bytes()).and_then(|at| rest.get(at + part.len()..));
            let Some(after) = after else { return false };
            rest = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::split::{split, unquoted};

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, fits, fails) in [
            ("invoice.*", &["invoice.", "invoice.paid", "invoice.a.b"][..], &["invoice", "my.invoice.paid"][..]),
            ("*.paid", &[".paid", "invoice.paid"], &["invoice.paid2"]),
            ("a*b*c", &["abc", "a-b-c", "abbcc"], &["acb", "ab", "abcd"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("*", &["", "x"], &[]),
            ("**", &["", "x"], &[]),
            ("plain", &["plain"], &["", "Plain", "plain "]),
        ] {
            let pattern = Pattern::of(&unquoted(pattern));
            for text in fits {
                assert!(pattern.fits(text), "{pattern:?} {text}");
            }
            for text in fails {
                assert!(!pattern.fits(text), "{pattern:?} {text}");
            }
        }
    }

    #[test]
    fn a_star_in_quotes_is_a_star() {
        let pattern = Pattern::of(&split(r#"a"*"b"#).unwrap()[0].letters);
        assert!(pattern.fits("a*b") && !pattern.fits("axb"));
        assert_eq!(pattern.exact(), Some("a*b"));
    }

    #[test]
    fn a_word_is_found_anywhere_in_any_case() {
        let word = Pattern::anywhere(&unquoted("Évt_*9"));
        assert!(word.fits("/x/éVT_12392") && !word.fits("évt_1"));
    }
}
