//! Signature headers: from their bytes to candidate digests, and back.
//!
//! Values are handled as bytes throughout: a header may carry any byte but control characters (RFC 9110 section 5.5),
//! and none of them must lead to a panic or a lossy conversion.
//!
//! [`parse`] refuses, in this order:
//!
//! 1. a header that is absent, or that has nothing in it but white space ([`VerifyError::MissingSignature`]);
//! 2. one that is there more than once, since receivers differ in which line they take
//!    ([`VerifyError::AmbiguousSignature`]);
//! 3. a value that is not of the scheme's grammar, a digest that is not of its encoding or not of the algorithm's
//!    length, and a list without the accepted version or with too many entries of it
//!    ([`VerifyError::MalformedSignature`]). One malformed entry of the accepted version makes the whole list
//!    malformed, also beside a good one: no provider sends that, and a lenient receiver is how lists get abused.
//!
//! Versions other than the accepted one are not looked at, whatever they hold: taking any that happens to verify would
//! let a sender choose the weakest.

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::VerifyError;
use super::mac::Digest;
use super::spec::{Encoding, Grammar, Location, Signature};

/// The digests that a sender claims. A fixed buffer holds the usual one or two.
pub(super) type Candidates = SmallVec<[Digest; 2]>;

/// No digest of any algorithm is longer, in bytes.
const MAX_DIGEST_LEN: usize = 64;

/// The candidate digests of a request's signature header, each `len` bytes long. Never empty.
pub(super) fn parse(signature: &Signature, len: usize, headers: &HeaderMap) -> Result<Candidates, VerifyError> {
    let value = sole_value(&signature.at, headers)?;
    let decode = |text| decode(signature.encoding, len, text).ok_or(VerifyError::MalformedSignature);
    let mut candidates = Candidates::new();
    match &signature.grammar {
        Grammar::Bare => candidates.push(decode(value)?),
        Grammar::Prefix { text, required } => match value.strip_prefix(text.as_bytes()) {
            Some(digest) => candidates.push(decode(digest)?),
            None if *required => return Err(VerifyError::MalformedSignature),
            None => candidates.push(decode(value)?),
        },
        Grammar::Versions { accept, at_most } => {
            for entry in value.split(|byte| *byte == b',') {
                let Some(digest) = version(entry.trim_ascii(), accept.as_bytes()) else { continue };
                if candidates.len() == *at_most {
                    return Err(VerifyError::MalformedSignature);
                }
                candidates.push(decode(digest)?);
            }
            if candidates.is_empty() {
                return Err(VerifyError::MalformedSignature);
            }
        }
    }
    Ok(candidates)
}

/// The header line that claims a digest.
pub(super) fn write(signature: &Signature, digest: &Digest) -> (HeaderName, HeaderValue) {
    let digest = match signature.encoding {
        Encoding::Hex => base16ct::lower::encode_string(digest.as_bytes()),
    };
    let value = match &signature.grammar {
        Grammar::Bare => digest,
        Grammar::Prefix { text, .. } => format!("{text}{digest}"),
        Grammar::Versions { accept, .. } => format!("{accept}={digest}"),
    };
    let Location::Header(name) = &signature.at;
    let value = HeaderValue::try_from(value).expect("a prefix or version was checked when the scheme was parsed");
    (name.clone(), value)
}

/// The headers that carry a signature.
pub(super) fn headers(signature: &Signature) -> Vec<HeaderName> {
    let Location::Header(name) = &signature.at;
    vec![name.clone()]
}

fn sole_value<'a>(at: &Location, headers: &'a HeaderMap) -> Result<&'a [u8], VerifyError> {
    let Location::Header(name) = at;
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(VerifyError::MissingSignature)?;
    if values.next().is_some() {
        return Err(VerifyError::AmbiguousSignature);
    }
    match value.as_bytes().trim_ascii() {
        [] => Err(VerifyError::MissingSignature),
        value => Ok(value),
    }
}

fn version<'a>(entry: &'a [u8], accept: &[u8]) -> Option<&'a [u8]> {
    entry.strip_prefix(accept)?.strip_prefix(b"=")
}

fn decode(encoding: Encoding, len: usize, text: &[u8]) -> Option<Digest> {
    let mut buffer = [0; MAX_DIGEST_LEN];
    let bytes = match encoding {
        Encoding::Hex if text.len() == len * 2 => base16ct::mixed::decode(text, &mut buffer).ok()?,
        Encoding::Hex => return None,
    };
    Some(Digest::from_slice(bytes))
}

#[cfg(test)]
mod tests;
