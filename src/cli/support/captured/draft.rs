//! A request between its file and [`Captured`]: its head in lines, its body, and how the two fit together.

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::{Captured, Context, Format, Lost};
use crate::cli::support::loopback::Request;

/// The most header lines that are read.
const MAX_HEADERS: usize = 256;

/// What a target of a URL has to have escaped.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// A request as a file gives it.
#[derive(Debug, Default)]
pub struct Draft {
    /// The request line and the header lines, without line ends.
    pub lines: Vec<Vec<u8>>,
    /// The body.
    pub body: Vec<u8>,
    /// What was tolerated or added.
    pub notes: Vec<String>,
    /// Which part of the body is missing at the end of the file.
    pub cut_short: Option<String>,
    /// What the format does not keep of the body.
    pub lost: Option<Lost>,
}

/// How the head delimits the body (RFC 9112 section 6).
enum Framing {
    Length(usize),
    Chunked,
    Nothing,
    /// Ambiguous or invalid: the gateway refuses it.
    Odd,
}

impl Draft {
    /// A request whose body is what follows the head, as the head delimits it.
    pub fn framed(mut lines: Vec<Vec<u8>>, rest: &[u8]) -> Self {
        let (mut notes, mut cut_short) = (Vec::new(), None);
        let body = match framing(&lines) {
            Framing::Odd => rest.to_vec(),
            Framing::Length(length) => {
                if let Some(missing) = length.checked_sub(rest.len()).filter(|missing| *missing > 0) {
                    let came = rest.len();
                    cut_short =
                        Some(format!("Content-Length is {length}, and {came} bytes follow: {missing} are missing"));
                } else if rest.len() > length {
                    let extra = rest.len() - length;
                    let words = "bytes follow the body and were ignored (Content-Length is";
                    notes.push(format!("{extra} {words} {length}): perhaps an editor has added them"));
                }
                rest.get(..length).unwrap_or(rest).to_vec()
            }
            Framing::Chunked => {
                let body = match dechunk(rest) {
                    Some((body, true)) => body,
                    Some((body, false)) => {
                        cut_short = Some("the last chunk is missing".to_owned());
                        body
                    }
                    None => {
                        let note = "the body is not in chunks, although its head says so; it was read as it is";
                        notes.push(note.to_owned());
                        rest.to_vec()
                    }
                };
                set_length(&mut lines, body.len());
                body
            }
            Framing::Nothing => {
                if !rest.is_empty() {
                    let note = "the head has no Content-Length; everything after it was read as the body";
                    notes.push(note.to_owned());
                    set_length(&mut lines, rest.len());
                }
                rest.to_vec()
            }
        };
        Self { lines, body, notes, cut_short, lost: None }
    }

