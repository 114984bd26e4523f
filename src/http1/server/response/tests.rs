use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;

use http::HeaderValue;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;

use super::*;

const DATE: HttpDate = *b"Sun, 06 Nov 1994 08:49:37 GMT";

/// A body in pieces, with or without a known length, that may break off.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    length: Option<u64>,
    breaks: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match self.pieces.pop_front() {
            Some(piece) => Some(Ok(Frame::data(piece.into()))),
            None => self.breaks.then(|| Err("it broke".into())),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces(pieces: &[&str], length: Option<u64>) -> Pieces {
    Pieces { pieces: pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect(), length, breaks: false }
}

fn context(method: Method, version: Version) -> RequestContext {
    RequestContext { method, version, is_persistent: true }
}

/// Both ends of a connection.
async fn connected() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Socket::Plain(listener.accept().await.unwrap().0.into()), sender)
}

/// What goes out, how that ends, and whether the connection goes on.
async fn sent(response: Response<Pieces>, context: RequestContext) -> (String, io::Result<()>, bool) {
    let (mut socket, mut sender) = connected().await;
    let mut response_writer = ResponseWriter::new(response, &context, DATE);
    let result = poll_fn(|cx| response_writer.poll_write(cx, &mut socket)).await;
    drop(socket);
    let mut text = String::new();
    sender.read_to_string(&mut text).await.unwrap();
    assert_eq!(response_writer.written(), text.len() as u64);
    (text, result, response_writer.is_persistent())
}

