//! A message as the store keeps it, in the Protocol Buffers encoding: a later version can add fields, and read what an
//! earlier one wrote.

use bytes::Bytes;
use http::{HeaderValue, Method, Uri};
use prost::Message as _;
use uuid::Uuid;

use crate::http1::client::request::Head;
use crate::http1::payload::Payload;
use crate::upstream::message::{Message, Target};

/// What a message consists of, apart from its body.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct StoredMessage {
    #[prost(string, tag = "1")]
    method: String,
    /// Path and query, as the sender wrote them.
    #[prost(string, tag = "2")]
    target: String,
    /// The length of the path's prefix that does not go to the upstream; none on a route for one exact path.
    #[prost(uint64, optional, tag = "3")]
    prefix: Option<u64>,
    /// The host that the sender asked for.
    #[prost(bytes = "vec", optional, tag = "4")]
    host: Option<Vec<u8>>,
    /// The field lines, as HTTP/1.1 writes them.
    #[prost(bytes = "vec", tag = "5")]
    fields: Vec<u8>,
}

/// A stored message cannot be read: the store has other bytes than this program, or a later one, wrote. Or its body has not the
/// length that its head says.
#[derive(Debug, thiserror::Error)]
#[error("the stored message cannot be read")]
pub struct Unreadable;

/// The bytes that are kept of a message beside its body.
pub fn encode(message: &Message) -> Bytes {
    let (target, prefix) = message.target.parts();
    let stored = StoredMessage {
        method: message.method.to_string(),
        target,
        prefix: prefix.map(|prefix| prefix as u64),
        host: message.host.as_ref().map(|host| host.as_bytes().to_vec()),
        fields: message.fields.bytes().to_vec(),
    };
    stored.encode_to_vec().into()
}

/// The message of the delivery `id`, of which these bytes and this body were kept.
///
/// # Errors
/// [`Unreadable`].
pub fn decode(id: Uuid, head: &[u8], body: Bytes) -> Result<Message, Unreadable> {
    let stored = StoredMessage::decode(head).map_err(|_| Unreadable)?;
    let prefix = stored.prefix.map(usize::try_from).transpose().map_err(|_| Unreadable)?;
    let uri: Uri = stored.target.try_into().map_err(|_| Unreadable)?;
    let host = stored.host.map(|host| HeaderValue::from_maybe_shared(Bytes::from(host))).transpose();
    Ok(Message {
        id,
        method: Method::from_bytes(stored.method.as_bytes()).map_err(|_| Unreadable)?,
        target: Target::new(uri, prefix),
        host: host.map_err(|_| Unreadable)?,
        fields: Head::of_lines(stored.fields),
        payload: Payload::from(body),
    })
}

/// The message that can be sent: as [`decode`] gives it, if its body has the length that its head says.
///
/// # Errors
/// [`Unreadable`].
pub fn decode_whole(id: Uuid, head: &[u8], body: Bytes) -> Result<Message, Unreadable> {
    let found = body.len();
    let message = decode(id, head, body)?;
    let is_whole = length(message.fields.bytes()).is_none_or(|length| length == found);
    if is_whole { Ok(message) } else { Err(Unreadable) }
}

/// The value of the line `Content-Length`, if there is one; a value that is no number stands for no length that a body has.
fn length(fields: &[u8]) -> Option<usize> {
    let name = b"content-length:";
    let is_length = |line: &&[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let line = fields.split(|byte| *byte == b'\n').find(is_length)?;
    let value = line.get(name.len()..).and_then(|value| std::str::from_utf8(value).ok());
    Some(value.and_then(|value| value.trim().parse().ok()).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(target: &str, prefix: Option<usize>) -> Message {
        let mut fields = Head::default();
        fields.line(&http::header::CONTENT_TYPE, &HeaderValue::from_bytes(b"text/plain; x=\xff").unwrap());
        fields.content_length(2);
        Message {
            id: Uuid::nil(),
            method: Method::POST,
            target: Target::new(target.parse().unwrap(), prefix),
            host: Some(HeaderValue::from_static("hooks.example.com")),
            fields,
            payload: Bytes::from_static(b"\0\xff").into(),
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        for (target, prefix) in [("/in?a=%20&b", None), ("/hooks/a//b?x", Some(7)), ("/", Some(1))] {
            let before = message(target, prefix);
            let after = decode(Uuid::nil(), &encode(&before), Bytes::from_static(b"\0\xff")).unwrap();
            assert_eq!((before.target.rest(), before.target.query()), (after.target.rest(), after.target.query()));
            assert_eq!((before.method, before.host), (after.method, after.host));
            assert_eq!(before.fields.bytes(), after.fields.bytes());
            assert_eq!(before.payload.frames(), after.payload.frames());
        }
    }

    #[test]
    fn a_body_of_another_length_than_its_head_says_is_not_sent() {
        let whole = encode(&message("/in", None));
        for body in [&b""[..], b"\0", b"\0\xff\xff"] {
            assert!(decode_whole(Uuid::nil(), &whole, Bytes::from_static(body)).is_err());
        }
        assert!(decode_whole(Uuid::nil(), &whole, Bytes::from_static(b"\0\xff")).is_ok());
    }

    #[test]
    fn other_bytes_are_an_error_and_no_panic() {
        assert!(decode(Uuid::nil(), b"\xff\xff\xff", Bytes::new()).is_err());
        let whole = encode(&message("/in", None));
        for end in 0..whole.len() {
            // A part may be readable, with less in it; it must not panic.
            let _ = decode(Uuid::nil(), &whole[..end], Bytes::new());
        }
    }
}
