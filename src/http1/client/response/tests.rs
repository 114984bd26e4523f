use super::*;

fn parsed(head: &str) -> Result<Option<ParsedResponse>, ResponseError> {
    parse(head.as_bytes(), &Method::POST)
}

fn received(head: &str) -> ParsedResponse {
    parsed(head).unwrap().unwrap()
}

/// The field lines that remain of a head with these.
fn remaining(lines: &str) -> Vec<String> {
    let received = received(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    received.response.headers().iter().map(line).collect()
}

#[test]
fn a_head_is_parsed_once_it_is_complete() {
    let head = "HTTP/1.1 201 Created\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n";
    for cut in 0..head.len() {
        assert!(parsed(&head[..cut]).unwrap().is_none(), "{cut}");
    }
    let ParsedResponse { response, body_length, is_persistent, length } = received(&format!("{head}ok"));
    assert_eq!((response.status().as_u16(), body_length, is_persistent), (201, BodyLength::Length(2), true));
    assert_eq!(length, head.len());
    assert_eq!(response.headers()["x-one"], "1");
}

#[test]
fn fields_for_the_connection_are_removed() {
    let lines = "Connection: close, x-one\r\nconnection: X-Two,, ;bad;\r\nX-One: 1\r\nx-two: 2\r\nX-Two: 3\r\nx-three: 3\r\n\
        TE: trailers\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: x\r\nContent-Length: 0\r\n";
    assert_eq!(remaining(lines), ["x-three: 3", "content-length: 0"]);
    assert_eq!(remaining("Connection: content-length\r\nContent-Length: 3\r\n"), ["content-length: 3"]);
}

#[test]
fn an_unusual_reason_phrase_is_kept() {
    let reason = |line: &str| received(&format!("HTTP/1.1 {line}\r\n\r\n")).response.extensions().get().cloned();
    assert_eq!(reason("200 Fine").map(|reason: ReasonPhrase| reason.as_bytes().to_vec()), Some(b"Fine".to_vec()));
    assert_eq!(reason("200 OK"), None);
}

#[test]
fn the_end_of_a_body_is_where_rfc_9112_has_it() {
    let body_length = |status: &str, lines: &str, method| {
        parse(format!("HTTP/1.1 {status}\r\n{lines}\r\n").as_bytes(), &method).unwrap().unwrap().body_length
    };
    let chunked = BodyLength::Chunked(ChunkedDecoder::START);
    for (status, lines, expected) in [
        ("200 OK", "", BodyLength::Close),
        ("200 OK", "Content-Length: 12\r\n", BodyLength::Length(12)),
        ("200 OK", "Content-Length: 012\r\nContent-Length: 012\r\n", BodyLength::Length(12)),
        ("200 OK", "Transfer-Encoding: Chunked\r\n", chunked),
        ("200 OK", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked),
        ("200 OK", "Transfer-Encoding: gzip, chunked\r\n", chunked),
        ("200 OK", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", chunked),
        ("200 OK", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", BodyLength::Close),
        ("204 No Content", "Content-Length: 5\r\n", BodyLength::Length(0)),
        ("304 Not Modified", "Content-Length: 5\r\n", BodyLength::Length(0)),
        ("100 Continue", "", BodyLength::Length(0)),
        ("103 Early Hints", "Transfer-Encoding: chunked\r\n", BodyLength::Length(0)),
    ] {
        assert_eq!(body_length(status, lines, Method::POST), expected, "{status} {lines}");
        assert_eq!(body_length(status, lines, Method::HEAD), BodyLength::Length(0), "{status} {lines}");
    }
    assert_eq!(remaining("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), [""; 0]);
    assert_eq!(remaining("Content-Length: 5\r\nContent-Length: 5\r\n"), ["content-length: 5"]);
}

#[test]
fn a_connection_persists_only_if_both_ends_must_agree_on_it() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive, Close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n", false),
    ] {
        assert_eq!(received(head).is_persistent, expected, "{head}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: \r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: \u{e9}, chunked\r\n",
    ] {
        let result = parsed(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
        assert_eq!(result.err(), Some(ResponseError::Framing), "{lines}");
    }
    for head in [
        "ICY 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        "\x16\x03\x01\x02",
    ] {
        assert!(matches!(parsed(head), Err(ResponseError::Syntax(_))), "{head}");
    }
    assert!(matches!(parsed("HTTP/1.1 099 Early\r\n\r\n"), Err(ResponseError::Syntax(_))));
}

#[test]
fn a_head_has_its_bounds() {
    let lines = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(parsed(&lines(MAX_LINES)).unwrap().is_some());
    assert_eq!(parsed(&lines(MAX_LINES + 1)).err(), Some(ResponseError::TooLarge));
    let long = |bytes| format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(bytes));
    assert!(parsed(&long(MAX_HEAD_BYTES - 24)).unwrap().is_some());
    assert_eq!(parsed(&long(MAX_HEAD_BYTES)).err(), Some(ResponseError::TooLarge));
    assert_eq!(parsed(&long(MAX_HEAD_BYTES)[..MAX_HEAD_BYTES + 1]).err(), Some(ResponseError::TooLarge));
}
