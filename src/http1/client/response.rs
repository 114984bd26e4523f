//! Parses the head of a response: its field lines, where its body ends, and whether the connection persists.
//!
//! Removes the fields that are meant for the connection (RFC 9110 section 7.6.1), and a `Content-Length` beside a
//! `Transfer-Encoding` (RFC 9112 section 6.3). Several `Content-Length` lines with one value become one. Other fields stay as
//! they are.
//!
//! Refuses a head that is not HTTP/1, obsolete line folding and blanks before a colon among it (RFC 9112 sections 5.1 and
//! 5.2), and one that does not determine where the body ends (RFC 9112 section 6.3): lengths that differ or are not digits,
//! `chunked` before another coding, and codings that are not ASCII. A body in another coding is passed on in it.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use crate::http1::body_length::{BodyLength, is_bodiless};
use crate::http1::chunked::ChunkedDecoder;
use crate::http1::field::{MAX_LINES, connection_options, content_length, elements, is_hop_by_hop};

/// The longest head, in bytes: the default for requests.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A response whose head has been parsed, and what the head says about the connection.
pub struct ParsedResponse {
    /// The status and the field lines for the next recipient.
    pub response: Response<()>,
    /// Where the body ends.
    pub body_length: BodyLength,
    /// Whether the connection persists after the response (RFC 9112 section 9.3).
    pub is_persistent: bool,
    /// The length of the head in bytes.
    pub length: usize,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// It is not HTTP/1.
    #[error("the upstream's response is not HTTP/1: {0}")]
    Syntax(httparse::Error),
    /// It has too many bytes or too many field lines.
    #[error("the head of the upstream's response is too large")]
    TooLarge,
    /// It does not determine where the body ends.
    #[error("the upstream's response does not determine where its body ends")]
    Framing,
}

/// What the field lines say about the connection and the body.
#[derive(Default)]
struct ResponseFraming {
    /// The value of `Content-Length`.
    length: Option<HeaderValue>,
    /// There is a transfer coding.
    coded: bool,
    /// The last transfer coding is `chunked`.
    chunked: bool,
    /// There is a transfer coding other than `chunked`.
    foreign: bool,
    /// The `Connection` lines.
    connection: Vec<HeaderValue>,
}

/// Parses the head of a response to a request with `method`; `None` if the head is incomplete. An interim response (RFC 9110
/// section 15.2) is a response of its own, without a body.
///
/// # Errors
/// See [`ResponseError`].
pub fn parse(bytes: &[u8], method: &Method) -> Result<Option<ParsedResponse>, ResponseError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut head = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut lines);
    let length = match parsed {
        Ok(Status::Complete(length)) if length <= MAX_HEAD_BYTES => length,
        Ok(Status::Partial) if bytes.len() <= MAX_HEAD_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooLarge),
        Err(error) => return Err(ResponseError::Syntax(error)),
    };
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(ResponseError::Syntax(httparse::Error::Status))?;
    let is_1_1 = head.version == Some(1);
    let mut response = Response::new(());
    *response.status_mut() = status;
    // The version of the next hop is its own (RFC 9110 section 2.5).
    *response.version_mut() = Version::HTTP_11;
    if let Some(reason) = head.reason.filter(|reason| status.canonical_reason() != Some(reason))
        && let Ok(reason) = ReasonPhrase::try_from(Bytes::copy_from_slice(reason.as_bytes()))
    {
        response.extensions_mut().insert(reason);
    }
    let framing = ResponseFraming::read(head.headers, response.headers_mut())?;
    let is_bodiless = *method == Method::HEAD || is_bodiless(status);
    let body_length = if is_bodiless { BodyLength::Length(0) } else { framing.body_length()? };
    let is_persistent = status != StatusCode::SWITCHING_PROTOCOLS
        && body_length != BodyLength::Close
        && !framing.is_ambiguous(status, is_1_1)
        && framing.keeps_alive(is_1_1);
    Ok(Some(ParsedResponse { response, body_length, is_persistent, length }))
}

impl ResponseFraming {
    /// Copies the lines for the next recipient to `headers`.
    fn read(lines: &[httparse::Header<'_>], headers: &mut HeaderMap) -> Result<Self, ResponseError> {
        let mut framing = Self::default();
        headers.reserve(lines.len() + 1); // with the request's id
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let name = name.map_err(|_| ResponseError::Syntax(httparse::Error::HeaderName))?;
            let value = HeaderValue::from_bytes(line.value);
            let value = value.map_err(|_| ResponseError::Syntax(httparse::Error::HeaderValue))?;
            if name == CONTENT_LENGTH {
                framing.content_length(value)?;
            } else if name == TRANSFER_ENCODING {
                framing.transfer_encoding(&value)?;
            } else if name == CONNECTION {
                framing.connection.push(value);
            } else if !is_hop_by_hop(name.as_str()) {
                headers.append(name, value);
            }
        }
        for named in connection_options(framing.connection.iter()) {
            headers.remove(named);
        }
        if let Some(length) = framing.length.as_ref().filter(|_| !framing.coded) {
            headers.insert(CONTENT_LENGTH, length.clone());
        }
        Ok(framing)
    }

    fn content_length(&mut self, value: HeaderValue) -> Result<(), ResponseError> {
        let said = self.length.get_or_insert_with(|| value.clone());
        if *said == value { Ok(()) } else { Err(ResponseError::Framing) }
    }

    fn transfer_encoding(&mut self, value: &HeaderValue) -> Result<(), ResponseError> {
        // Others would not recognise `chunked` beside a coding that is not ASCII.
        value.to_str().map_err(|_| ResponseError::Framing)?;
        self.coded = true;
        for coding in elements(value) {
            if self.chunked {
                return Err(ResponseError::Framing);
            }
            self.chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.foreign |= !self.chunked;
        }
        Ok(())
    }

    fn body_length(&self) -> Result<BodyLength, ResponseError> {
        if self.chunked {
            return Ok(BodyLength::Chunked(ChunkedDecoder::START));
        }
        let Some(said) = self.length.as_ref().filter(|_| !self.coded) else { return Ok(BodyLength::Close) };
        content_length(said).map(BodyLength::Length).ok_or(ResponseError::Framing)
    }

    /// Whether another recipient may find another end of the body (RFC 9112 section 6.1): there are two lengths, or a 204 has
    /// one.
    fn is_ambiguous(&self, status: StatusCode, is_1_1: bool) -> bool {
        let announced = self.coded || self.length.as_ref().is_some_and(|length| length != "0");
        let doubly = self.coded && (self.length.is_some() || self.foreign || !is_1_1);
        doubly || (status == StatusCode::NO_CONTENT && announced)
    }

    /// Whether the upstream lets the connection persist (RFC 9112 section 9.3).
    fn keeps_alive(&self, is_1_1: bool) -> bool {
        let says = |option: &str| {
            self.connection.iter().flat_map(elements).any(|said| said.eq_ignore_ascii_case(option.as_bytes()))
        };
        !says("close") && (is_1_1 || says("keep-alive"))
    }
}

#[cfg(test)]
mod tests;
