//! What a record has beside the columns that every list shows: the request's head, verification and timing.
//!
//! In the Protocol Buffers encoding, which the store keeps as bytes: a later version can add fields, and read what an earlier
//! one wrote.

use bytes::Bytes;
use prost::Message as _;
use smallvec::SmallVec;

/// What is kept of a delivery in [`store::Delivery::details`](crate::store::Delivery::details). A value that is not known is
/// `None` or empty.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Details {
    /// The request's head as it came: on a route with `record: full`, and of a refused request that was captured.
    #[prost(message, optional, tag = "1")]
    pub request: Option<RequestRecord>,
    /// Where secrets stood: `header authorization`, `query token`, `body`. Of a queued delivery this is known whatever its
    /// route records: while it may have to be sent, [`store::Delivery`](crate::store::Delivery) has them in head and body.
    /// Of others they were taken out before anything was recorded.
    #[prost(string, repeated, tag = "2")]
    pub redacted: Vec<String>,
    /// Whether only the first part of the body is kept, or is going to be once the delivery does not wait any more.
    #[prost(bool, tag = "3")]
    pub body_cut: bool,
    /// The host that the request was for, as the sender wrote it.
    #[prost(string, optional, tag = "4")]
    pub host: Option<String>,
    /// Whether the connection used TLS.
    #[prost(bool, tag = "5")]
    pub tls: bool,
    /// The address of the client: the connection's, or the one that trusted proxies have named.
    #[prost(string, tag = "6")]
    pub client: String,
    /// The trace that the delivery belongs to, in hexadecimal.
    #[prost(string, optional, tag = "7")]
    pub trace_id: Option<String>,
    /// The id of the secret that verified it, as the configuration names it.
    #[prost(string, optional, tag = "8")]
    pub secret_id: Option<String>,
    /// Whether the signature verified.
    #[prost(bool, tag = "9")]
    pub verified: bool,
    /// When the whole body had arrived, in microseconds since the receipt.
    #[prost(uint64, optional, tag = "10")]
    pub body_done_us: Option<u64>,
    /// How long the check of the signature took, in microseconds.
    #[prost(uint64, optional, tag = "11")]
    pub verification_us: Option<u64>,
    /// From sending the request to the upstream until the head of its response, in microseconds.
    #[prost(uint64, optional, tag = "12")]
    pub upstream_us: Option<u64>,
    /// The address of the connection's other end, if that is a trusted proxy and not the client.
    #[prost(string, optional, tag = "13")]
    pub proxy: Option<String>,
    /// The name of the refusal that the sender got. A replay that the handler takes ends the refusal, and not what the sender
    /// got.
    #[prost(string, optional, tag = "14")]
    pub refused: Option<String>,
}

/// Those of the [`Details`] that every record has, borrowed: written without a copy of each, since this is done for every
/// delivery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brief<'a> {
    /// [`Details::host`]
    pub host: Option<&'a str>,
    /// [`Details::tls`]
    pub tls: bool,
    /// [`Details::client`]
    pub client: &'a str,
    /// [`Details::secret_id`]
    pub secret_id: Option<&'a str>,
    /// [`Details::verified`]
    pub verified: bool,
    /// [`Details::body_done_us`]
    pub body_done_us: Option<u64>,
    /// [`Details::verification_us`]
    pub verification_us: Option<u64>,
    /// [`Details::upstream_us`]
    pub upstream_us: Option<u64>,
}

/// The head of a request as it came, without secrets.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RequestRecord {
    /// The method.
    #[prost(string, tag = "1")]
    pub method: String,
    /// Path and query as the sender wrote them; the value of a parameter that is a secret is `redacted`.
    #[prost(string, tag = "2")]
    pub target: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    #[prost(string, tag = "3")]
    pub version: String,
    /// The field lines, in order.
    #[prost(message, repeated, tag = "4")]
    pub fields: Vec<FieldLine>,
}

/// A field line of a request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FieldLine {
    /// The name, as the sender wrote it.
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    /// The value; the text `redacted` in place of a secret.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Whether the value was taken out.
    #[prost(bool, tag = "3")]
    pub redacted: bool,
}

/// What [`Details::redacted`] says of a body.
pub const BODY: &str = "body";

/// Stored details cannot be read: the store has other bytes than this program, or a later one, wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored details of a delivery cannot be read")]
pub struct Unreadable;

impl Details {
    /// The bytes for the store.
    pub fn encode(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Whether the body had a secret in it when it came.
    pub fn had_secret_in_body(&self) -> bool {
        self.redacted.iter().any(|what| what == BODY)
    }

    /// What these bytes of the store stand for. No bytes are a record that has no details.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        prost::Message::decode(bytes).map_err(|_| Unreadable)
    }
}

