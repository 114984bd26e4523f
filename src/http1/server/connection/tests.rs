use std::future::poll_fn;
use std::pin::pin;
use std::time::SystemTime;

use http::{Method, Response, Version};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http1::server::response::RequestContext;
use crate::net::tcp::Listener;

const LIMITS: ConnectionLimits = ConnectionLimits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(70),
    max_header_bytes: 1024,
};
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A connection as the gateway's listener accepts it, and the client's end of it.
async fn accepted() -> (Rc<SharedConnection>, TcpStream) {
    accepted_at(Clock::system()).await
}

/// The same with a clock.
async fn accepted_at(clock: Clock) -> (Rc<SharedConnection>, TcpStream) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener::new(socket).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let socket = Socket::Plain(listener.accept().await.unwrap().0);
    (SharedConnection::new(ServerConnection::new(socket, LIMITS, clock)), stream)
}

/// A connection, and the client's end of it.
async fn connected() -> (Rc<SharedConnection>, TcpStream) {
    connected_at(Clock::system()).await
}

/// The same with a clock.
async fn connected_at(clock: Clock) -> (Rc<SharedConnection>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let socket = Socket::Plain(listener.accept().await.unwrap().0.into());
    (SharedConnection::new(ServerConnection::new(socket, LIMITS, clock)), stream)
}

async fn request(connection: &SharedConnection) -> Result<ParsedRequest, ConnectionEnd> {
    poll_fn(|cx| connection.borrow_mut().poll_request(cx)).await
}

/// Writes the response to the current request, and returns its bytes.
async fn answer(connection: &SharedConnection, stream: &mut TcpStream) -> String {
    let context = RequestContext { method: Method::GET, version: Version::HTTP_11, is_persistent: true };
    let mut response = ResponseWriter::new(
        Response::new(http_body_util::Empty::<Bytes>::new()),
        &context,
        *b"Sun, 06 Nov 1994 08:49:37 GMT",
    );
    let now = connection.borrow().clock.now();
    connection.borrow_mut().begin_response(now);
    poll_fn(|cx| connection.borrow_mut().poll_write_response(cx, &mut response)).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    String::from_utf8(read).unwrap()
}

async fn body(connection: &Rc<SharedConnection>) -> io::Result<Bytes> {
    Ok(connection.lend_body().collect().await?.to_bytes())
}

/// Runs `work` with tokio's paused clock, which advances when there is nothing to do. `work` gets another one for the connection,
/// which stands still: from that one on, the time to a deadline is exact, however long the machine has stalled.
fn in_time<T>(work: impl AsyncFnOnce(Clock) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(work(Clock::fixed(SystemTime::UNIX_EPOCH)))
}

/// How many tenths of a second tokio's paused clock is ahead of this one.
#[expect(clippy::disallowed_methods, reason = "the runtime's own clock, which is paused")]
fn tenths_since(clock: &Clock) -> f64 {
    let ahead = tokio::time::Instant::now().into_std().saturating_duration_since(clock.now());
    (ahead.as_secs_f64() * 10.0).round()
}

/// How a connection ends on which `requests` are answered and nothing else arrives, and after how many tenths of a second.
fn ends(come: &[u8], requests: usize, drains: bool) -> (ConnectionEnd, f64) {
    in_time(async |clock| {
        let (connection, mut stream) = connected_at(clock.clone()).await;
        stream.write_all(come).await.unwrap();
        for _ in 0..requests {
            request(&connection).await.unwrap();
            answer(&connection, &mut stream).await;
        }
        if drains {
            // Reads what has arrived.
            let waits = tokio::time::timeout(Duration::from_millis(1), request(&connection)).await;
            assert!(waits.is_err(), "{come:?}");
        }
        let drained = if drains { connection.borrow_mut().drain() } else { Ok(()) };
        let end = match drained {
            Ok(()) => request(&connection).await.map(|_| ()).unwrap_err(),
            Err(end) => end,
        };
        (end, tenths_since(&clock))
    })
}

#[test]
fn each_state_has_its_deadline() {
    let (end, tenths) = ends(b"", 0, false);
    assert!(matches!(end, ConnectionEnd::IdleTimeout) && tenths == 100.0, "the first request: {end:?} {tenths}");
    let (end, tenths) = ends(b"\r\nGET /", 0, false);
    assert!(matches!(end, ConnectionEnd::HeadTimeout) && tenths == 100.0, "its head: {end:?} {tenths}");
    let (end, tenths) = ends(b"\r\n", 0, false);
    assert!(matches!(end, ConnectionEnd::HeadTimeout) && tenths == 100.0, "an empty line alone: {end:?} {tenths}");
    let (end, tenths) = ends(&[REQUEST, b"\r\n"].concat(), 1, false);
    assert!(matches!(end, ConnectionEnd::IdleTimeout) && tenths == 700.0, "the next request: {end:?} {tenths}");
    let (end, tenths) = ends(&[REQUEST, REQUEST, b"GET /"].concat(), 2, false);
    assert!(matches!(end, ConnectionEnd::HeadTimeout) && tenths == 100.0, "the next head: {end:?} {tenths}");
}

#[test]
fn while_the_server_drains_only_a_first_request_and_a_head_that_has_begun_have_time() {
    for (come, requests, expected) in
        [(&b""[..], 0, 5.0), (b"GET /", 0, 5.0), (&[REQUEST, b"GET /"].concat(), 1, 5.0), (REQUEST, 1, 0.0)]
    {
        let (end, tenths) = ends(come, requests, true);
        assert!(matches!(end, ConnectionEnd::Drained) && tenths == expected, "{come:?}: {end:?} {tenths}");
    }
}

