//! Any bytes as a chunked body (RFC 9112 section 7.1): in whatever pieces it arrives, it has the data and the end that a
//! reference finds, or is refused.

use hooklatch::http1::chunked::ChunkedDecoder;

/// What a decoder makes of a body that begins some bytes: its data and its length, or nothing if it is invalid or incomplete.
type Decoded = Option<(Vec<u8>, usize)>;

/// Decodes `data` after its first byte, which says in which pieces.
///
/// # Panics
/// When the pieces or the reference make a difference.
pub fn check(data: &[u8]) {
    let Some((size, body)) = data.split_first() else { return };
    let expected = reference(body);
    for size in [1, usize::from(*size) + 1, body.len().max(1)] {
        assert_eq!(decode(body, size), expected, "in pieces of {size}");
    }
}

fn decode(body: &[u8], size: usize) -> Decoded {
    let (mut decoder, mut data, mut at) = (ChunkedDecoder::START, Vec::new(), 0);
    loop {
        let piece = &body[at..body.len().min(at + size)];
        let (taken, next) = decoder.take(piece)?;
        assert!(taken > 0, "a decoder takes at least one byte");
        if decoder.is_in_data() {
            data.extend_from_slice(&piece[..taken]);
        }
        at += taken;
        match next {
            Some(next) => decoder = next,
            None => return Some((data, at)),
        }
    }
}

/// Reads the grammar line by line.
fn reference(body: &[u8]) -> Decoded {
    let (mut data, mut rest) = (Vec::new(), body);
    loop {
        let (line, after) = line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).unwrap(), 16).ok()?;
        let extension = line[digits..].trim_ascii_start();
        let blanks = &line[digits..line.len() - extension.len()];
        let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if !blanks.iter().all(|byte| matches!(byte, b' ' | b'\t'))
            || !(extension.is_empty() || extension[0] == b';')
            || !extension.iter().all(is_text)
        {
            return None;
        }
        rest = after;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        data.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((data, body.len() - rest.len()));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        http::HeaderName::from_bytes(&line[..colon]).ok()?;
        http::HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
    }
}

/// The first line without its end, and what follows. No CR or LF stands elsewhere.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let rest = bytes[end..].strip_prefix(b"\r\n")?;
    Some((&bytes[..end], rest))
}