#[tokio::test]
async fn a_body_is_framed_as_its_sender_can_read_it() {
    let (get, head) = (|version| context(Method::GET, version), |version| context(Method::HEAD, version));
    let (one, zero) = (Version::HTTP_11, Version::HTTP_10);
    let known = || pieces(&["a", "bc"], Some(3));
    let unknown = || pieces(&["a", "", "0123456789abcdef!"], None);
    let long = "x".repeat(SMALL + 1);
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    let chunks = "1\r\na\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n";
    for (status, body, context, expected) in [
        (200, known(), get(one), format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n{date}abc")),
        (200, unknown(), get(one), format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{date}{chunks}")),
        (
            500,
            Pieces::default(),
            get(one),
            format!("HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n{date}0\r\n\r\n"),
        ),
        (
            200,
            known(),
            get(zero),
            format!("HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n{date}abc"),
        ),
        (200, unknown(), get(zero), format!("HTTP/1.0 200 OK\r\nconnection: close\r\n{date}a0123456789abcdef!")),
        (200, known(), head(one), format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n{date}")),
        (200, unknown(), head(one), format!("HTTP/1.1 200 OK\r\n{date}")),
        (
            200,
            pieces(&["a", &long, "bc"], None),
            get(one),
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{date}1\r\na\r\n2001\r\n{long}\r\n2\r\nbc\r\n0\r\n\r\n"
            ),
        ),
        (
            200,
            pieces(&["a", &long], Some(8194)),
            get(one),
            format!("HTTP/1.1 200 OK\r\ncontent-length: 8194\r\n{date}a{long}"),
        ),
        (204, known(), get(one), format!("HTTP/1.1 204 No Content\r\n{date}")),
        (304, known(), get(one), format!("HTTP/1.1 304 Not Modified\r\n{date}")),
        (299, pieces(&[], Some(0)), get(one), format!("HTTP/1.1 299 \r\ncontent-length: 0\r\n{date}")),
    ] {
        let response = Response::builder().status(status).body(body).unwrap();
        let (text, result, is_persistent) = sent(response, context).await;
        assert_eq!(text, expected);
        result.unwrap();
        assert_eq!(is_persistent, !expected.contains("connection: close"), "{expected}");
    }
}

#[tokio::test]
async fn a_response_s_own_words_go_out_but_those_about_framing() {
    let response = |status| {
        let headers = [
            ("Content-Length", "7"),
            ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("Set-Cookie", "a"),
            ("Set-Cookie", "b"),
            ("Transfer-Encoding", "gzip"),
        ];
        let builder = headers
            .iter()
            .fold(Response::builder().status(status), |builder, (name, value)| builder.header(*name, *value));
        builder.body(pieces(&["abc"], Some(3))).unwrap()
    };
    let own = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\nset-cookie: a\r\nset-cookie: b\r\n";
    let get = context(Method::GET, Version::HTTP_11);
    let (text, ..) = sent(response(200), get.clone()).await;
    assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{own}content-length: 3\r\n\r\nabc"));
    // What it would have been.
    for (status, context, kept) in [
        (200, context(Method::HEAD, Version::HTTP_11), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n"),
        (304, get.clone(), "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n"),
        (204, get.clone(), "HTTP/1.1 204 No Content\r\n"),
    ] {
        assert_eq!(sent(response(status), context).await.0, format!("{kept}{own}\r\n"));
    }
    let mut closing = response(200);
    closing.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    closing.extensions_mut().insert(ReasonPhrase::from_static(b"Fine"));
    let (text, _, is_persistent) = sent(closing, get).await;
    assert_eq!(text, format!("HTTP/1.1 200 Fine\r\n{own}content-length: 3\r\nconnection: close\r\n\r\nabc"));
    assert!(!is_persistent);
}

#[tokio::test]
async fn what_does_not_end_as_it_should_is_no_whole_response() {
    let (one, zero) = (Version::HTTP_11, Version::HTTP_10);
    for (body, version, expected) in [
        (Pieces { breaks: true, ..pieces(&["ab"], Some(3)) }, one, "\r\n\r\nab"),
        (Pieces { breaks: true, ..pieces(&["ab"], None) }, one, "\r\n\r\n2\r\nab\r\n"),
        (Pieces { breaks: true, ..pieces(&["ab"], None) }, zero, "\r\n\r\nab"),
        (pieces(&["ab"], Some(3)), one, "\r\n\r\nab"),
        (pieces(&["ab", "cd"], Some(3)), one, "\r\n\r\nab"),
    ] {
        let (text, result, _) = sent(Response::new(body), context(Method::GET, version)).await;
        assert!(text.ends_with(expected), "{text:?}");
        result.unwrap_err();
    }
}

#[tokio::test]
async fn a_response_waits_for_its_sender_and_holds_little_of_itself() {
    let (mut socket, mut sender) = connected().await;
    let piece = "x".repeat(60_000);
    let all = pieces(&vec![piece.as_str(); 500], None);
    let mut response_writer = ResponseWriter::new(Response::new(all), &context(Method::GET, Version::HTTP_11), DATE);
    let first = poll_fn(|cx| Poll::Ready(response_writer.poll_write(cx, &mut socket).is_pending())).await;
    assert!(first && response_writer.is_blocked(), "more than the system takes at once");
    assert!(response_writer.bytes.capacity() <= 2 * (MAX_BUFFERED + SMALL), "{}", response_writer.bytes.capacity());
    let mut read = Vec::new();
    let (sent, ()) = tokio::join!(poll_fn(|cx| response_writer.poll_write(cx, &mut socket)), async {
        while !read.ends_with(b"0\r\n\r\n") {
            assert!(sender.read_buf(&mut read).await.unwrap() > 0);
        }
    });
    sent.unwrap();
    assert_eq!((response_writer.written(), response_writer.is_blocked()), (read.len() as u64, false));
    assert_eq!(read.iter().filter(|byte| **byte == b'x').count(), 30_000_000);
}

#[tokio::test]
async fn the_last_response_of_a_connection_is_one_piece() {
    let (head, ()) = Response::builder().status(503).header("Retry-After", 1).body(()).unwrap().into_parts();
    let bytes = String::from_utf8(closing_response(&head, b"text", DATE)).unwrap();
    let expected = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 4\r\nconnection: close\r\n\
                    date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\ntext";
    assert_eq!(bytes, expected);
}

#[test]
fn a_body_of_no_length_is_empty() {
    let empty = http_body_util::Empty::<Bytes>::new().map_err(|never: Infallible| -> BoxError { match never {} });
    let context = context(Method::GET, Version::HTTP_11);
    assert_eq!(framing(StatusCode::OK, &context, &empty), BodyFraming::Length(0));
}
