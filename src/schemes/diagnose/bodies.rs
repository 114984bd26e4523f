//! Bodies as they could have been before an intermediary changed them.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;

use super::json::{Json, Style};
use crate::schemes::codec::LENIENT;
use crate::schemes::gzip;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// The largest decompressed body, in bytes.
const MAX_UNPACKED: usize = 16 << 20;

/// How the signed body differs from the received one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The signed body has no newline at its end.
    NewlineAdded,
    /// The signed body has no white space at its ends.
    SpaceAdded,
    /// The signed body ends in a newline.
    NewlineLost,
    /// The signed body ends in CRLF.
    CrLfLost,
    /// The signed body has LF where there is CRLF.
    LfToCrLf,
    /// The signed body has CRLF where there is LF.
    CrLfToLf,
    /// The signed body has no byte order mark.
    BomAdded,
    /// The signed body begins with a byte order mark.
    BomLost,
    /// The signed body is the decompressed body.
    Compressed,
    /// The signed body is the body decoded from base64.
    Base64,
    /// The signed body is the text of the body, which is a JSON string.
    Quoted,
    /// The signed body was read as Latin-1 and written as UTF-8.
    Mojibake,
    /// The signed body has `+` where there is `%20`.
    PlusToPercent,
    /// The signed body has `%20` where there is `+`.
    PercentToPlus,
    /// The signed body is the same JSON in another style.
    Json(Style),
}

/// Bodies that could have been signed in place of `body`, each once, without `body` itself.
pub(super) fn originals(body: &[u8]) -> impl Iterator<Item = (Change, Vec<u8>)> + '_ {
    use Change::{
        Base64, BomAdded, BomLost, Compressed, CrLfLost, CrLfToLf, LfToCrLf, Mojibake, NewlineAdded, NewlineLost,
        PercentToPlus, PlusToPercent, Quoted, SpaceAdded,
    };
    let plain = [
        NewlineAdded,
        NewlineLost,
        CrLfLost,
        SpaceAdded,
        LfToCrLf,
        CrLfToLf,
        BomAdded,
        BomLost,
        Compressed,
        Base64,
        Quoted,
        Mojibake,
        PlusToPercent,
        PercentToPlus,
    ];
    let plain = plain.into_iter().filter_map(|change| Some((change, change.undone(body)?)));
    // A byte order mark is not JSON, but the text after it is.
    let json = Json::read(body.strip_prefix(BOM).unwrap_or(body));
    let styles = json.into_iter().flat_map(|json| {
        let mut styles = Style::all();
        std::iter::from_fn(move || styles.next().map(|style| (Change::Json(style), json.write(style))))
    });
    let mut seen = HashSet::from([mark(body)]);
    plain.chain(styles).filter(move |(_, original)| seen.insert(mark(original)))
}

fn mark(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl Change {
    fn undone(self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::NewlineAdded => {
                let line = body.strip_suffix(b"\n")?;
                Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
            }
            Self::SpaceAdded => Some(body.trim_ascii().to_vec()),
            Self::NewlineLost => Some([body, b"\n"].concat()),
            Self::CrLfLost => Some([body, b"\r\n"].concat()),
            Self::LfToCrLf => Some(replaced(body, b"\r\n", b"\n")),
            Self::CrLfToLf => Some(replaced(&replaced(body, b"\r\n", b"\n"), b"\n", b"\r\n")),
            Self::BomAdded => body.strip_prefix(BOM).map(<[u8]>::to_vec),
            Self::BomLost => Some([BOM, body].concat()),
            Self::Compressed => unpacked(body),
            Self::Base64 => LENIENT.decode(body.trim_ascii()).ok().filter(|original| original.len() > 2),
            Self::Quoted => serde_json::from_slice::<String>(body).ok().map(String::into_bytes),
            Self::Mojibake => {
                let text = std::str::from_utf8(body).ok().filter(|text| !text.is_ascii())?;
                text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
            }
            Self::PlusToPercent => Some(replaced(body, b"%20", b"+")),
            Self::PercentToPlus => Some(replaced(body, b"+", b"%20")),
            Self::Json(style) => Some(Json::read(body)?.write(style)),
        }
    }
}

