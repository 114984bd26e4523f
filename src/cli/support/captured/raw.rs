//! Raw HTTP: the request as it came. Also a head in the words of HTTP/2, and headers without a request line, as pages of
//! providers and browsers show them.
//!
//! These are tolerated, each with a note: header lines that end in LF alone, a body without `Content-Length`, a body that
//! is no longer chunked although its head says so, bytes after the body. A file that ends before its body is reported.

use http::HeaderName;

use super::Context;
use super::draft::{Draft, is, request_line, split_url};

/// What pages call the URL and the method above the headers: GitHub's recent deliveries and the browsers' network panels.
const SHOWN: [&str; 2] = ["request url", "request method"];

/// Reads a request.
///
/// # Errors
/// Why the file is not a request.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let (mut lines, rest, bare) = split_head(file);
    let mut notes = Vec::new();
    if bare {
        notes.push("the header lines end in LF alone; they were read as CRLF, which the gateway requires".to_owned());
    }
    // HTTP/2 and the pages of providers have the host elsewhere, or nowhere.
    let mut lacks_host = true;
    if let Some(line) = lines.first_mut().filter(|line| is_request_line(line)) {
        match as_http1(line) {
            Some(read) => {
                *line = read;
                notes.push("the request line was read as that of HTTP/1.1, which means the same".to_owned());
            }
            None => lacks_host = false,
        }
    } else if lines.first().is_some_and(|line| is_header_line(line)) {
        notes.push(add_request_line(&mut lines, context));
    } else {
        return Err("is not an HTTP request: its first line must look like POST /path HTTP/1.1".to_owned());
    }
    let mut draft = Draft::framed(lines, rest);
    if lacks_host {
        draft.host_or(context.host);
    }
    draft.notes.splice(..0, notes);
    Ok(draft)
}

/// Whether a line looks like `POST /path HTTP/1.1`.
pub fn is_request_line(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').take(4).collect();
    matches!(words.as_slice(), [method, _, version] if !method.is_empty() && version.starts_with(b"HTTP/"))
}

/// Whether a line looks like `Name: value`, also of HTTP/2's names with a colon before them.
pub fn is_header_line(line: &[u8]) -> bool {
    let named =
        |name: &[u8]| HeaderName::from_bytes(name).is_ok() || SHOWN.iter().any(|shown| shown.as_bytes() == name);
    let line = line.strip_prefix(b":").unwrap_or(line).to_ascii_lowercase();
    line.iter().position(|byte| *byte == b':').and_then(|end| line.get(..end)).is_some_and(named)
}

/// A request line of HTTP/2 or HTTP/3 in the words of HTTP/1.1; `None` for others.
fn as_http1(line: &[u8]) -> Option<Vec<u8>> {
    let versions: [&[u8]; 4] = [b" HTTP/2", b" HTTP/2.0", b" HTTP/3", b" HTTP/3.0"];
    let before = versions.iter().find_map(|version| line.strip_suffix(*version))?;
    Some([before, b" HTTP/1.1"].concat())
}

/// Makes a request line of the names with a colon, of what pages show, or of what the route takes. Says what was done.
fn add_request_line(lines: &mut Vec<Vec<u8>>, context: &Context<'_>) -> String {
    let (mut method, mut target, mut host) = (None, None, None);
    lines.retain(|line| {
        let line = String::from_utf8_lossy(line);
        let (colon, rest) = line.strip_prefix(':').map_or(("", &*line), |rest| (":", rest));
        let Some((name, value)) = rest.split_once(':') else { return true };
        let value = value.trim().to_owned();
        match (colon, name.to_ascii_lowercase().as_str()) {
            (":", "method") | ("", "request method") => method = Some(value),
            (":", "path") => target = Some(value),
            (":", "authority") => host = Some(value),
            (":", _) => {}
            ("", "request url") => {
                let (authority, path) = split_url(&value);
                (host, target) = (Some(authority.to_owned()), Some(path));
            }
            _ => return true,
        }
        false
    });
    let known = method.is_some() && target.is_some();
    let line = request_line(
        method.as_deref().unwrap_or(context.method),
        target.as_deref().filter(|target| !target.is_empty()).unwrap_or(context.path),
    );
    lines.insert(0, line);
    if let Some(host) = host.filter(|host| !host.is_empty())
        && !lines.iter().any(|line| is(line, "host"))
    {
        lines.insert(1, format!("Host: {}", host.replace(['\r', '\n'], " ")).into_bytes());
    }
    match known {
        true => "the request line was made of the method and the URL that stand among the headers".to_owned(),
        false => "the request line is missing: method and path were taken from the route".to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use crate::cli::support::captured::Captured;
    use crate::cli::support::captured::tests::read;

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