impl Brief<'_> {
    /// Appends the bytes for the store. Those of [`Details`] without these values can follow: fields of a message may stand in
    /// any order.
    pub fn write(&self, out: &mut Written) {
        let Self { host, tls, client, secret_id, verified, body_done_us, verification_us, upstream_us } = *self;
        write_text(out, 4, host);
        write_number(out, 5, tls.then_some(1));
        write_text(out, 6, (!client.is_empty()).then_some(client));
        write_text(out, 8, secret_id);
        write_number(out, 9, verified.then_some(1));
        write_number(out, 10, body_done_us);
        write_number(out, 11, verification_us);
        write_number(out, 12, upstream_us);
    }
}

/// What is being written: usually without an allocation.
pub type Written = SmallVec<[u8; 192]>;

/// A field of variable length (type 2 of the encoding), if there is one. `tag` is less than 16: its key has one byte.
fn write_text(out: &mut Written, tag: u8, text: Option<&str>) {
    let Some(text) = text else { return };
    out.push(tag << 3 | 2);
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A number (type 0 of the encoding), if there is one. `tag` is less than 16: its key has one byte.
fn write_number(out: &mut Written, tag: u8, number: Option<u64>) {
    let Some(number) = number else { return };
    out.push(tag << 3);
    write_varint(out, number);
}

/// Seven bits in each byte, the lowest first; all bytes but the last have the highest bit.
fn write_varint(out: &mut Written, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> Details {
        let line = |name: &'static [u8], value: &'static [u8], redacted| FieldLine {
            name: Bytes::from_static(name),
            value: Bytes::from_static(value),
            redacted,
        };
        Details {
            request: Some(RequestRecord {
                method: "POST".to_owned(),
                target: "/in?a=%20&token=redacted".to_owned(),
                version: "HTTP/1.1".to_owned(),
                fields: vec![
                    line(b"host", b"hooks.example.com", false),
                    line(b"x-name", b"\xff\0", false),
                    line(b"x-name", b"", false),
                    line(b"authorization", b"redacted", true),
                ],
            }),
            redacted: vec!["header authorization".to_owned(), "query token".to_owned()],
            body_cut: true,
            host: Some("hooks.example.com".to_owned()),
            tls: true,
            client: "192.0.2.1".to_owned(),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
            secret_id: Some("0".to_owned()),
            verified: true,
            body_done_us: Some(0),
            verification_us: Some(21),
            upstream_us: Some(u64::MAX),
            proxy: Some("10.0.0.1".to_owned()),
            refused: Some("overloaded".to_owned()),
        }
    }

    #[test]
    fn what_is_written_in_brief_is_read_as_the_same() {
        let whole = details();
        let brief = Brief {
            host: whole.host.as_deref(),
            tls: whole.tls,
            client: &whole.client,
            secret_id: whole.secret_id.as_deref(),
            verified: whole.verified,
            body_done_us: whole.body_done_us,
            verification_us: whole.verification_us,
            upstream_us: whole.upstream_us,
        };
        let mut bytes = Written::new();
        brief.write(&mut bytes);
        let rest = Details { request: whole.request.clone(), redacted: whole.redacted.clone(), ..Details::default() };
        let rest = Details { body_cut: true, trace_id: whole.trace_id.clone(), proxy: whole.proxy.clone(), ..rest };
        let rest = Details { refused: whole.refused.clone(), ..rest };
        bytes.extend_from_slice(&rest.encode());
        assert_eq!(Details::decode(&bytes), Ok(whole));
        bytes.clear();
        Brief::default().write(&mut bytes);
        assert_eq!(Details::decode(&bytes), Ok(Details::default()));
    }

    #[test]
    fn details_come_back_as_they_were() {
        for details in [details(), Details::default()] {
            assert_eq!(Details::decode(&details.encode()), Ok(details));
        }
    }

    #[test]
    fn what_is_not_known_is_told_from_zero() {
        let back = Details::decode(&details().encode()).unwrap();
        assert_eq!((back.body_done_us, back.upstream_us), (Some(0), Some(u64::MAX)));
        assert_eq!(Details::decode(b"").unwrap().body_done_us, None);
    }

    #[test]
    fn a_field_of_a_later_version_is_passed_over() {
        let mut bytes = details().encode().to_vec();
        // Field 200, a text of one byte.
        bytes.extend_from_slice(&[0xc2, 0x0c, 1, b'x']);
        assert_eq!(Details::decode(&bytes), Ok(details()));
    }

    #[test]
    fn other_bytes_are_an_error_and_no_panic() {
        assert_eq!(Details::decode(b"\xff\xff\xff"), Err(Unreadable));
        let whole = details().encode();
        for end in 0..whole.len() {
            // A part may be readable, with less in it; it must not panic.
            let _ = Details::decode(&whole[..end]);
        }
    }
}
