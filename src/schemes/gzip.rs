//! Bodies compressed by gzip (RFC 1952).
//!
//! Decoders differ in what they do with a second member or with bytes behind the first, so both are refused where a
//! signature depends on it.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::header::sole;

/// Bytes behind the compressed data: its CRC-32 and its length.
const TRAILER: usize = 8;
/// The first guess at the length of a content.
const FIRST: usize = 4096;

/// Whether this is the beginning of gzip data.
pub(super) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(b"\x1f\x8b\x08")
}

/// What the head calls gzip, and nothing else.
pub(super) fn is_said(headers: &HeaderMap) -> bool {
    sole(headers, &CONTENT_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip"))
}

/// The content of a body that is exactly one gzip member, if it has no more than `at_most` bytes.
pub(super) fn content(body: &[u8], at_most: usize) -> Option<Vec<u8>> {
    let deflated = after_header(body)?;
    let mut state = Box::<DecompressorOxide>::default();
    let mut content = vec![0; FIRST.min(at_most)];
    let (mut read, mut written) = (0, 0);
    loop {
        let rest = deflated.get(read..)?;
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, more_read, more_written) = decompress(&mut state, rest, &mut content, written, flags);
        read += more_read;
        written += more_written;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput if content.len() < at_most => {
                content.resize(content.len().saturating_mul(2).min(at_most), 0);
            }
            _ => return None,
        }
    }
    content.truncate(written);
    let trailer: [u8; TRAILER] = deflated.get(read..)?.try_into().ok()?;
    let [_, _, _, _, length @ ..] = trailer;
    // The CRC tells damage, of which the signature tells anyway.
    (written % (1 << 32) == u32::from_le_bytes(length) as usize).then_some(content)
}

/// What follows the header of gzip data.
pub(super) fn after_header(body: &[u8]) -> Option<&[u8]> {
    let flags = *body.get(3).filter(|flags| is_gzip(body) && **flags & 0xe0 == 0)?;
    let mut rest = body.get(10..)?;
    if flags & 4 != 0 {
        let (low, high) = (*rest.first()?, *rest.get(1)?);
        rest = rest.get(2 + usize::from(u16::from_le_bytes([low, high]))..)?;
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let deflated = miniz_oxide::deflate::compress_to_vec(content, 6);
        let length = (content.len() as u32).to_le_bytes();
        [b"\x1f\x8b\x08\0\0\0\0\0\0\xff", &deflated[..], &[0; 4], &length].concat()
    }

    #[test]
    fn one_member_has_its_content_up_to_the_bound() {
        let long: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        for text in [&b""[..], b"a", b"{}", &long] {
            assert_eq!(content(&gzip(text), text.len().max(1)).as_deref(), Some(text));
        }
        assert_eq!(content(&gzip(&long), long.len() - 1), None);
        assert_eq!(content(&gzip(&vec![0; 1 << 24]), 1 << 20), None, "a bomb");
    }

    #[test]
    fn what_decoders_read_differently_has_no_content() {
        let whole = gzip(b"hello");
        for (body, why) in [
            ([whole.clone(), gzip(b"more")].concat(), "a second member"),
            ([whole.as_slice(), b"\0"].concat(), "a byte behind it"),
            (whole[..whole.len() - 1].to_vec(), "a trailer cut short"),
            (whole[..whole.len() - 9].to_vec(), "data cut short"),
            ([&whole[..whole.len() - 4], &[4, 0, 0, 0]].concat(), "another length"),
            ([&whole[..3], &[0x80], &whole[4..]].concat(), "a reserved flag"),
            (b"hello".to_vec(), "no gzip"),
            (Vec::new(), "nothing"),
        ] {
            assert_eq!(content(&body, 1000), None, "{why}");
        }
    }
}
