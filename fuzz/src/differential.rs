//! Any bytes as a connection: each request that our server accepts, hyper's server reads alike, method, target, version, field
//! lines and body.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use hooklatch::http1::server::request::HeadScanner;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::messages::{block_on, body, lines};

/// The longest head, in bytes. hyper's limit on field lines also counts trailers, which http1 limits in bytes.
const MAX_HEAD: usize = 64 << 10;

/// A request as a server reads it.
#[derive(Debug, PartialEq)]
struct Read {
    line: String,
    lines: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Sends `data` to both servers.
///
/// # Panics
/// When hyper's server reads a request otherwise that ours accepts, or does not read it.
pub fn check(data: &[u8]) {
    let ours = ours(data);
    if ours.is_empty() {
        return;
    }
    let hypers = hypers(data);
    assert_eq!(hypers.get(..ours.len()).unwrap_or(&hypers), ours);
}

/// The requests that our server accepts completely, one after another.
fn ours(data: &[u8]) -> Vec<Read> {
    let (mut requests, mut buffer) = (Vec::new(), BytesMut::from(data));
    while let Ok(Some(head)) = HeadScanner::default().take(&mut buffer, MAX_HEAD) {
        let Some((body, taken)) = body(&buffer, head.body_length) else { break };
        let _ = buffer.split_to(taken);
        let goes_on = head.is_persistent && head.request.method() != Method::CONNECT;
        requests.push(Read::new(&head.request, body));
        if !goes_on {
            break;
        }
    }
    requests
}

/// The requests that hyper's server reads completely.
fn hypers(data: &[u8]) -> Vec<Read> {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let requests = requests.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let request = Request::from_parts(head, ());
                requests.borrow_mut().push(Read::new(&request, body.to_bytes().to_vec()));
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    block_on(async {
        let (server, client) = duplex(64 << 10);
        let serve = http1::Builder::new()
            .half_close(true)
            .max_headers(MAX_HEAD)
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(server), service);
        let (mut answers, mut sends) = tokio::io::split(client);
        let send = async {
            // The server may have closed the connection.
            drop(sends.write_all(data).await);
            drop(sends.shutdown().await);
        };
        let receive = async { drop(answers.read_to_end(&mut Vec::new()).await) };
        // An error of the connection comes after what was read.
        let _ = tokio::join!(serve, send, receive);
    });
    requests.take()
}

impl Read {
    fn new(request: &Request<()>, body: Vec<u8>) -> Self {
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        Self { line, lines: lines(request.headers()), body }
    }
}