    /// A request that a format describes by its parts. The names that HTTP/2 begins with a colon are left out; the head
    /// announces the body's length.
    pub fn described<'a>(
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Vec<u8>,
    ) -> Self {
        let mut draft = Self { lines: vec![request_line(method, target)], body, ..Self::default() };
        let mut odd = 0;
        for (name, value) in headers {
            if name.starts_with(':') {
                continue;
            }
            let line = [name, ": ", value].concat().into_bytes();
            match HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_bytes(value.as_bytes()).is_ok() {
                true => draft.lines.push(line),
                false => odd += 1,
            }
        }
        if odd > 0 {
            draft.notes.push(format!("{odd} headers of the file are not HTTP and were left out"));
        }
        draft
    }

    /// Compares the body, which the format keeps as text, with the length that was announced. `length` is what the format
    /// itself says, in bytes.
    pub fn compare_length(&mut self, length: Option<u64>) {
        let announced = match framing(&self.lines) {
            Framing::Length(length) => Some(length as u64),
            _ => length,
        };
        let has = self.body.len() as u64;
        let lost = match announced {
            Some(0) | None if has == 0 => return,
            Some(announced) if announced > 0 && has == 0 => {
                self.lost = Some(Lost::Body(format!("the body of {announced} bytes is not in the file")));
                return;
            }
            Some(announced) if announced != has => {
                format!(
                    "the request announced {announced} bytes, and the file has {has}: they are not the bytes that came"
                )
            }
            Some(_) if String::from_utf8_lossy(&self.body).contains(char::REPLACEMENT_CHARACTER) => {
                "the file has the body as text, in which some bytes were replaced".to_owned()
            }
            Some(_) => return,
            None => "the file has the body as text, and no length to compare it with".to_owned(),
        };
        self.lost.get_or_insert(Lost::Bytes(lost));
    }

    /// Makes the host that of the route, if it has one: the file's own is that of the service which has recorded the request.
    pub fn set_host(&mut self, host: Option<&str>) {
        match host {
            Some(host) => self.put_host(host),
            None => self.host_or(None),
        }
    }

    fn put_host(&mut self, host: &str) {
        if self.lines.is_empty() {
            return;
        }
        let request_line = self.lines.remove(0);
        self.lines.retain(|line| !is(line, "host"));
        self.lines.splice(0..0, [request_line, format!("Host: {host}").into_bytes()]);
    }

    /// Adds a host if there is none, which the gateway would refuse.
    pub fn host_or(&mut self, host: Option<&str>) {
        if !self.lines.iter().skip(1).any(|line| is(line, "host")) {
            self.put_host(host.unwrap_or("localhost"));
        }
    }

    /// The request, with the body from a file of its own if there is one.
    pub(super) fn captured(mut self, format: Format, context: &Context<'_>) -> Result<Captured, String> {
        if let Some(body) = &context.body {
            if !self.body.is_empty() {
                return Err("has a body already: leave out --body".to_owned());
            }
            let notes = std::mem::take(&mut self.notes);
            self = Self::framed(self.lines, body);
            self.notes.splice(..0, notes);
        } else if format != Format::RawHttp && self.cut_short.is_none() && !matches!(framing(&self.lines), Framing::Odd)
        {
            let announced = self.lines.iter().any(|line| is(line, "content-length") || is(line, "transfer-encoding"));
            if announced || !self.body.is_empty() {
                set_length(&mut self.lines, self.body.len());
            }
        }
        if matches!(framing(&self.lines), Framing::Odd) {
            let note = "the head has Content-Length and Transfer-Encoding, or one of them twice or in a form that is not \
                        known: where such a body ends cannot be said, and the gateway refuses it";
            self.notes.push(note.to_owned());
        }
        let head: Vec<u8> = self.lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect();
        let parts = parts(&head);
        let Self { body, notes, cut_short, lost, .. } = self;
        Ok(Captured { format, request: Request { head, body }, parts, notes, cut_short, lost })
    }
}

/// A request line. A method or target that cannot stand in one is left to the gateway, which refuses it, but a line end in
/// it makes no second line.
pub fn request_line(method: &str, target: &str) -> Vec<u8> {
    let line = format!("{method} {} HTTP/1.1", percent_encode(target.as_bytes(), UNSAFE));
    line.replace(['\r', '\n'], " ").into_bytes()
}

/// The host and the target of a URL; the host is empty in a URL without one.
pub fn split_url(url: &str) -> (&str, String) {
    let url = url.split('#').next().unwrap_or_default();
    let Some((_, rest)) = url.split_once("://") else { return split_at_path(url) };
    let (authority, target) = split_at_path(rest);
    (authority.rsplit('@').next().unwrap_or_default(), target)
}

fn split_at_path(rest: &str) -> (&str, String) {
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if target.starts_with('/') { "" } else { "/" };
    (authority, [slash, target].concat())
}

