//! Any bytes as a request's head: in whatever pieces it arrives, it is the same request, or refused for the same reason.

use bytes::BytesMut;
use hooklatch::http1::body_length::BodyLength;
use hooklatch::http1::server::request::{HeadError, HeadScanner};

use super::messages::lines;

/// A head and how many bytes it took, if it is complete.
type Parsed = Result<Option<(Head, usize)>, HeadError>;

/// Everything that a head says.
#[derive(Debug, PartialEq)]
struct Head {
    line: String,
    lines: Vec<(String, Vec<u8>)>,
    body_length: BodyLength,
    is_persistent: bool,
    expects_continue: bool,
}

/// Parses `data` after its first byte, which says in which pieces, and how long the head may be.
///
/// # Panics
/// When the pieces make a difference.
pub fn check(data: &[u8]) {
    let Some((choice, head)) = data.split_first() else { return };
    let max = if choice % 2 == 0 { 64 << 10 } else { 200 };
    let whole = parse(head, head.len().max(1), max);
    for size in [1, usize::from(choice / 2) + 1] {
        assert_eq!(parse(head, size, max), whole, "in pieces of {size}, of at most {max} bytes");
    }
}

fn parse(head: &[u8], size: usize, max: usize) -> Parsed {
    let (mut scanner, mut buffer, mut arrived) = (HeadScanner::default(), BytesMut::new(), 0);
    for piece in head.chunks(size) {
        buffer.extend_from_slice(piece);
        arrived += piece.len();
        if let Some(parsed) = scanner.take(&mut buffer, max)? {
            let request = parsed.request;
            let head = Head {
                line: format!("{} {} {:?}", request.method(), request.uri(), request.version()),
                lines: lines(request.headers()),
                body_length: parsed.body_length,
                is_persistent: parsed.is_persistent,
                expects_continue: parsed.expects_continue,
            };
            return Ok(Some((head, arrived - buffer.len())));
        }
    }
    Ok(None)
}
