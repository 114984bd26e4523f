//! Collects terms, and makes the store's filter of them.

use super::condition::Test;
use super::key::Key;
use super::mistake::Mistake;
use super::split::{shown, split, unquoted};
use crate::store::{Filter, Millis};

/// The longest text, in bytes.
pub const MAX_LEN: usize = 4096;

/// The most terms of a text.
pub const MAX_TERMS: usize = 64;

/// Conditions on deliveries, from texts and from keys of a query string; all of them must hold.
#[derive(Clone, Debug)]
pub struct Query {
    now: Millis,
    filter: Filter,
    terms: Vec<(Key, Test)>,
}

impl Query {
    /// One that every delivery meets; `since:1h` will mean an hour before `now`.
    pub fn new(now: Millis) -> Self {
        Self { now, filter: Filter::default(), terms: Vec::new() }
    }

    /// Adds a text of the search language.
    ///
    /// # Errors
    /// The first mistake in it; then nothing was added.
    pub fn text(&mut self, text: &str) -> Result<(), Mistake> {
        if text.len() > MAX_LEN {
            return Err(Mistake { at: MAX_LEN, message: format!("a search may have {MAX_LEN} bytes at most") });
        }
        let terms = split(text)?;
        if let Some(term) = terms.get(MAX_TERMS) {
            return Err(Mistake { at: term.at, message: format!("a search may have {MAX_TERMS} terms at most") });
        }
        let mut found = Vec::new();
        for term in &terms {
            found.push((term.negated, Key::of_term(term, self.now)?));
        }
        let (without, with): (Vec<_>, Vec<_>) = found.into_iter().partition(|(negated, _)| *negated);
        for (_, (_, test)) in without {
            test.without(&mut self.filter);
        }
        add(&mut self.filter, with.into_iter().map(|(_, term)| term).collect());
        Ok(())
    }

    /// Adds a key of a query string: `route`, `state`, `reason`, `status`, `event_type`, `event_id`, `request_id`, `since` or
    /// `until`. Values are written as in a text; quotes have no meaning. Only `state` may be there twice.
    ///
    /// # Errors
    /// The key is none of these, or is there twice ([`Mistake::at`] is 0), or the value is wrong.
    pub fn term(&mut self, key: &str, value: &str) -> Result<(), Mistake> {
        let refused = |message: String| Err(Mistake { at: 0, message });
        let Some(known) = Key::of_query(key) else {
            let names = Key::query_names().join(", ");
            return refused(format!("there is no key \"{}\"; the keys are {names}", shown(key)));
        };
        if known != Key::State && self.terms.iter().any(|(before, _)| *before == known) {
            return refused(format!("{key} is there twice; only state may be"));
        }
        if value.len() > MAX_LEN {
            return Err(Mistake { at: MAX_LEN, message: format!("a value may have {MAX_LEN} bytes at most") });
        }
        if self.terms.len() >= MAX_TERMS {
            return refused(format!("a query may have {MAX_TERMS} keys at most"));
        }
        let test = known.read(&unquoted(value), 0, self.now)?;
        self.terms.push((known, test));
        Ok(())
    }

    /// The filter of the store.
    pub fn filter(&self) -> Filter {
        let mut filter = self.filter.clone();
        add(&mut filter, self.terms.clone());
        filter
    }
}

/// Adds terms: of a key that a delivery has one value of, one must hold; of the others, all.
fn add(filter: &mut Filter, mut terms: Vec<(Key, Test)>) {
    while !terms.is_empty() {
        let (key, test) = terms.remove(0);
        let mut tests = vec![test];
        if key.has_one_value() {
            let (same, others): (Vec<_>, Vec<_>) = terms.into_iter().partition(|(other, _)| *other == key);
            tests.extend(same.into_iter().map(|(_, test)| test));
            terms = others;
        }
        Test::any(tests, filter);
    }
}
