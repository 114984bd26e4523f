use proptest::prelude::*;

use super::*;

/// How many requests the bytes have when they arrive in pieces of `size`, and whether the last of them is complete. An invalid
/// body counts as an invalid head.
fn requests(bytes: &[u8], size: usize) -> Result<(usize, bool), HeadError> {
    requests_up_to(bytes, size, 4096)
}

/// The same with heads of at most `max` bytes.
fn requests_up_to(bytes: &[u8], size: usize, max: usize) -> Result<(usize, bool), HeadError> {
    let (mut scanner, mut buffer, mut body_length, mut requests) = (HeadScanner::default(), BytesMut::new(), None, 0);
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            let (taken, next) = match body_length {
                None => match scanner.take(&mut buffer, max)? {
                    Some(received) => (0, Some(received.body_length)),
                    None => break,
                },
                Some(BodyLength::Length(left)) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    (taken, Some(BodyLength::Length(left - taken as u64)))
                }
                Some(BodyLength::Chunked(chunks)) => {
                    let (taken, next) = chunks.take(&buffer).ok_or(HeadError::Bad)?;
                    (taken, Some(next.map_or(BodyLength::Length(0), BodyLength::Chunked)))
                }
                Some(BodyLength::Close) => unreachable!("no request ends with its connection"),
            };
            requests += usize::from(body_length.is_none());
            let _ = buffer.split_to(taken);
            body_length = next.filter(|body_length| *body_length != BodyLength::Length(0));
        }
    }
    let is_whole = body_length.is_none() && is_before_head(&buffer);
    Ok((requests + usize::from(body_length.is_none() && !is_whole), is_whole))
}

#[track_caller]
fn whole(bytes: &[u8], expected: usize) {
    for size in [1, 2, 3, 7, bytes.len()] {
        assert_eq!(requests(bytes, size), Ok((expected, true)), "in pieces of {size}");
    }
}

#[track_caller]
fn refused(bytes: &[u8], expected: HeadError) {
    for size in [1, 2, 3, 7, bytes.len()] {
        assert_eq!(requests(bytes, size), Err(expected), "in pieces of {size}");
    }
}

#[test]
fn a_cr_before_the_request_line_is_no_empty_line() {
    refused(b"\rPOST / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Bad);
    refused(b"\r\n\r\rPOST / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Bad);
    whole(b"\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
}

#[test]
fn requests_end_where_their_framing_says() {
    whole(b"GET / HTTP/1.1\r\n\r\n", 1);
    whole(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2);
    whole(b"POST / HTTP/1.1\r\ncontent-LENGTH:\t 3 \r\n\r\nabcPOST / HTTP/1.1\r\nContent-Length:0\r\n\r\n", 2);
    whole(b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2);
    let extended = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0A;a=\"b\" ;c\r\n\r\n\r\n345678\r\n1 ;x\r\nz\r\n000\r\nA: b\r\nC: d\r\n\r\n";
    whole(extended, 1);
    assert_eq!(requests(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", 100), Ok((1, false)));
}

#[test]
fn a_head_has_one_framing() {
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length: 3 3",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:",
    ] {
        refused(format!("POST / HTTP/1.1\r\n{lines}\r\n\r\nabc").as_bytes(), HeadError::Bad);
    }
}

#[test]
fn lines_end_in_cr_and_lf() {
    refused(b"GET / HTTP/1.1\n\n", HeadError::Bad);
    refused(b"GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::Bad);
    refused(b"\nGET / HTTP/1.1\r\n\r\n", HeadError::Bad);
}

#[test]
fn a_target_is_visible_ascii_without_a_fragment() {
    for target in ["/a#b", "#", "/\u{e9}", "/a\x7f", "/a\tb", "/a\x00"] {
        refused(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes(), HeadError::Bad);
    }
    whole(b"GET /%2e%2e//;a?b=[c]&d={e}|\\ HTTP/1.1\r\n\r\n", 1);
}

#[test]
fn a_head_has_as_many_lines_and_bytes_as_it_may_and_not_one_more() {
    let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    whole(lines(100).as_bytes(), 1);
    refused(lines(101).as_bytes(), HeadError::HeaderTooLarge);
    let bytes = |count: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(count - 23));
    assert_eq!(bytes(4096).len(), 4096);
    whole(bytes(4096).as_bytes(), 1);
    refused(bytes(4097).as_bytes(), HeadError::HeaderTooLarge);
    let endless = b"\r\n".repeat(2500);
    refused(&endless, HeadError::HeaderTooLarge);
}

#[test]
fn a_request_line_has_at_most_8192_bytes() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1", "x".repeat(bytes - 14));
    for (bytes, expected) in [(8191, Ok((1, true))), (8192, Ok((1, true))), (8193, Err(HeadError::UriTooLong))] {
        assert_eq!(line(bytes).len(), bytes);
        let head = format!("{}\r\nHost: a\r\n\r\n", line(bytes));
        for size in [1, 7, 8192, 8193, head.len()] {
            assert_eq!(requests_up_to(head.as_bytes(), size, 64 << 10), expected, "{bytes} in pieces of {size}");
        }
    }
    let endless = line(8193) + &"x".repeat(5);
    assert_eq!(requests_up_to(endless.as_bytes(), 1000, 64 << 10), Err(HeadError::UriTooLong), "without its end");
}

#[test]
fn of_several_faults_the_first_counts_in_whatever_pieces_they_arrive() {
    let long = "x".repeat(9000);
    let lines = "a: b\r\n".repeat(101);
    for (head, expected) in [
        (format!("GET /\x01{long} HTTP/1.1\r\n\r\n"), HeadError::Bad),
        (format!("GET /{long}\x01 HTTP/1.1\r\n\r\n"), HeadError::UriTooLong),
        (format!("GET /{long} HTTP/1.1\n\n"), HeadError::UriTooLong),
        (format!(" GET /{long} HTTP/1.1\r\n\r\n"), HeadError::UriTooLong),
        (format!("GET /{long} HTTP/1.1\r\nbad\r\n{lines}\r\n"), HeadError::UriTooLong),
        (format!("GET /\u{e9} HTTP/1.1\r\n{lines}\r\n"), HeadError::Bad),
        (format!("GET / HTTP/1.2\r\n{lines}\r\n"), HeadError::Bad),
        (format!("GET / HTTP/1.1\r\nbad\r\n{lines}\r\n"), HeadError::Bad),
        (format!("GET / HTTP/1.1\r\n{lines}bad\r\n\r\n"), HeadError::HeaderTooLarge),
        (format!("GET / HTTP/1.1\r\nbad\r\na: {long}{long}\r\n\r\n"), HeadError::Bad),
        (format!("GET / HTTP/1.1\r\na: {long}{long}\r\nbad\r\n\r\n"), HeadError::HeaderTooLarge),
        (format!("GET / HTTP/1.1\r\na: {long}{long}\n\n"), HeadError::HeaderTooLarge),
    ] {
        for size in [1, 7, 8192, head.len()] {
            let read = requests_up_to(head.as_bytes(), size, 10_000);
            assert_eq!(read, Err(expected), "{:?}… in pieces of {size}", &head[..20]);
        }
    }
}

#[test]
fn chunks_are_framed_strictly() {
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "\r\n",
        ";a\r\n",
        "g\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-1\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\n\n",
        "0\r\n\rX",
    ] {
        refused(format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes(), HeadError::Bad);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_pieces_make_no_difference(
        bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'3'), Just(b';'), any::<u8>()], 0..200),
        chunked: bool,
        size in 1usize..50,
    ) {
        let head: &[u8] = if chunked { b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"" };
        let bytes = [head, &bytes].concat();
        prop_assert_eq!(requests(&bytes, size), requests(&bytes, bytes.len().max(1)));
    }
}

