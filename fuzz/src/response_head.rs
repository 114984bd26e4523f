//! Any bytes as an upstream's response: in whatever pieces its head arrives, it is the same response or refused, and what is
//! accepted has the status and the body that hyper's client reads, if that accepts it too.

use bytes::Bytes;
use hooklatch::http1::client::response::{ParsedResponse, parse};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::messages::{block_on, body};

/// Parses `data` after its first byte, which says whether it answers `HEAD`.
///
/// # Panics
/// When the pieces make a difference, or hyper reads another response.
pub fn check(data: &[u8]) {
    let Some((choice, response)) = data.split_first() else { return };
    let method = if choice % 8 == 0 { Method::HEAD } else { Method::POST };
    splits(response, &method);
    if let Some(ours) = read(response, &method)
        && let Some(hypers) = hyper(response, &method)
    {
        assert_eq!(ours, hypers);
    }
}

/// A beginning of a head is no head, and what refuses a beginning refuses the whole.
fn splits(bytes: &[u8], method: &Method) {
    let whole = parse(bytes, method);
    for cut in 0..bytes.len() {
        match (parse(&bytes[..cut], method), &whole) {
            (Ok(None), _) => {}
            (Ok(Some(part)), Ok(Some(whole))) => {
                assert!(cut >= whole.length, "the first {cut} bytes are a head already");
                assert_eq!((part.length, part.body_length), (whole.length, whole.body_length));
            }
            (Err(part), Err(whole)) => assert_eq!(part, *whole, "the first {cut} bytes"),
            (part, _) => panic!("the first {cut} bytes are {:?}", part.map(|part| part.map(|part| part.length))),
        }
    }
}

/// The final response's status and body, if it is complete.
fn read(mut bytes: &[u8], method: &Method) -> Option<(StatusCode, Vec<u8>)> {
    loop {
        let ParsedResponse { response, body_length, length, .. } = parse(bytes, method).ok()??;
        bytes = &bytes[length..];
        match response.status() {
            // hyper hands the connection over.
            StatusCode::SWITCHING_PROTOCOLS => return None,
            status if status.is_informational() => {}
            status => return Some((status, body(bytes, body_length)?.0)),
        }
    }
}

/// The same by hyper.
fn hyper(bytes: &[u8], method: &Method) -> Option<(StatusCode, Vec<u8>)> {
    block_on(async {
        let (client, mut server) = duplex(64 << 10);
        let (mut sender, connection) = handshake::<_, Empty<Bytes>>(TokioIo::new(client)).await.unwrap();
        let request = Request::builder().method(method).uri("/").header("host", "a").body(Empty::new()).unwrap();
        let response = async {
            let response = sender.send_request(request).await.ok()?;
            let status = response.status();
            Some((status, response.into_body().collect().await.ok()?.to_bytes().to_vec()))
        };
        let serve = async {
            // hyper refuses a response that comes before its request.
            let mut head = [0; 1024];
            while server.read(&mut head).await.is_ok_and(|read| !head[..read].ends_with(b"\r\n\r\n") && read > 0) {}
            // The client may have gone.
            drop(server.write_all(bytes).await);
            drop(server.shutdown().await);
        };
        let (response, (), _) = tokio::join!(response, serve, connection);
        response
    })
}