/// The path with the query of a URL.
pub fn with_query_of(path: &str, url: &str) -> String {
    match url.split('#').next().and_then(|url| url.split_once('?')) {
        Some((_, query)) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Whether a header line has this name.
pub fn is(line: &[u8], name: &str) -> bool {
    value(line, name).is_some()
}

/// The value of a header line of this name.
pub fn value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
}

fn set_length(lines: &mut Vec<Vec<u8>>, length: usize) {
    lines.retain(|line| !is(line, "transfer-encoding") && !is(line, "content-length"));
    lines.push(format!("Content-Length: {length}").into_bytes());
}

fn framing(lines: &[Vec<u8>]) -> Framing {
    let values = |name: &str| -> Vec<&[u8]> { lines.iter().filter_map(|line| value(line, name)).collect() };
    let length = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok();
    match (values("content-length").as_slice(), values("transfer-encoding").as_slice()) {
        ([], []) => Framing::Nothing,
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        ([text], []) => length(text).map_or(Framing::Odd, Framing::Length),
        _ => Framing::Odd,
    }
}

/// Decodes chunks (RFC 9112 section 7.1), and says whether the last chunk is present; `None` if these are not chunks.
fn dechunk(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if body.is_empty() { None } else { Some((body, false)) };
        };
        let (line, behind) = rest.split_at(end + 1);
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            return Some((body, true));
        }
        let Some((data, behind)) = behind.split_at_checked(size) else {
            body.extend_from_slice(behind);
            return Some((body, false));
        };
        body.extend_from_slice(data);
        rest = behind.strip_prefix(b"\r\n").or_else(|| behind.strip_prefix(b"\n")).unwrap_or(behind);
    }
}

fn parts(head: &[u8]) -> Option<Parts> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let whole = [head, b"\r\n"].concat();
    request.parse(&whole).ok().filter(httparse::Status::is_complete)?;
    let builder = http::Request::builder().method(request.method?).uri(request.path?);
    let builder = request.headers.iter().fold(builder, |builder, header| builder.header(header.name, header.value));
    builder.body(()).ok().map(|request| request.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_host_and_target() {
        for (url, host, target) in [
            ("https://u:p@hooks.example:8443/a/b?c=d#e", "hooks.example:8443", "/a/b?c=d"),
            ("http://hooks.example", "hooks.example", "/"),
            ("http://hooks.example?a=/", "hooks.example", "/?a=/"),
            ("hooks.example/a", "hooks.example", "/a"),
            ("/a?b", "", "/a?b"),
            ("", "", "/"),
        ] {
            assert_eq!(split_url(url), (host, target.to_owned()), "{url}");
        }
        assert_eq!(with_query_of("/hook", "https://a.example/x?y=%20#z"), "/hook?y=%20");
        assert_eq!(request_line("POST", "/a b\u{e9}\r\nX: y"), b"POST /a%20b%C3%A9%0D%0AX:%20y HTTP/1.1");
        assert_eq!(request_line("PO\r\nST", "/"), b"PO  ST / HTTP/1.1");
    }

    #[test]
    fn a_text_of_another_length_is_not_what_came() {
        let lost = |announced: &str, body: &str, own: Option<u64>| {
            let headers = if announced.is_empty() { vec![] } else { vec![("content-length", announced)] };
            let mut draft = Draft::described("POST", "/", headers, body.into());
            draft.compare_length(own);
            draft.lost
        };
        assert_eq!(lost("2", "{}", None), None);
        assert_eq!(lost("", "{}", Some(2)), None);
        assert_eq!(lost("", "", None), None);
        assert_eq!(lost("0", "", Some(7)), None);
        assert!(matches!(lost("3", "{}", Some(2)), Some(Lost::Bytes(why)) if why.contains("announced 3 bytes")));
        assert!(matches!(lost("", "{}", None), Some(Lost::Bytes(why)) if why.contains("no length")));
        assert!(matches!(lost("3", "\u{fffd}", None), Some(Lost::Bytes(why)) if why.contains("replaced")));
        assert!(matches!(lost("3", "", None), Some(Lost::Body(_))));
    }

    #[test]
    fn headers_that_are_not_http_are_left_out_and_told() {
        let headers = [(":method", "GET"), ("a", "b\r\nc: d"), ("x y", "z"), ("e", "f")];
        let draft = Draft::described("POST", "/", headers, Vec::new());
        assert_eq!(draft.lines, [&b"POST / HTTP/1.1"[..], b"e: f"]);
        assert_eq!(draft.notes, ["2 headers of the file are not HTTP and were left out"]);
    }
}
