//! What a record has beside the columns that every list shows: the request's head, verification and timing.
//!
//! A database has it in the Protocol Buffers encoding: a later version can add fields, and read what an earlier one wrote.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use smol_str::SmolStr;

/// What is kept of a delivery in [`Delivery::details`](super::Delivery::details). A value that is not known is `None` or empty.
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
    // Tag 6 is not to be used: earlier versions wrote the client's address there, which is `Delivery::peer`.
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

/// What is kept of every delivery that came as a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// The host that the request was for, as the sender wrote it.
    pub host: Option<SmolStr>,
    /// Whether the connection used TLS.
    pub tls: bool,
    /// The address of the connection's other end, if that is a trusted proxy and not the client.
    pub proxy: Option<SmolStr>,
    /// The id of the secret that verified it, as the configuration names it.
    pub secret_id: Option<SmolStr>,
    /// Whether the signature verified.
    pub verified: bool,
    /// From the receipt until the whole body had arrived.
    pub body_done: Option<Duration>,
    /// How long the check of the signature took.
    pub verification: Option<Duration>,
    /// From sending the request to the upstream until the head of its response.
    pub upstream: Option<Duration>,
}

/// [`Details`] as a delivery carries them. Most records in memory are never read, and to keep the values costs less than to encode
/// them: so a delivery that has only [`Brief`] is not encoded.
#[derive(Clone, Debug)]
pub enum StoredDetails {
    /// All of them, encoded. Empty if the delivery has no details.
    Encoded(Bytes),
    /// All of them, if there are no others than these.
    Brief(Brief),
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

impl From<Brief> for Details {
    fn from(brief: Brief) -> Self {
        let Brief { host, tls, proxy, secret_id, verified, body_done, verification, upstream } = brief;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            host: host.map(String::from),
            tls,
            proxy: proxy.map(String::from),
            secret_id: secret_id.map(String::from),
            verified,
            body_done_us: body_done.map(micros),
            verification_us: verification.map(micros),
            upstream_us: upstream.map(micros),
            ..Self::default()
        }
    }
}

impl StoredDetails {
    /// The bytes for a database.
    pub fn encoded(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Encoded(bytes) => Cow::Borrowed(bytes),
            Self::Brief(brief) => Cow::Owned(Details::from(brief.clone()).encode_to_vec()),
        }
    }

    /// What they are.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(&self) -> Result<Details, Unreadable> {
        match self {
            Self::Encoded(bytes) => Details::decode(bytes),
            Self::Brief(brief) => Ok(brief.clone().into()),
        }
    }

    /// The bytes for a database, to be kept.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Encoded(bytes) => bytes,
            Self::Brief(_) => self.encoded().into_owned().into(),
        }
    }

    /// About how much memory they take, in bytes, beside the delivery that carries them.
    pub fn weight(&self) -> usize {
        match self {
            Self::Encoded(bytes) => bytes.len(),
            Self::Brief(brief) => [&brief.host, &brief.proxy].into_iter().flatten().map(SmolStr::len).sum(),
        }
    }
}

impl Default for StoredDetails {
    fn default() -> Self {
        Self::Encoded(Bytes::new())
    }
}

impl From<Bytes> for StoredDetails {
    fn from(encoded: Bytes) -> Self {
        Self::Encoded(encoded)
    }
}

impl From<Details> for StoredDetails {
    fn from(details: Details) -> Self {
        Self::Encoded(details.encode())
    }
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
    fn brief_ones_are_the_same_with_and_without_a_database() {
        let brief = Brief {
            host: Some("hooks.example.com".into()),
            tls: true,
            proxy: Some("10.0.0.1".into()),
            secret_id: Some("0".into()),
            verified: true,
            body_done: Some(Duration::ZERO),
            verification: Some(Duration::from_micros(21)),
            upstream: Some(Duration::MAX),
        };
        let details = Details {
            host: Some("hooks.example.com".to_owned()),
            tls: true,
            proxy: Some("10.0.0.1".to_owned()),
            secret_id: Some("0".to_owned()),
            verified: true,
            body_done_us: Some(0),
            verification_us: Some(21),
            upstream_us: Some(u64::MAX),
            ..Details::default()
        };
        for (brief, details) in [(brief, details), (Brief::default(), Details::default())] {
            let stored = StoredDetails::Brief(brief);
            assert_eq!(stored.decode().as_ref(), Ok(&details));
            assert_eq!(Details::decode(&stored.encoded()).as_ref(), Ok(&details));
            assert_eq!(Details::decode(&stored.into_bytes()), Ok(details));
        }
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
    fn a_field_of_another_version_is_passed_over() {
        // Field 6 of an earlier version, and field 200: texts.
        for field in [&b"\x32\x09192.0.2.1"[..], b"\xc2\x0c\x01x"] {
            assert_eq!(Details::decode(&[&details().encode(), field].concat()), Ok(details()));
        }
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
