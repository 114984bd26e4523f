//! Public keys as operators have them: PEM, hexadecimal, base64 or raw bytes, of a `SubjectPublicKeyInfo` (RFC 5280
//! section 4.1) or of the bare key.
//!
//! Refused: keys of another algorithm, RSA keys under 2048 or over 8192 bits, and private keys, which a gateway must not
//! have.

use base64::Engine;

use super::codec::LENIENT;
use super::spec::{Algorithm, JwtAlgorithm};

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Kinds of key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ed25519,
    P256,
    Rsa,
}

/// What a key must be, in words.
pub(super) fn expected(algorithm: &Algorithm) -> &'static str {
    match kind(algorithm) {
        Kind::Ed25519 => "an Ed25519 public key (PEM, hex or base64)",
        Kind::P256 => "a P-256 public key (PEM, hex or base64)",
        Kind::Rsa => "an RSA public key of 2048 to 8192 bits (PEM, hex or base64)",
    }
}

/// The key as the algorithm takes it.
pub(super) fn decode(algorithm: &Algorithm, configured: &[u8]) -> Option<Vec<u8>> {
    let kind = kind(algorithm);
    if let Ok(text) = std::str::from_utf8(configured) {
        if let Some((_, rest)) = text.split_once("-----BEGIN ") {
            let (label, rest) = rest.split_once("-----")?;
            let (base64, _) = rest.split_once("-----END ")?;
            let der = LENIENT.decode(without_space(base64)).ok()?;
            return match label {
                "PUBLIC KEY" => of_info(kind, &der),
                "RSA PUBLIC KEY" => bare(kind, &der),
                _ => None,
            };
        }
        let text = without_space(text);
        let decoded =
            [base16ct::mixed::decode_vec(&text).ok(), LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok()];
        if let Some(key) = decoded.into_iter().flatten().find_map(|bytes| any(kind, &bytes)) {
            return Some(key);
        }
    }
    any(kind, configured)
}

/// The kind of key that an algorithm takes.
pub(super) fn kind(algorithm: &Algorithm) -> Kind {
    match algorithm {
        Algorithm::EcdsaP256 => Kind::P256,
        Algorithm::Rsa(_) => Kind::Rsa,
        Algorithm::Jwt(jwt) if jwt.algorithms.contains(&JwtAlgorithm::Es256) => Kind::P256,
        Algorithm::Jwt(_) => Kind::Rsa,
        _ => Kind::Ed25519,
    }
}

fn any(kind: Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    bare(kind, bytes).or_else(|| of_info(kind, bytes))
}

/// A bare key, if it is one.
fn bare(kind: Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    let fits = match kind {
        Kind::Ed25519 => bytes.len() == 32,
        Kind::P256 => bytes.len() == 65 && bytes.first() == Some(&4),
        Kind::Rsa => rsa_bits(bytes).is_some_and(|bits| (2048..=8192).contains(&bits)),
    };
    fits.then(|| bytes.to_vec())
}

/// The key within a `SubjectPublicKeyInfo`.
fn of_info(kind: Kind, der: &[u8]) -> Option<Vec<u8>> {
    let (info, rest) = element(SEQUENCE, der)?;
    let (algorithm, key) = element(SEQUENCE, info)?;
    let (object, parameters) = element(OBJECT_IDENTIFIER, algorithm)?;
    let right = match kind {
        Kind::Ed25519 => object == ED25519,
        Kind::P256 => object == EC && element(OBJECT_IDENTIFIER, parameters)?.0 == P256,
        Kind::Rsa => object == RSA,
    };
    let (key, behind) = element(BIT_STRING, key)?;
    let (unused, key) = key.split_first()?;
    if !right || !rest.is_empty() || !behind.is_empty() || *unused != 0 {
        return None;
    }
    bare(kind, key)
}

/// The size of an `RSAPublicKey` (RFC 8017 appendix A.1.1), if it is one.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (key, rest) = element(SEQUENCE, der)?;
    let (modulus, exponent) = element(INTEGER, key)?;
    let (_, behind) = element(INTEGER, exponent)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = modulus.get(zeros..)?;
    let first = significant.first()?;
    (rest.is_empty() && behind.is_empty()).then(|| significant.len() * 8 - first.leading_zeros() as usize)
}

/// The content of a DER element (X.690 section 8.1) with this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), rest.get(2..)?),
        _ => return None,
    };
    if *found != tag { None } else { rest.split_at_checked(len) }
}

fn without_space(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    const P256_INFO: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

    fn bare_bytes() -> Vec<u8> {
        base16ct::lower::decode_vec(BARE).unwrap()
    }

    #[test]
    fn a_key_is_found_in_whatever_form_the_provider_shows_it() {
        let info = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], &*bare_bytes()].concat();
        let base64 = base64::engine::general_purpose::STANDARD;
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64.encode(&info));
        for text in [
            BARE.to_owned(),
            BARE.to_uppercase(),
            format!("{BARE}\n"),
            base64.encode(bare_bytes()),
            base64.encode(&info),
            base64.encode(bare_bytes()).trim_end_matches('=').to_owned(),
            pem,
        ] {
            assert_eq!(decode(&Algorithm::Ed25519, text.as_bytes()), Some(bare_bytes()), "{text}");
        }
        assert_eq!(decode(&Algorithm::Ed25519, &bare_bytes()), Some(bare_bytes()));
        let p256 = decode(&Algorithm::EcdsaP256, P256_INFO.as_bytes()).unwrap();
        assert_eq!((p256.len(), p256[0]), (65, 4));
    }

    #[test]
    fn a_key_of_another_kind_or_cut_short_is_refused() {
        let rsa = Algorithm::Rsa(super::super::spec::RsaHash::Sha256);
        assert_eq!(decode(&rsa, P256_INFO.as_bytes()), None);
        assert_eq!(decode(&rsa, BARE.as_bytes()), None);
        assert_eq!(decode(&Algorithm::Ed25519, P256_INFO.as_bytes()), None);
        assert_eq!(decode(&Algorithm::Ed25519, &BARE.as_bytes()[2..]), None);
        assert_eq!(decode(&Algorithm::EcdsaP256, &P256_INFO.as_bytes()[..60]), None);
        for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "-----BEGIN ", "hello"] {
            assert_eq!(decode(&Algorithm::Ed25519, text.as_bytes()), None, "{text}");
        }
    }
}
