//! Digests as text: strict decoding, and encoding.
//!
//! Decoding is strict: no white space, no stray bits after the last byte, padding exactly as the scheme says. A text that
//! two receivers could read differently is refused.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;

use super::spec::Encoding;

/// A digest, claimed by a sender or computed here. It has no `PartialEq`, so that it cannot be compared in variable time by
/// accident.
#[derive(Clone)]
pub(super) struct Digest(SmallVec<[u8; 64]>);

/// Enough for the usual digests, of which the longest has 64 bytes.
const BUFFER: usize = 96;

/// The longest text that can be a signature, for example a token.
const LONGEST: usize = 16 * 1024;

/// Base64 with or without padding, with any trailing bits. For configured values, never for requests.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Digest {
    pub(super) fn from_slice(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes of a text, decoded in the first of these encodings that fits; exactly `len` bytes, if that is given.
pub(super) fn decode(encodings: &[Encoding], len: Option<usize>, text: &[u8]) -> Option<Digest> {
    encodings.iter().find_map(|encoding| decode_one(*encoding, len, text))
}

fn decode_one(encoding: Encoding, len: Option<usize>, text: &[u8]) -> Option<Digest> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let right = |bytes: &[u8]| len.is_none_or(|len| bytes.len() == len).then(|| Digest::from_slice(bytes));
    let engine = match encoding {
        Encoding::Text => return right(text),
        Encoding::Hex => {
            let mut buffer = [0; BUFFER];
            return match buffer.get_mut(..text.len() / 2) {
                Some(buffer) => right(base16ct::mixed::decode(text, buffer).ok()?),
                None => right(&base16ct::mixed::decode_vec(text).ok()?),
            };
        }
        other => engine(other),
    };
    let mut buffer = [0; BUFFER];
    if text.len() <= BUFFER {
        let written = engine.decode_slice(text, &mut buffer).ok()?;
        right(buffer.get(..written)?)
    } else {
        right(&engine.decode(text).ok()?)
    }
}

/// The text of these bytes.
pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Text => bytes.to_vec(),
        Encoding::Hex => base16ct::lower::encode_string(bytes).into_bytes(),
        other => engine(other).encode(bytes).into_bytes(),
    }
}

fn engine(encoding: Encoding) -> &'static GeneralPurpose {
    match encoding {
        Encoding::Base64Unpadded => &STANDARD_NO_PAD,
        Encoding::Base64url => &URL_SAFE_NO_PAD,
        Encoding::Base64urlPadded => &URL_SAFE,
        Encoding::Base64 | Encoding::Hex | Encoding::Text => &STANDARD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Base64, Base64Unpadded, Base64url, Base64urlPadded, Hex, Text};

    fn decoded(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        decode(&[encoding], None, text.as_bytes()).map(|digest| digest.as_bytes().to_vec())
    }

    #[test]
    fn what_is_encoded_is_decoded_at_any_length() {
        for len in (1..100).chain([256, 1024, 3000]) {
            let bytes: Vec<u8> = (0..len).map(|byte: usize| (byte * 7 + 250) as u8).collect();
            for encoding in [Hex, Base64, Base64Unpadded, Base64url, Base64urlPadded, Text] {
                let text = encode(encoding, &bytes);
                let decoded = decode(&[encoding], Some(len), &text).unwrap();
                assert_eq!(decoded.as_bytes(), bytes, "{encoding:?} {len}");
                assert!(decode(&[encoding], Some(len + 1), &text).is_none());
            }
        }
    }

    #[test]
    fn only_the_one_spelling_of_the_bytes_is_taken() {
        for (encoding, good, bad) in [
            (Base64, "/+8=", ["/+8", "/+9=", "_-8=", "/+8==", "/+ 8=", "/+8=\n"]),
            (Base64Unpadded, "/+8", ["/+8=", "/+9", "_-8", "/+8==", "/ +8", "/+8\n"]),
            (Base64url, "_-8", ["_-8=", "_-9", "/+8", "_-8==", "_ -8", "_-8\n"]),
            (Base64urlPadded, "_-8=", ["_-8", "_-9=", "/+8=", "_-8==", "_ -8=", "_-8=\n"]),
            (Hex, "ffEF", ["ffE", "ffEg", "0xffEF", "ff EF", " ffEF", "ffEF\n"]),
        ] {
            assert_eq!(decoded(encoding, good), Some(vec![0xff, 0xef]), "{good}");
            for text in bad {
                assert_eq!(decoded(encoding, text), None, "{encoding:?} {text:?}");
            }
        }
    }

    #[test]
    fn of_several_encodings_the_one_with_the_right_length_counts() {
        let both = [Hex, Base64];
        let digest = [0xabu8; 20];
        for encoding in both {
            let text = encode(encoding, &digest);
            assert_eq!(decode(&both, Some(20), &text).unwrap().as_bytes(), digest);
        }
    }
}
