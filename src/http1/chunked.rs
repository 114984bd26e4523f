//! Follows a body in chunks (RFC 9112 section 7.1), whoever sends it.
//!
//! Refuses a size that is not hexadecimal digits or does not fit 64 bits, a line that does not end in CRLF, data without CRLF
//! after it, and in an extension what no header value could have. Extensions and trailers are passed over; a chunk's line and
//! the trailers, all together, have [`MAX_OVERHEAD`] bytes each at most.

/// Bytes of a chunk's line, and of all trailers: nobody wants so many.
const MAX_OVERHEAD: u16 = 16 << 10;

/// Where in a chunked body what comes next is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes so far of the chunk's line, or of the trailers.
    overhead: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the size, of which there are this many digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// In blanks after the size.
    Blank {
        size: u64,
    },
    /// In extensions.
    Extension {
        size: u64,
    },
    /// After the CR of the size's line.
    SizeEnd {
        size: u64,
    },
    /// In a chunk's data.
    Data(u64),
    /// After a chunk's data.
    DataCr,
    DataLf,
    /// At the beginning of a line of trailers.
    TrailerStart,
    /// In a line of trailers.
    Trailer,
    /// After a CR in trailers.
    TrailerEnd,
    /// After the CR of the last line.
    LastLf,
}

impl ChunkedDecoder {
    /// At the beginning of the body.
    pub const START: Self = Self { state: State::Size { size: 0, digits: 0 }, overhead: 0 };

    /// Whether what comes next is the body's own bytes.
    pub fn is_in_data(self) -> bool {
        matches!(self.state, State::Data(_))
    }

    /// The next bytes, at least one, which are all of the body's own or none: how many, and where that leads, if not to
    /// the body's end. `None` if they are no part of a chunked body, or if there are none.
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
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::TrailerStart | State::Trailer, byte) if byte != b'\n' => State::Trailer,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => return Some((1, None)),
            _ => return None,
        };
        let is_data = matches!(next, State::Data(_) | State::DataCr | State::DataLf) || self.state == State::DataLf;
        let overhead = if is_data { 0 } else { self.overhead + 1 };
        (overhead <= MAX_OVERHEAD).then_some((taken, Some(Self { state: next, overhead })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a body that comes in pieces of `size` bytes, if it is one, and what of it follows its end.
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
    fn data_is_told_from_what_is_around_it_in_whatever_pieces_it_comes() {
        let body = b"3;name=\"v\"\r\nabc\r\n0a \r\n0123456789\r\n00\r\nx-trailer: 1\r\n\r\nnext";
        for size in 1..=body.len() {
            assert_eq!(read(body, size), Some((b"abc0123456789".to_vec(), b"next".to_vec())), "{size}");
        }
        assert_eq!(read(b"0\r\n\r\n", 9), Some((Vec::new(), Vec::new())));
    }

    #[test]
    fn lines_and_trailers_have_an_end() {
        for (bytes, expected) in [(MAX_OVERHEAD, true), (MAX_OVERHEAD + 1, false)] {
            let bytes = usize::from(bytes);
            // The line of the last chunk counts as well, and a line's last byte does not.
            let trailers = bytes - 4;
            let (short, longer) = ("a\r\n".repeat(trailers / 3 - 1), "b".repeat(trailers % 3 + 1));
            for body in [
                format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(bytes - 2)),
                format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes - 3)),
                format!("1\r\na\r\n0\r\n{short}{longer}\r\n\r\n"),
            ] {
                let read = read(body.as_bytes(), 100);
                assert_eq!(read, expected.then(|| (b"a".to_vec(), Vec::new())), "{bytes} {}", &body[..10]);
            }
        }
        // What is padded may be as long as it is.
        let padded = "1     \r\na\r\n".repeat(10_000);
        let (data, rest) = read(format!("{padded}0\r\n\r\n").as_bytes(), 1000).unwrap();
        assert_eq!((data.len(), rest.len()), (10_000, 0));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
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
            "0\r\nx\rx",
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
