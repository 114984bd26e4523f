//! Finds the terms of a text, and their quotes.

use super::mistake::Mistake;

/// A character of a text without its quotes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Letter {
    /// The character.
    pub char: char,
    /// It stood in quotes, where it has no other meaning than itself.
    pub quoted: bool,
    /// Where it stands: bytes from the start of the text.
    pub at: usize,
}

/// A term.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Term {
    /// Where it begins: bytes from the start of the text.
    pub at: usize,
    /// A `-` is in front.
    pub negated: bool,
    /// The rest.
    pub letters: Vec<Letter>,
}

impl Letter {
    /// Whether it is this character, with its meaning.
    pub fn means(&self, char: char) -> bool {
        self.char == char && !self.quoted
    }
}

/// The terms of a text.
///
/// # Errors
/// A quote that does not end, a `-` or quotes without anything.
pub fn split(text: &str) -> Result<Vec<Term>, Mistake> {
    let mut terms = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, first)) = chars.next_if(|_| true) {
        if first.is_whitespace() {
            continue;
        }
        let mut letters = Vec::new();
        let mut quote = None;
        let mut next = Some((at, first));
        while let Some((at, char)) = next {
            match char {
                '"' if quote.is_some() => quote = None,
                '"' => quote = Some(at),
                '\\' if quote.is_some() && chars.peek().is_some_and(|(_, next)| matches!(next, '"' | '\\')) => {
                    letters.extend(chars.next().map(|(at, char)| Letter { char, quoted: true, at }));
                }
                char => letters.push(Letter { char, quoted: quote.is_some(), at }),
            }
            next = chars.next_if(|(_, char)| quote.is_some() || !char.is_whitespace());
        }
        if let Some(at) = quote {
            let message = "this quote has no end: write another \" after the text, or \\\" for the character in quotes";
            return Err(Mistake { at, message: message.to_owned() });
        }
        let negated = letters.first().is_some_and(|letter| letter.means('-'));
        if negated {
            letters.remove(0);
        }
        if letters.is_empty() {
            let message = match negated {
                true => "- stands in front of what must not hold: write -state:dead, or \"-\" for the character",
                false => "there is nothing in these quotes: write a text in them, or leave them out",
            };
            return Err(Mistake { at, message: message.to_owned() });
        }
        terms.push(Term { at, negated, letters });
    }
    Ok(terms)
}

/// A text in which quotes have no meaning.
pub fn unquoted(text: &str) -> Vec<Letter> {
    text.char_indices().map(|(at, char)| Letter { char, quoted: false, at }).collect()
}

/// The letters as a text.
pub fn text(letters: &[Letter]) -> String {
    letters.iter().map(|letter| letter.char).collect()
}

/// A part of the searcher's text, for a message: short, and without characters that a terminal would act on.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() { format!("{shown}…") } else { shown }
}