#[test]
fn empty_lines_begin_no_request() {
    let (mut scanner, mut buffer) = (HeadScanner::default(), BytesMut::new());
    for piece in [&b"\r\n"[..], b"\r", b"\n"] {
        buffer.extend_from_slice(piece);
        assert!(scanner.take(&mut buffer, 1024).unwrap().is_none());
        assert!(is_before_head(&buffer), "{piece:?}");
    }
    buffer.extend_from_slice(b"G");
    assert!(scanner.take(&mut buffer, 1024).unwrap().is_none());
    assert!(!is_before_head(&buffer));
    buffer.extend_from_slice(b"ET / HTTP/1.1\r\n\r\nnext");
    assert!(scanner.take(&mut buffer, 1024).unwrap().is_some());
    assert!(!is_before_head(&buffer));
    assert_eq!(buffer, "next");
}

fn received(bytes: &'static str) -> ParsedRequest {
    HeadScanner::default().take(&mut BytesMut::from(bytes), 4096).unwrap().unwrap()
}

#[test]
fn a_head_is_read_as_it_stands() {
    let ParsedRequest { request, body_length, .. } = received(
        "PUT http://a.example/%2e/x?y HTTP/1.1\r\nHost: a\r\nX-A:  1\t\r\nx-a:\r\nX-B: \u{e9}\r\nContent-Length: 7\r\n\r\n",
    );
    assert_eq!((request.method(), request.version()), (&Method::PUT, Version::HTTP_11));
    assert_eq!(request.uri(), "http://a.example/%2e/x?y");
    assert_eq!(body_length, BodyLength::Length(7));
    let lines: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected: [(&str, &[u8]); 5] =
        [("host", b"a"), ("x-a", b"1"), ("x-a", b""), ("x-b", "\u{e9}".as_bytes()), ("content-length", b"7")];
    assert_eq!(lines, expected);
}

#[test]
fn a_sender_says_whether_its_connection_goes_on() {
    for (head, expected) in [
        ("POST / HTTP/1.1\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", false),
        ("POST / HTTP/1.0\r\n\r\n", false),
        ("POST / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("POST / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
    ] {
        assert_eq!(received(head).is_persistent, expected, "{head:?}");
    }
}

#[test]
fn a_sender_that_waits_for_leave_says_so_by_http_1_1() {
    for (head, expected) in [
        ("POST / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nExpect: more\r\n\r\n", false),
        ("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false),
    ] {
        assert_eq!(received(head).expects_continue, expected, "{head:?}");
    }
}

#[test]
fn what_is_no_http_is_refused_before_its_line_ends() {
    for bytes in [&b"\x16\x03\x01\x02"[..], b"{\"a\":", b"POST /\x00", b"\rG"] {
        let taken = HeadScanner::default().take(&mut BytesMut::from(bytes), 4096);
        assert!(matches!(taken, Err(HeadError::Bad)), "{bytes:?}");
    }
}

#[test]
fn chunks_are_of_http_1_1() {
    refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::Bad);
}
