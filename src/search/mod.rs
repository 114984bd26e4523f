//! The search language: what people type to find deliveries, as a [`Filter`](crate::store::Filter) of the store.
//!
//! A text is a list of terms with spaces between; all of them must hold. A term is a word, or a key with a value:
//! `route:stripe state:dead event:invoice.* -status:5xx "two words"`.
//!
//! - A word is looked for in the event id, the event type, the request id and the path, whatever the case of its letters.
//!   The whole id of a delivery finds that delivery.
//! - A key asks one attribute; [`Key`](key::Key) says which, and how its values are written.
//! - `*` stands for any characters, in words and in the values of keys that take a text.
//! - `-` in front of a term means that it must not hold.
//! - A key that a delivery has one value of may be there more than once: one of the values must hold. These are `route`,
//!   `state`, `reason`, `status`, `event`, `event_id`, `request_id`, `id` and `peer`. Of other keys and of words, all.
//! - Quotes keep spaces, colons, a leading `-` and `*` from having a meaning; `\"` and `\\` stand for the two characters in
//!   quotes.
//!
//! The modules:
//!
//! - [`choice`] is for forms that write a term of it.
//! - [`condition`] has the conditions, and how a filter gets them.
//! - [`key`] has the keys and how their values are read.
//! - [`mistake`] says what is wrong with a text.
//! - [`pattern`] compares texts with `*`.
//! - [`query`] collects the terms.
//! - [`split`] finds the terms of a text.
//!
//! A text over [`MAX_LEN`](query::MAX_LEN) bytes or with more than [`MAX_TERMS`](query::MAX_TERMS) terms is refused.

pub mod choice;
pub mod condition;
pub mod key;
pub mod mistake;
pub mod pattern;
pub mod query;
pub mod split;
#[cfg(test)]
mod tests;

pub use mistake::Mistake;
pub use query::Query;
