use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::Clock;
use crate::http1::client::request::Head;
use crate::http1::payload::Payload;

/// A connection, and the upstream's end of it.
async fn connected() -> (ClientConnection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (upstream, _) = listener.accept().await.unwrap();
    (ClientConnection::new(Socket::Plain(stream.into()), Clock::system().now()), upstream)
}

fn request(body: Vec<u8>) -> OutgoingRequest {
    let mut head = Head::for_body(body.len() as u64);
    head.begin(Method::POST, &["/"], None);
    head.content_length(body.len() as u64);
    head.with(Payload::from(Bytes::from(body)))
}

fn soon() -> Instant {
    Clock::system().now() + Duration::from_secs(20)
}

async fn is_quiet(connection: &mut ClientConnection) -> bool {
    poll_fn(|cx| Poll::Ready(connection.is_quiet(cx))).await
}

async fn body(connection: &mut ClientConnection) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(data) = poll_fn(|cx| connection.poll_data(cx)).await {
        body.extend_from_slice(&data?);
    }
    Ok(body)
}

/// What comes of a response with these bytes, after which the upstream's end stays open: its body, and whether the
/// connection can be used again.
async fn answered(answer: &[u8]) -> io::Result<(Vec<u8>, bool)> {
    let (mut connection, mut upstream) = connected().await;
    upstream.write_all(answer).await?;
    let sent = connection.send(request(Vec::new()), soon()).await;
    sent.map_err(|failure| failure.error.unwrap())?;
    let body = body(&mut connection).await?;
    Ok((body, connection.is_reusable() && is_quiet(&mut connection).await))
}

#[tokio::test]
async fn a_connection_can_be_used_again_after_a_response_that_has_ended_where_it_said() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false),
    ] {
        assert_eq!(answered(answer.as_bytes()).await.unwrap(), (b"ok".to_vec(), expected), "{answer}");
    }
}

#[tokio::test]
async fn a_garbled_chunk_is_an_error_and_not_the_end() {
    let error = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok2\r\n").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn an_idle_connection_on_which_anything_comes_is_not_quiet() {
    for farewell in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let (mut connection, mut upstream) = connected().await;
        assert!(connection.is_reusable() && is_quiet(&mut connection).await);
        upstream.write_all(farewell).await.unwrap();
        drop(upstream);
        poll_fn(|cx| connection.socket.poll_readable(cx)).await.unwrap();
        assert!(!is_quiet(&mut connection).await);
    }
}

#[tokio::test]
async fn what_an_upstream_that_answers_early_has_not_read_yet_is_still_written() {
    let (mut connection, mut upstream) = connected().await;
    let sent = vec![b'x'; 16 << 20];
    let head = "POST / HTTP/1.1\r\ncontent-length: 16777216\r\n\r\n";
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    let response = connection.send(request(sent.clone()), soon()).await.map_err(|failure| failure.error).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(connection.request_state, RequestState::Writing, "more than the system takes at once");
    let upstream = async {
        let mut read = Vec::new();
        while read.len() < head.len() + sent.len() {
            assert!(upstream.read_buf(&mut read).await.unwrap() > 0);
        }
        upstream.write_all(b"ok").await.unwrap();
        (read, upstream)
    };
    let (body, (read, _upstream)) = tokio::join!(body(&mut connection), upstream);
    assert_eq!(body.unwrap(), b"ok");
    assert!(read.ends_with(&sent));
    assert!(connection.is_reusable());
    assert!(connection.request.is_none(), "nothing is kept of what has been written");
}

#[tokio::test]
async fn a_request_that_was_answered_early_is_owed_unless_the_upstream_closes() {
    for (connection_line, is_request_pending) in [("", true), ("Connection: close\r\n", false)] {
        answered_early(connection_line, is_request_pending).await;
    }
}

async fn answered_early(connection_line: &str, is_request_pending: bool) {
    let (mut connection, mut upstream) = connected().await;
    let answer = format!("HTTP/1.1 413 Content Too Large\r\n{connection_line}Content-Length: 0\r\n\r\n");
    upstream.write_all(answer.as_bytes()).await.unwrap();
    let response = connection.send(request(vec![b'x'; 16 << 20]), soon()).await.map_err(|failure| failure.error);
    assert_eq!(response.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(connection.is_response_complete() && !connection.is_reusable());
    assert_eq!(connection.is_request_pending(), is_request_pending);
    let read = async {
        let mut read = 0;
        while read < 16 << 20 {
            read += upstream.read_buf(&mut Vec::with_capacity(1 << 20)).await.unwrap();
        }
    };
    tokio::join!(poll_fn(|cx| connection.poll_request_written(cx)), read);
    assert_eq!(connection.is_reusable(), is_request_pending);
}

#[tokio::test]
async fn a_request_without_a_response_comes_back_to_be_sent_again() {
    let (mut connection, upstream) = connected().await;
    drop(upstream);
    let failure = connection.send(request(b"ab".to_vec()), soon()).await.map(drop).unwrap_err();
    assert!(!failure.has_response_begun);
    assert!(failure.error.is_some());
    let (mut connection, mut upstream) = connected().await;
    let again = failure.request.unwrap().again();
    let answer = async {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\nab") {
            assert!(upstream.read_buf(&mut read).await.unwrap() > 0);
        }
        upstream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.send(again, soon()), answer);
    assert_eq!(response.map_err(|failure| failure.error).unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_response_that_does_not_come_by_the_deadline_is_late() {
    let (mut connection, mut upstream) = connected().await;
    upstream.write_all(b"HTTP/1.1 ").await.unwrap();
    let deadline = Clock::system().now() + Duration::from_millis(50);
    let failure = connection.send(request(Vec::new()), deadline).await.map(drop).unwrap_err();
    assert!(failure.error.is_none());
    assert!(failure.has_response_begun);
}