fn replaced(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((byte, behind)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(behind) => {
                out.extend_from_slice(to);
                rest = behind;
            }
            None => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    out
}

/// The content of gzip (RFC 1952) or zlib (RFC 1950) data.
fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};
    if !gzip::is_gzip(body) {
        return decompress_to_vec_zlib_with_limit(body, MAX_UNPACKED).ok();
    }
    decompress_to_vec_with_limit(gzip::after_header(body)?, MAX_UNPACKED).ok()
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NewlineAdded => "it was signed without the trailing newline",
            Self::SpaceAdded => "it was signed without the white space around it",
            Self::NewlineLost => "it was signed with a trailing newline (LF), which is missing",
            Self::CrLfLost => "it was signed with a trailing CRLF, which is missing",
            Self::LfToCrLf => "its lines were signed ending in LF, and end in CRLF",
            Self::CrLfToLf => "its lines were signed ending in CRLF, and end in LF",
            Self::BomAdded => "it was signed without the byte order mark at its start",
            Self::BomLost => "it was signed with a byte order mark at its start, which is missing",
            Self::Compressed => "it was signed as it is uncompressed, and came compressed",
            Self::Base64 => "it came as base64 of what was signed",
            Self::Quoted => "it came as a JSON string that holds what was signed",
            Self::Mojibake => "it was read as Latin-1 and written as UTF-8",
            Self::PlusToPercent => "its spaces were signed as +, and came as %20",
            Self::PercentToPlus => "its spaces were signed as %20, and came as +",
            Self::Json(style) => {
                return write!(formatter, "it was re-serialised or re-indented, and was signed as {style}");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_original_is_tried_once_and_never_the_body_itself() {
        for body in [&b""[..], b"a\r\nb\n", b"{\"a\": [1, 2], \"b\":\"\\/\"}\n", b"\xef\xbb\xbf{}", b"a=b+c", b"\xff"] {
            let originals: Vec<Vec<u8>> = originals(body).map(|(_, original)| original).collect();
            assert!(!originals.is_empty());
            for (position, original) in originals.iter().enumerate() {
                assert_ne!(original, body);
                assert!(!originals[..position].contains(original), "{original:?}");
            }
        }
    }

    #[test]
    fn each_change_is_undone() {
        let compressed = miniz_oxide::deflate::compress_to_vec(b"hello", 6);
        let gzip = [&b"\x1f\x8b\x08\x0c\0\0\0\0\0\x03\x02\0xxname\0"[..], &compressed, &[0; 8]].concat();
        let zlib = miniz_oxide::deflate::compress_to_vec_zlib(b"hello", 6);
        for (body, original, change) in [
            (&b"a\n"[..], &b"a"[..], Change::NewlineAdded),
            (b"a\r\n", b"a", Change::NewlineAdded),
            (b"a", b"a\n", Change::NewlineLost),
            (b"a", b"a\r\n", Change::CrLfLost),
            (b" a\t\n\n", b"a", Change::SpaceAdded),
            (b"a\r\nb", b"a\nb", Change::LfToCrLf),
            (b"a\nb", b"a\r\nb", Change::CrLfToLf),
            (b"\xef\xbb\xbfa", b"a", Change::BomAdded),
            (b"a", b"\xef\xbb\xbfa", Change::BomLost),
            (&gzip, b"hello", Change::Compressed),
            (&zlib, b"hello", Change::Compressed),
            (b"aGVsbG8=", b"hello", Change::Base64),
            (b"\"{\\\"a\\\":1}\"", b"{\"a\":1}", Change::Quoted),
            ("cafÃ©".as_bytes(), "café".as_bytes(), Change::Mojibake),
            (b"a=b%20c", b"a=b+c", Change::PlusToPercent),
            (b"a=b+c", b"a=b%20c", Change::PercentToPlus),
        ] {
            let found = originals(body).find(|(_, found)| found == original);
            assert_eq!(found.map(|(change, _)| change), Some(change), "{change}");
        }
    }

    #[test]
    fn damaged_compressed_bodies_are_none() {
        for body in [&b"\x1f\x8b\x08"[..], b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xff", b"\x1f\x8b\x08\x08\0\0\0\0\0\0abc"]
        {
            assert_eq!(unpacked(body), None);
        }
    }
}