#[tokio::test]
async fn requests_are_read_one_after_another_and_no_buffer_is_held_between_them() {
    let (connection, mut stream) = connected().await;
    let first = b"POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let second = b"POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n";
    stream.write_all(&[&first[..], second, REQUEST].concat()).await.unwrap();
    for (path, content) in [("/1", "abc"), ("/2", "de"), ("/", "")] {
        assert_eq!(request(&connection).await.unwrap().request.uri().path(), path);
        assert_eq!(body(&connection).await.unwrap(), content);
        assert!(connection.borrow().is_request_complete());
        answer(&connection, &mut stream).await;
    }
    let waiting = poll_fn(|cx| Poll::Ready(connection.borrow_mut().poll_request(cx).is_pending())).await;
    assert!(waiting);
    assert_eq!(connection.borrow().reader.buffer.capacity(), 0);
}

#[tokio::test]
async fn a_long_body_comes_in_pieces_that_fill_their_allocation() {
    let (connection, mut stream) = connected().await;
    let sent = vec![b'x'; 200_000];
    let write = async {
        stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n").await.unwrap();
        stream.write_all(&sent).await.unwrap();
    };
    let read = async {
        request(&connection).await.unwrap();
        let (mut sizes, mut body) = (Vec::new(), pin!(connection.lend_body()));
        while let Some(frame) = body.frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        sizes
    };
    let (sizes, ()) = tokio::join!(read, write);
    assert_eq!(sizes, [65_536, 65_536, 65_536, 3392]);
}

#[tokio::test]
async fn a_body_that_ends_early_or_is_invalid_is_an_error() {
    for (bytes, kind) in [
        (&b"Content-Length: 3\r\n\r\nab"[..], io::ErrorKind::UnexpectedEof),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab", io::ErrorKind::UnexpectedEof),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc", io::ErrorKind::InvalidData),
    ] {
        let (connection, mut stream) = connected().await;
        stream.write_all(&[b"POST / HTTP/1.1\r\n", bytes].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        request(&connection).await.unwrap();
        assert_eq!(body(&connection).await.unwrap_err().kind(), kind);
        assert!(!connection.borrow().is_request_complete());
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_when_the_body_is_read() {
    let head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let (connection, mut stream) = connected().await;
    stream.write_all(head).await.unwrap();
    request(&connection).await.unwrap();
    assert!(answer(&connection, &mut stream).await.starts_with("HTTP/1.1 200 "), "the body has not been read");

    let (connection, mut stream) = connected().await;
    stream.write_all(head).await.unwrap();
    request(&connection).await.unwrap();
    let send = async {
        let mut interim = [0; CONTINUE.len()];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(interim, CONTINUE);
        stream.write_all(b"ok").await.unwrap();
    };
    let (read, ()) = tokio::join!(body(&connection), send);
    assert_eq!(read.unwrap(), "ok");

    let (connection, mut stream) = connected().await;
    stream.write_all(&[&head[..], b"o"].concat()).await.unwrap();
    request(&connection).await.unwrap();
    stream.write_all(b"k").await.unwrap();
    assert_eq!(body(&connection).await.unwrap(), "ok");
    assert!(
        answer(&connection, &mut stream).await.starts_with("HTTP/1.1 200 "),
        "it has sent part of the body, so it does not wait"
    );
}

#[tokio::test]
async fn a_reset_by_the_client_is_seen() {
    let (connection, mut stream) = connected().await;
    stream.write_all(REQUEST).await.unwrap();
    request(&connection).await.unwrap();
    let is_gone = poll_fn(|cx| Poll::Ready(connection.borrow_mut().poll_reset(cx).is_ready())).await;
    assert!(!is_gone);
    stream.set_zero_linger().unwrap();
    drop(stream);
    poll_fn(|cx| connection.borrow_mut().poll_reset(cx)).await;
}

#[test]
fn on_a_new_connection_a_reset_is_seen_after_a_moment_and_until_then_the_poller_does_not_know_it() {
    in_time(async |clock| {
        let (connection, mut stream) = accepted_at(clock.clone()).await;
        stream.write_all(REQUEST).await.unwrap();
        request(&connection).await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
        let is_gone = poll_fn(|cx| Poll::Ready(connection.borrow_mut().poll_reset(cx).is_ready())).await;
        assert!(!is_gone && !connection.borrow().socket.is_registered());
        poll_fn(|cx| connection.borrow_mut().poll_reset(cx)).await;
        assert_eq!(tenths_since(&clock), UNWATCHED.as_secs_f64() * 10.0);
    });
}

#[tokio::test]
async fn the_poller_knows_a_connection_once_it_waits_for_another_request() {
    let (connection, mut stream) = accepted().await;
    stream.write_all(REQUEST).await.unwrap();
    request(&connection).await.unwrap();
    answer(&connection, &mut stream).await;
    assert!(!connection.borrow().socket.is_registered());
    let (next, ()) = tokio::join!(request(&connection), async { stream.write_all(REQUEST).await.unwrap() });
    next.unwrap();
    assert!(connection.borrow().socket.is_registered());
    answer(&connection, &mut stream).await;
}

#[tokio::test]
async fn a_connection_is_drained_unless_bytes_have_come_with_the_request() {
    for (rest, is_drained) in [(&b""[..], true), (b"\r\n", false)] {
        let (connection, mut stream) = accepted().await;
        stream.write_all(&[REQUEST, rest].concat()).await.unwrap();
        request(&connection).await.unwrap();
        answer(&connection, &mut stream).await;
        assert_eq!(connection.borrow_mut().is_drained(), is_drained, "{rest:?}");
    }
}
