//! A message as the store keeps it, in the Protocol Buffers encoding: a later version can add fields, and read what an
//! earlier one wrote.
//!
//! It ends with a checksum over itself and the body: what the disk has changed is not sent.

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
    /// The last field, [`Seal::checksum`]. An earlier version wrote none.
    #[prost(fixed32, optional, tag = "15")]
    checksum: Option<u32>,
}

/// The end of a stored message. Fields of a message may be written one by one, so this is written after all others. The number 15
/// is the highest one whose key has one byte: fields of a later version get lower ones.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Seal {
    /// The CRC-32 of all bytes before it and of the body.
    #[prost(fixed32, optional, tag = "15")]
    checksum: Option<u32>,
}

/// The bytes of a [`Seal`].
const SEAL: usize = 5;

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
        checksum: None,
    };
    let mut bytes = Vec::with_capacity(stored.encoded_len() + SEAL);
    let full = "a vector has room for everything";
    stored.encode(&mut bytes).expect(full);
    let checksum = checksum(&bytes, message.payload.frames());
    Seal { checksum: Some(checksum) }.encode(&mut bytes).expect(full);
    bytes.into()
}

fn checksum(head: &[u8], body: &[Bytes]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(head);
    body.iter().for_each(|part| checksum.update(part));
    checksum.finalize()
}

/// The message of the delivery `id`, of which these bytes and this body were kept.
///
/// # Errors
/// [`Unreadable`].
pub fn decode(id: Uuid, head: &[u8], body: Bytes) -> Result<Message, Unreadable> {
    message(id, StoredMessage::decode(head).map_err(|_| Unreadable)?, body)
}

fn message(id: Uuid, stored: StoredMessage, body: Bytes) -> Result<Message, Unreadable> {
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

/// The message that can be sent: as [`decode`] gives it, if head and body are the bytes that were written. Of what an earlier
/// version wrote, without a checksum, only the body's length is known.
///
/// # Errors
/// [`Unreadable`].
pub fn decode_whole(id: Uuid, head: &[u8], body: Bytes) -> Result<Message, Unreadable> {
    let stored = StoredMessage::decode(head).map_err(|_| Unreadable)?;
    let is_as_written = stored.checksum.is_none_or(|expected| {
        let sealed = head.len().checked_sub(SEAL).and_then(|end| head.get(..end));
        sealed.is_some_and(|sealed| checksum(sealed, std::slice::from_ref(&body)) == expected)
    });
    let found = body.len();
    let message = message(id, stored, body)?;
    let is_whole = length(message.fields.bytes()).is_none_or(|length| length == found);
    if is_as_written && is_whole { Ok(message) } else { Err(Unreadable) }
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
    fn a_message_of_which_any_bit_was_changed_is_not_sent() {
        let (head, body) = (encode(&message("/in?a=%20&b", Some(1))), Bytes::from_static(b"\0\xff"));
        let seal = head.len() - SEAL;
        let mut changed = 0;
        for (at, bit) in (0..head.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut other = head.to_vec();
            other[at] ^= 1 << bit;
            // Without its key the checksum is an unknown field; then nothing but that key has changed.
            if at != seal {
                assert!(decode_whole(Uuid::nil(), &other, body.clone()).is_err(), "byte {at}, bit {bit}");
                changed += 1;
            }
        }
        assert_eq!(changed, (head.len() - 1) * 8);
        for other in [&b"\0\xfe"[..], b"\x01\xff"] {
            assert!(decode_whole(Uuid::nil(), &head, Bytes::from_static(other)).is_err());
        }
        assert!(decode_whole(Uuid::nil(), &head, body).is_ok());
    }

    #[test]
    fn the_checksum_is_over_a_body_in_pieces_too() {
        let mut before = message("/in", None);
        let body = Bytes::from_static(b"\0\xff");
        before.payload = Payload::new([body.slice(..1), body.slice(1..)].into_iter().collect(), ());
        assert!(decode_whole(Uuid::nil(), &encode(&before), body).is_ok());
    }

    #[test]
    fn what_an_earlier_version_wrote_without_a_checksum_is_sent() {
        let whole = encode(&message("/in", None));
        let earlier = &whole[..whole.len() - SEAL];
        assert!(StoredMessage::decode(earlier).unwrap().checksum.is_none());
        assert!(decode_whole(Uuid::nil(), earlier, Bytes::from_static(b"\0\xff")).is_ok());
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
