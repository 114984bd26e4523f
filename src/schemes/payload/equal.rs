//! Equality of two JSON texts, without building either.
//!
//! Two values are equal if both are objects with equal values under equal keys, in whatever order; arrays with equal
//! values in the same order; strings of the same characters, however escaped; or numbers, `true`, `false` or `null` of
//! the same text. So `1` differs from `1.0`: receivers may read them differently. White space between tokens does not
//! count.
//!
//! Refused as different, whatever the other side holds:
//!
//! 1. an object with a key twice, on either side and at any depth: receivers differ in which one they take;
//! 2. more than [`MAX_DEPTH`] levels of nesting;
//! 3. a key, or a string whose two texts differ, with an escape that stands for no character (a lone surrogate).
//!
//! The walk goes in lock step, stops at the first difference, and looks at no more keys of an object than the signed
//! side has. Work is at most the size of both texts times the depth of the signed one, beside sorting the keys of the
//! signed one.
//!
//! Both texts must have been validated as JSON. A text that was not gives a wrong verdict, never a panic.

use std::borrow::Cow;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: usize = 128;

/// Whether the object `body` equals the object `signed` once the root key `omitted` is taken from it.
pub(in crate::schemes) fn equal_but_for(body: &[u8], omitted: &str, signed: &[u8]) -> bool {
    let mut body = Cursor { rest: body };
    let mut signed = Cursor { rest: signed };
    objects(&mut body, &mut signed, Some(omitted.as_bytes()), MAX_DEPTH).is_some()
}

/// Moves both cursors past equal values. Nothing: they differ.
fn values(body: &mut Cursor<'_>, signed: &mut Cursor<'_>, depth: usize) -> Option<()> {
    match (body.peek()?, signed.peek()?) {
        (b'{', b'{') => objects(body, signed, None, depth),
        (b'[', b'[') => arrays(body, signed, depth),
        (b'"', b'"') => strings(body.string()?, signed.string()?),
        _ => same(body.scalar()? == signed.scalar()?),
    }
}

fn objects(body: &mut Cursor<'_>, signed: &mut Cursor<'_>, omitted: Option<&[u8]>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let signed = signed.members(None, usize::MAX)?;
    let body = body.members(omitted, signed.len())?;
    same(body.len() == signed.len())?;
    for (mut ours, mut theirs) in body.into_iter().zip(signed) {
        same(ours.key == theirs.key)?;
        values(&mut ours.value, &mut theirs.value, depth)?;
    }
    Some(())
}

fn arrays(body: &mut Cursor<'_>, signed: &mut Cursor<'_>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    body.eat(b'[')?;
    signed.eat(b'[')?;
    loop {
        match (body.peek()?, signed.peek()?) {
            (b']', b']') => {
                body.eat(b']')?;
                return signed.eat(b']');
            }
            (b',', b',') => {
                body.eat(b',')?;
                signed.eat(b',')?;
            }
            _ => values(body, signed, depth)?,
        }
    }
}

fn strings(body: &[u8], signed: &[u8]) -> Option<()> {
    // The usual case. Also the only one in which a lone surrogate may be equal to itself.
    if body == signed {
        return Some(());
    }
    same(unescaped(body)? == unescaped(signed)?)
}

fn same(equal: bool) -> Option<()> {
    equal.then_some(())
}

/// The characters of a string token.
fn unescaped(token: &[u8]) -> Option<Cow<'_, [u8]>> {
    if token.contains(&b'\\') {
        return Some(Cow::Owned(serde_json::from_slice::<String>(token).ok()?.into_bytes()));
    }
    Some(Cow::Borrowed(token.strip_prefix(b"\"")?.strip_suffix(b"\"")?))
}

/// A key and where its value begins.
struct Member<'t> {
    key: Cow<'t, [u8]>,
    value: Cursor<'t>,
}

/// A place in a JSON text.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    rest: &'t [u8],
}

impl<'t> Cursor<'t> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    /// Moves past this byte.
    fn eat(&mut self, byte: u8) -> Option<()> {
        self.peek()?;
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    /// Moves past `length` bytes and returns them.
    fn take(&mut self, length: usize) -> Option<&'t [u8]> {
        let (token, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(token)
    }

    /// Moves past a string, and returns it with its quotes and escapes.
    fn string(&mut self) -> Option<&'t [u8]> {
        same(self.peek()? == b'"')?;
        let mut length = 1;
        loop {
            let after = self.rest.get(length..)?;
            length += after.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            match self.rest.get(length)? {
                b'"' => return self.take(length + 1),
                _ => length += 2,
            }
        }
    }

    /// Moves past a number, `true`, `false` or `null`, and returns its text.
    fn scalar(&mut self) -> Option<&'t [u8]> {
        self.peek()?;
        let of_scalar = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.rest.iter().position(|byte| !of_scalar(byte)).unwrap_or(self.rest.len());
        same(length > 0)?;
        self.take(length)
    }

    /// Moves past a value, at whatever depth, without recursion.
    fn skip(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    open += 1;
                    self.take(1)?;
                }
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    self.take(1)?;
                }
                b',' | b':' if open > 0 => drop(self.take(1)?),
                _ => drop(self.scalar()?),
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    /// Moves past an object, and returns its members by key, but for the omitted one. Nothing if a key is there twice
    /// or if there are more than `at_most` members.
    fn members(&mut self, omitted: Option<&[u8]>, at_most: usize) -> Option<Vec<Member<'t>>> {
        let mut members = Vec::with_capacity(if at_most == usize::MAX { 8 } else { at_most });
        self.eat(b'{')?;
        while self.peek()? != b'}' {
            if self.peek()? == b',' {
                self.eat(b',')?;
            }
            let key = unescaped(self.string()?)?;
            self.eat(b':')?;
            self.peek()?;
            let value = *self;
            self.skip()?;
            if omitted == Some(&*key) {
                continue;
            }
            same(members.len() < at_most)?;
            members.push(Member { key, value });
        }
        self.eat(b'}')?;
        members.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        same(members.is_sorted_by(|one, other| one.key < other.key))?;
        Some(members)
    }
}

#[cfg(test)]
mod tests;
