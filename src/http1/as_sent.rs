//! The field lines of a request as its sender wrote them.
//!
//! For HTTP a field name has no case (RFC 9110 section 5.1), and [`HeaderMap`] has it in lower case. Some handlers look for the
//! spelling that the provider documents, so a name is handed on as it came. HTTP/2 has lower case only.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http1::head;

/// The head of a request, as bytes. The values of the parsed field lines are slices of it, so the name of a line is found where
/// its value stands, and nothing has to be kept for each line.
#[derive(Clone, Default)]
pub struct SentHead(Bytes);

impl SentHead {
    /// The head with these bytes.
    pub fn new(head: Bytes) -> Self {
        Self(head)
    }

    /// A head of these field lines, and the lines as they are looked up; `None` if a name or a value is not one of HTTP.
    pub fn of_lines<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Option<(Self, HeaderMap)> {
        let bytes = lines.clone().flat_map(|(name, value)| [name, b": ", value, b"\r\n"]).collect::<Vec<_>>().concat();
        let (sent, mut headers, mut at) = (Self(bytes.into()), HeaderMap::new(), 0);
        for (name, value) in lines {
            let begin = at + name.len() + 2;
            at = begin + value.len() + 2;
            let value = HeaderValue::from_maybe_shared(sent.0.slice(begin..begin + value.len())).ok()?;
            headers.append(HeaderName::from_bytes(name).ok()?, value);
        }
        Some((sent, headers))
    }

    /// Appends the field line of `name` and `value`, with the name as the sender wrote it.
    pub fn write_line(&self, bytes: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
        match self.usual_line(name, value) {
            Some(line) => bytes.extend_from_slice(line),
            None => head::line(bytes, self.unusual_name(name, value), value),
        }
    }

    /// The name of the line with this value, as the sender wrote it; in lower case if that is not known.
    pub fn name<'a>(&'a self, name: &'a HeaderName, value: &HeaderValue) -> &'a [u8] {
        let usual = self.usual_line(name, value).and_then(|line| line.get(..name.as_str().len()));
        usual.unwrap_or_else(|| self.unusual_name(name, value))
    }

    /// The same of a line that does not stand in the head as usual: looked for from the beginning.
    fn unusual_name<'a>(&'a self, name: &'a HeaderName, value: &HeaderValue) -> &'a [u8] {
        let name = name.as_str().as_bytes();
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', &self.0) {
            let line = self.0.get(begin..end).unwrap_or_default();
            begin = end + 1;
            if let Some((spelt, rest)) = line.split_at_checked(name.len())
                && spelt.eq_ignore_ascii_case(name)
                && rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii() == value.as_bytes())
            {
                return spelt;
            }
        }
        name
    }

    /// The whole line, if it stands in the head as the gateway writes lines: one blank before the value, none behind it. A line
    /// that begins as far before the value as the name is long has this name. Names are not compared: that would cost more than
    /// all else.
    fn usual_line(&self, name: &HeaderName, value: &HeaderValue) -> Option<&[u8]> {
        let (name, value) = (name.as_str(), value.as_bytes());
        // An empty value, and one that is not of this head, stand elsewhere in memory.
        let at = value.as_ptr().addr().checked_sub(self.0.as_ptr().addr())?;
        // With the end of the line before.
        let begin = at.checked_sub(name.len() + 3)?;
        let line = self.0.get(begin..at + value.len() + 2)?.strip_prefix(b"\n")?;
        let (before, _) = line.split_at_checked(name.len() + 2)?;
        let is_usual = before.ends_with(b": ") && line.ends_with(b"\r\n");
        debug_assert!(!is_usual || before.split_at(name.len()).0.eq_ignore_ascii_case(name.as_bytes()), "{name}");
        is_usual.then_some(line)
    }
}

/// Without the bytes: there may be secrets in them.
impl fmt::Debug for SentHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SentHead({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http1::server::request::HeadScanner;

    /// The lines as they are handed on.
    fn handed_on(sent: &SentHead, headers: &HeaderMap) -> String {
        let mut bytes = Vec::new();
        for (name, value) in headers {
            sent.write_line(&mut bytes, name, value);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_are_handed_on_as_they_came() {
        let head = "POST /in HTTP/1.1\r\nHost: a\r\nX-Civo-Signature: 1\r\nX-EMPTY:\r\nx-Tight:2\r\nX-Wide: \t 3 \r\n\
                    TWICE: a\r\ntwice: b\r\nTwice: a\r\n\r\n";
        // A head that is alone in the buffer is copied.
        for more in ["", "POST / HTTP/1.1\r\n"] {
            let mut buffer = BytesMut::from([head, more].concat().as_str());
            let parsed = HeadScanner::default().take(&mut buffer, 1 << 16).unwrap().unwrap();
            assert_eq!(
                handed_on(&parsed.sent, parsed.request.headers()),
                "Host: a\r\nX-Civo-Signature: 1\r\nX-EMPTY: \r\nx-Tight: 2\r\nX-Wide: 3\r\n\
                 TWICE: a\r\ntwice: b\r\nTwice: a\r\n"
            );
        }
    }

    #[test]
    fn lines_that_were_kept_are_as_they_came() {
        let lines: [(&[u8], &[u8]); 4] = [(b"X-A", b"1"), (b"x-a", b" 2 "), (b"X-B", b""), (b"X-C", b"\xff")];
        let (sent, headers) = SentHead::of_lines(lines.into_iter()).unwrap();
        let names: Vec<_> = headers.iter().map(|(name, value)| sent.name(name, value)).collect();
        assert_eq!(names, [&b"X-A"[..], b"x-a", b"X-B", b"X-C"]);
        assert!(SentHead::of_lines([(&b"X A"[..], &b""[..])].into_iter()).is_none());
        assert!(SentHead::of_lines([(&b"X-A"[..], &b"a\r\nb: c"[..])].into_iter()).is_none());
    }

    #[test]
    fn a_value_of_elsewhere_has_its_name_in_lower_case() {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_static("1"))]);
        for head in [&b""[..], b"X-B: 2\r\n", b"X-A: 12\r\n", b"XX-A: 1\r\n"] {
            assert_eq!(handed_on(&SentHead::new(Bytes::from_static(head)), &headers), "x-a: 1\r\n");
        }
    }
}
