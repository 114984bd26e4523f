//! Decodes the chunked transfer coding (RFC 9112 section 7.1), of requests and responses.
//!
//! Refuses a size that is not hexadecimal digits or does not fit in 64 bits, a line that does not end in CRLF, data that is not
//! followed by CRLF, a control character in an extension, and a trailer that is not a field line (RFC 9112 section 5). Extensions and
//! trailers are ignored.
//!
//! The bytes that are no data, the overhead, are bounded by the data: what exceeds [`FREE`] bytes for each chunk and twice its
//! data must not add up to more than [`MAX_OVERHEAD`]. Otherwise a sender could make the gateway read any amount for a body of a
//! few bytes, which no limit on the body bounds (CVE-2023-39326 in Go's net/http). Trailers count too.

/// The most bytes of overhead beyond what each chunk may have: far more than any sender needs.
const MAX_OVERHEAD: u32 = 16 << 10;
/// The bytes of overhead that each chunk may have whatever its size: its digits, a short extension, and two line ends.
const FREE: u64 = 16;

/// A position in a chunked body: what the next byte is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of overhead so far, less what the chunks so far may have.
    overhead: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a chunk's size, after `digits` digits.
    Size { size: u64, digits: u8 },
    /// In blanks after a chunk's size.
    Blank { size: u64 },
    /// In a chunk's extensions.
    Extension { size: u64 },
    /// After the CR of a chunk's line.
    SizeEnd { size: u64 },
    /// In a chunk's data, with this many bytes left.
    Data(u64),
    /// After a chunk's data: its CR is next.
    DataCr,
    /// After a chunk's data: its LF is next.
    DataLf,
    /// At the beginning of a trailer line.
    TrailerStart,
    /// In a trailer's field name.
    TrailerName,
    /// In a trailer's field value.
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerEnd,
    /// After the CR of the empty line that ends the body.
    LastLf,
}

impl ChunkedDecoder {
    /// The beginning of a body.
    pub const START: Self = Self { state: State::Size { size: 0, digits: 0 }, overhead: 0 };

    /// Whether the next byte is data.
    pub fn is_in_data(self) -> bool {
        matches!(self.state, State::Data(_))
    }

    /// Advances by at least one of `bytes`; those taken are all data, or all framing. Returns their number and the next position,
    /// or no position at the end of the body. `None` if the bytes are not valid chunked coding, or empty.
    pub fn take(self, bytes: &[u8]) -> Option<(usize, Option<Self>)> {
        let &byte = bytes.first()?;
        let mut taken = 1;
        let next = match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16)?;
                let size = size.checked_mul(16).and_then(|size| size.checked_add(digit.into()))?;
                State::Size { size, digits: digits.saturating_add(1) }
            }
            (State::Size { digits: 0, .. }, _) => return None,
            (State::Size { size, .. } | State::Blank { size } | State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { size, .. } | State::Blank { size }, b' ' | b'\t') => State::Blank { size },
            (State::Size { size, .. } | State::Blank { size }, b';') => State::Extension { size },
            (State::Extension { size }, byte) if byte == b'\t' || !byte.is_ascii_control() => State::Extension { size },
            (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { size }, b'\n') => State::Data(size),
            (State::Data(left), _) => {
                taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                match left - taken as u64 {
                    0 => State::DataCr,
                    left => State::Data(left),
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerEnd,
            (State::TrailerValue, byte) if byte == b'\t' || !byte.is_ascii_control() => State::TrailerValue,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => return Some((1, None)),
            _ => return None,
        };
        let overhead = match (self.state, next) {
            (State::Data(_), _) => self.overhead,
            (_, State::Data(size)) => {
                let allowed = size.saturating_mul(2).saturating_add(FREE);
                (self.overhead + 1).saturating_sub(u32::try_from(allowed).unwrap_or(u32::MAX))
            }
            _ => self.overhead + 1,
        };
        (overhead <= MAX_OVERHEAD).then_some((taken, Some(Self { state: next, overhead })))
    }
}

/// Whether a field name can have this byte (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a body that arrives in pieces of `size` bytes, and the bytes after its end; `None` if it is invalid.
    fn read(body: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut chunks, mut data, mut at) = (ChunkedDecoder::START, Vec::new(), 0);
        loop {
            let piece = &body[at..body.len().min(at + size)];
            let (taken, next) = chunks.take(piece)?;
            if chunks.is_in_data() {
                data.extend_from_slice(&piece[..taken]);
            }
            at += taken;
            match next {
                Some(next) => chunks = next,
                None => return Some((data, body[at..].to_vec())),
            }
        }
    }

    #[test]
    fn data_and_framing_are_told_apart_in_whatever_pieces_they_arrive() {
        let body = b"3;name=\"v\"\r\nabc\r\n0a \r\n0123456789\r\n00\r\nx-trailer: 1\r\n\r\nnext";
        for size in 1..=body.len() {
            assert_eq!(read(body, size), Some((b"abc0123456789".to_vec(), b"next".to_vec())), "{size}");
        }
        assert_eq!(read(b"0\r\n\r\n", 9), Some((Vec::new(), Vec::new())));
    }

    #[test]
    fn lines_and_trailers_have_an_end() {
        let is_read = |body: &str| read(body.as_bytes(), 100) == Some((b"a".to_vec(), Vec::new()));
        let most = MAX_OVERHEAD as usize;
        let bodies: [&dyn Fn(usize) -> String; 3] = [
            &|length| format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(length)),
            &|length| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length)),
            &|length| format!("1\r\na\r\n0\r\n{}\r\n", "a:\r\n".repeat(length / 4)),
        ];
        for body in bodies {
            assert!(is_read(&body(most - 100)) && !is_read(&body(most + 100)));
        }
    }

    #[test]
    fn overhead_is_bounded_by_the_data() {
        let chunks = |line: &str, size: usize| {
            let chunk = format!("{size:x}{line}\r\n{}\r\n", "a".repeat(size));
            read(format!("{}0\r\n\r\n", chunk.repeat(10_000)).as_bytes(), 1000).map(|(data, _)| data.len())
        };
        // A sender that pads each line so that it can fill in the size later.
        assert_eq!(chunks("     ", 1), Some(10_000));
        assert_eq!(chunks(&";x=".repeat(20), 100), Some(1_000_000));
        assert_eq!(chunks(&";x=".repeat(20), 1), None, "60 bytes of extensions for each byte of data");
    }

    #[test]
    fn invalid_chunks_are_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "1\n",
            ";\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "0\r\nx\n",
            "0\r\n\n",
            "0\r\nx: y\rx",
            "0\r\nx\r\n",
            "0\r\n: y\r\n",
            "0\r\nx : y\r\n",
            "0\r\n x: y\r\n",
            "0\r\nx: \0\r\n",
            "0\r\nPOST / HTTP/1.1\r\n",
            "10000000000000000\r\n",
            "1\r\r\n",
            "1 1\r\n",
            "1 x\r\n",
            "1;\0\r\n",
        ] {
            assert_eq!(read(body.as_bytes(), 1), None, "{body:?}");
        }
    }
}
