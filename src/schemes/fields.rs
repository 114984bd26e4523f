//! Fields of forms and queries: `application/x-www-form-urlencoded` (WHATWG URL section 5.1), as bytes.
//!
//! Parsers differ in which of two fields of the same name they use, so a repeated field is reported as such. A percent sign
//! that is not followed by two hexadecimal digits stands for itself.

use std::borrow::Cow;

/// The result of a search for a name.
pub(super) enum Found<'a> {
    /// The name does not occur.
    Nothing,
    /// One value; `None` if it is of the wrong kind.
    Once(Option<Cow<'a, [u8]>>),
    /// Several values: the first and the last, which parsers use.
    Repeated { first: Option<Cow<'a, [u8]>>, last: Option<Cow<'a, [u8]>> },
}

/// The fields, decoded, in their order.
pub(super) fn pairs(form: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    form.split(|byte| *byte == b'&').filter(|field| !field.is_empty()).map(|field| {
        let at = field.iter().position(|byte| *byte == b'=');
        let (name, value) = match at.and_then(|at| field.split_at_checked(at)) {
            Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
            None => (field, &[][..]),
        };
        (decode(name), decode(value))
    })
}

/// The value of a field.
pub(super) fn find<'a>(form: &'a [u8], name: &str) -> Found<'a> {
    let mut values = pairs(form).filter(|(found, _)| **found == *name.as_bytes()).map(|(_, value)| value);
    let Some(first) = values.next() else { return Found::Nothing };
    match values.last() {
        None => Found::Once(Some(first)),
        Some(last) => Found::Repeated { first: Some(first), last: Some(last) },
    }
}

/// A form without the fields of this name.
pub(super) fn without(form: &[u8], name: &str) -> Vec<u8> {
    let fields = form.split(|byte| *byte == b'&');
    let others = fields.filter(|field| pairs(field).all(|(found, _)| *found != *name.as_bytes()));
    others.collect::<Vec<_>>().join(&b'&')
}

/// A form with one more field.
pub(super) fn with(form: &[u8], name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = form.to_vec();
    if !out.is_empty() {
        out.push(b'&');
    }
    encode(name.as_bytes(), &mut out);
    out.push(b'=');
    encode(value, &mut out);
    out
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    escape_but(bytes, b"-._*", out);
}

/// Escapes as `encodeURIComponent` does (ECMA-262).
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    escape_but(bytes, b"-_.!~*'()", out);
}

/// Escapes all but letters, digits and these.
fn escape_but(bytes: &[u8], plain: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            byte if byte.is_ascii_alphanumeric() || plain.contains(byte) => out.push(*byte),
            byte => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, escaped(behind)) {
            (b'%', Some((byte, behind))) => {
                out.push(byte);
                rest = behind;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// The byte of two hexadecimal digits, and what follows them.
pub(super) fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    let mut byte = [0];
    base16ct::mixed::decode(digits, &mut byte).ok()?;
    let [byte] = byte;
    Some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(form: &str) -> Vec<(String, String)> {
        let text = |bytes: Cow<'_, [u8]>| String::from_utf8(bytes.into_owned()).unwrap();
        pairs(form.as_bytes()).map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn names_and_values_are_decoded() {
        let expected = [("a b", "+1=2"), ("c", ""), ("", "d"), ("e", ""), ("%", "%4"), ("f", "%zz")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields("a+b=%2B1=2&&c=&=d&e&%=%4&f=%zz&"), expected);
    }

    #[test]
    fn a_field_that_is_there_twice_is_told_as_such() {
        let found = |form: &'static str| match find(form.as_bytes(), "a") {
            Found::Nothing => vec![],
            Found::Once(value) => vec![value.unwrap()],
            Found::Repeated { first, last } => vec![first.unwrap(), last.unwrap()],
        };
        assert!(found("b=1&A=2").is_empty());
        assert_eq!(found("b=1&a=2"), [b"2".as_slice()]);
        assert_eq!(found("a=1&a=2&%61=3"), [b"1".as_slice(), b"3"]);
    }

    #[test]
    fn what_is_added_is_found() {
        let form = with(b"a=1", "s|g", b"p|\0+ =&\xff");
        assert!(matches!(find(&form, "s|g"), Found::Once(Some(value)) if *value == *b"p|\0+ =&\xff"));
        assert_eq!(with(b"", "a", b"b"), b"a=b");
    }
}
