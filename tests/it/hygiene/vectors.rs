//! Published smuggling vectors, one row each: their source, what the gateway does, and the bytes. `HEAD` and `SIG` as in the
//! table of refused requests.
//!
//! The sources:
//! - `SMUG-…`: the tests of that name of <https://mda2av.github.io/Http11Probe/docs/smuggling/>;
//! - `Kettle 2019`: <https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn>;
//! - `CVE-…`: a vulnerability of another HTTP server or client.

/// What becomes of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is refused with 400, and the connection is closed.
    Refused,
    /// It has one reading: it is forwarded once, with the body `hello`.
    Forwarded,
}

use Outcome::{Forwarded, Refused};

pub const VECTORS: &[(&str, Outcome, &str)] = &[
    // Content-Length beside Transfer-Encoding.
    ("SMUG-CL-TE-BOTH", Refused, "HEADContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CLTE-PIPELINE", Refused, "HEADContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("SMUG-TECL-PIPELINE", Refused, "HEADTransfer-Encoding: chunked\r\nContent-Length: 30\r\n\r\n0\r\n\r\n"),
    ("SMUG-TE-XCHUNKED", Refused, "HEADTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello"),
    ("SMUG-TE-TRAILING-SPACE", Refused, "HEADTransfer-Encoding: chunked \r\nContent-Length: 5\r\n\r\nhello"),
    ("SMUG-TE-SP-BEFORE-COLON", Refused, "HEADTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nhello"),
    ("SMUG-TE-DOUBLE-CHUNKED", Refused, "HEADTransfer-Encoding: chunked, chunked\r\nContent-Length: 5\r\n\r\nhello"),
    ("SMUG-CHUNKED-WITH-PARAMS", Refused, "HEADTransfer-Encoding: chunked;ext=val\r\nContent-Length: 5\r\n\r\nhello"),
    // Obfuscated Transfer-Encoding, which one of two servers takes for chunked.
    ("Kettle 2019, xchunked", Refused, "HEADTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("Kettle 2019, space before colon", Refused, "HEADTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (
        "Kettle 2019, second coding",
        Refused,
        "HEADTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("Kettle 2019, tab before value", Forwarded, "HEADTransfer-Encoding:\tchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (
        "Kettle 2019, space before name",
        Refused,
        "POST /hook/x HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\nSIG\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "Kettle 2019, hidden behind LF",
        Refused,
        "HEADX: X\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "Kettle 2019, colon on the next line",
        Refused,
        "HEADTransfer-Encoding\r\n : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("CVE-2022-32215 (llhttp)", Refused, "HEADTransfer-Encoding: chunked,\r\n identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    // Content-Length.
    ("SMUG-DUPLICATE-CL", Refused, "HEADContent-Length: 5\r\nContent-Length: 10\r\n\r\nhelloworld"),
    ("SMUG-CL-COMMA-SAME", Refused, "HEADContent-Length: 5, 5\r\n\r\nhello"),
    ("SMUG-CL-COMMA-DIFFERENT", Refused, "HEADContent-Length: 5, 10\r\n\r\nhelloworld"),
    ("SMUG-CL-NEGATIVE", Refused, "HEADContent-Length: -1\r\n\r\n"),
    ("SMUG-CL-HEX-PREFIX", Refused, "HEADContent-Length: 0x5\r\n\r\nhello"),
    ("SMUG-CL-OCTAL", Refused, "HEADContent-Length: 0o5\r\n\r\nhello"),
    ("SMUG-CL-INTERNAL-SPACE", Refused, "HEADContent-Length: 0 5\r\n\r\nhello"),
    ("SMUG-CL-LEADING-ZEROS", Forwarded, "HEADContent-Length: 005\r\n\r\nhello"),
    ("SMUG-CL-TRAILING-SPACE", Forwarded, "HEADContent-Length: 5 \r\n\r\nhello"),
    ("SMUG-CL-EXTRA-LEADING-SP", Forwarded, "HEADContent-Length:  5\r\n\r\nhello"),
    ("CVE-2023-40225 (HAProxy)", Refused, "HEADContent-Length:\r\n\r\nhello"),
    // Lines.
    ("SMUG-BARE-CR-HEADER-VALUE", Refused, "HEADX-Test: a\rContent-Length: 5\r\n\r\nhello"),
    ("CVE-2021-22959 (llhttp)", Refused, "HEADContent-Length : 5\r\n\r\nhello"),
    ("CVE-2022-32214 (llhttp)", Refused, "HEADX: y\n\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2023-25725 (HAProxy)", Refused, "HEAD: x\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2023-30589 (llhttp)", Refused, "HEADX: y\rTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    // Chunks.
    ("SMUG-CHUNK-BARE-SEMICOLON", Forwarded, "HEADTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-EXT-LF", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-EXT-CR", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-EXT-CTRL", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5;\0ext\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-HEX-PREFIX", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-UNDERSCORE", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n0_5\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-NEGATIVE", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-LEADING-SP", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-SPILL", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n"),
    ("SMUG-CHUNK-LF-TERM", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    ("SMUG-CHUNK-MISSING-TRAILING-CRLF", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    ("SMUG-CHUNK-LF-TRAILER", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n"),
    ("CVE-2025-22871 (Go)", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    ("CVE-2025-43859 (h11)", Refused, "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
];
