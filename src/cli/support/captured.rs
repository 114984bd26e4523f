//! Reads a captured request from a file, so that it can be sent again.
//!
//! These are tolerated, each with a note: header lines that end in LF alone, a body without `Content-Length`, a body that
//! is no longer chunked although its head says so, bytes after the body. A file that ends before its body is reported.

use http::request::Parts;

use super::loopback::Request;

/// The most header lines that are read.
const MAX_HEADERS: usize = 256;

/// The content of a file.
pub struct Captured {
    pub request: Request,
    /// The head, unless it is not HTTP.
    pub parts: Option<Parts>,
    /// What was tolerated, for the user to read.
    pub notes: Vec<String>,
    /// Which part of the body is missing, if the file ends too early.
    pub cut_short: Option<String>,
}

/// How the head delimits the body (RFC 9112 section 6).
enum Framing {
    Length(usize),
    Chunked,
    Nothing,
    /// Ambiguous or invalid: the gateway refuses it.
    Odd,
}

/// Reads a captured request.
///
/// # Errors
/// Why the file is not an HTTP/1.1 request.
pub fn read(file: &[u8]) -> Result<Captured, &'static str> {
    let (mut lines, rest, bare) = split_head(file);
    let first = lines.first().map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default();
    if first.split(' ').count() != 3 || !first.contains(" HTTP/") {
        return Err("is not an HTTP/1.1 request: its first line must look like POST /path HTTP/1.1");
    }
    let (mut notes, mut cut_short) = (Vec::new(), None);
    if bare {
        notes.push("the header lines end in LF alone; they were read as CRLF, which the gateway requires".to_owned());
    }
    let body = match framing(&lines) {
        Framing::Odd => rest.to_vec(),
        Framing::Length(length) => {
            if let Some(missing) = length.checked_sub(rest.len()).filter(|missing| *missing > 0) {
                let came = rest.len();
                cut_short = Some(format!("Content-Length is {length}, and {came} bytes follow: {missing} are missing"));
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
                    notes.push("the body is not in chunks, although its head says so; it was read as it is".to_owned());
                    rest.to_vec()
                }
            };
            lines.retain(|line| !is(line, "transfer-encoding"));
            lines.push(content_length(&body));
            body
        }
        Framing::Nothing => {
            if !rest.is_empty() {
                notes.push("the head has no Content-Length; everything after it was read as the body".to_owned());
                lines.push(content_length(rest));
            }
            rest.to_vec()
        }
    };
    let head: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect();
    let parts = parts(&head);
    Ok(Captured { request: Request { head, body }, parts, notes, cut_short })
}

/// Splits a file into the lines of the head, without line ends, and the rest; also says whether a line ends in LF alone.
fn split_head(file: &[u8]) -> (Vec<Vec<u8>>, &[u8], bool) {
    let (mut lines, mut rest, mut bare) = (Vec::new(), file, false);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        rest = behind;
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        bare |= end.is_some() && !text.ends_with(b"\r");
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match (text.is_empty(), lines.is_empty()) {
            (true, true) => {}
            (true, false) => break,
            (false, _) => lines.push(text.to_vec()),
        }
    }
    (lines, rest, bare)
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

fn value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
}

fn is(line: &[u8], name: &str) -> bool {
    value(line, name).is_some()
}

fn content_length(body: &[u8]) -> Vec<u8> {
    format!("Content-Length: {}", body.len()).into_bytes()
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

    fn captured(file: &str) -> Captured {
        read(file.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_is_taken_as_it_is() {
        let captured = captured("POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\na\r\nb");
        assert_eq!(captured.request.head, b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n");
        assert_eq!(captured.request.body, b"a\r\nb");
        assert!(captured.notes.is_empty() && captured.cut_short.is_none());
        let parts = captured.parts.unwrap();
        assert_eq!((parts.uri.path(), parts.uri.query(), parts.headers.len()), ("/a", Some("b=1"), 2));
    }

    #[test]
    fn what_is_tolerated_is_told() {
        for (file, body, note) in [
            ("POST / HTTP/1.1\nContent-Length: 1\n\na", "a", "LF alone"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na\n", "a", "1 bytes follow the body"),
            ("POST / HTTP/1.1\r\n\r\na", "a", "no Content-Length"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}", "{}", "not in chunks"),
        ] {
            let captured = captured(file);
            assert_eq!(captured.request.body, body.as_bytes());
            assert!(captured.notes.len() == 1 && captured.notes[0].contains(note), "{:?}", captured.notes);
            assert!(String::from_utf8_lossy(&captured.request.head).contains("Content-Length: "));
        }
    }

    #[test]
    fn chunks_are_put_together() {
        let chunked = "\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let whole = captured(&format!("{chunked}3;x=y\r\na\nb\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"));
        assert_eq!(whole.request.body, b"a\nb0123456789");
        assert!(whole.notes.is_empty() && whole.cut_short.is_none());
        assert_eq!(whole.request.head, b"POST / HTTP/1.1\r\nContent-Length: 13\r\n");
        for cut in ["3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n5"] {
            assert!(captured(&format!("{chunked}{cut}")).cut_short.is_some(), "{cut}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_told_as_such() {
        let captured = captured("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
        assert_eq!(captured.cut_short.as_deref(), Some("Content-Length is 5, and 3 bytes follow: 2 are missing"));
        assert_eq!(captured.request.body, b"abc");
    }

    #[test]
    fn what_is_framed_in_two_ways_is_left_to_the_gateway() {
        for framing in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Content-Length: x",
        ] {
            let captured = captured(&format!("POST / HTTP/1.1\r\n{framing}\r\n\r\na"));
            assert_eq!(captured.request.head, format!("POST / HTTP/1.1\r\n{framing}\r\n").as_bytes());
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for file in ["", "\r\n\r\n", "{}", "POST /\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(read(file.as_bytes()).is_err(), "{file}");
        }
    }
}
