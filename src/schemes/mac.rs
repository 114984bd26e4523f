//! Keyed signature algorithms.
//!
//! A [`Key`] is set up once, when the configuration is loaded: for HMAC that is the state after the key's block, which
//! a request clones instead of hashing the key again. Comparison takes the same time wherever two digests differ; which
//! of several secrets matched, and the length of the content, are not hidden.
//!
//! See RFC 2104 (HMAC) and FIPS 180-4 (SHA-1, SHA-256).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use smallvec::SmallVec;
use subtle::{Choice, ConstantTimeEq};

use super::content::Content;
use super::spec::{Algorithm, Hash};

/// A digest: either one that a sender claims or one computed here. It has no `PartialEq`, so that nothing compares it
/// in variable time by accident.
#[derive(Clone)]
pub(super) struct Digest(SmallVec<[u8; 32]>);

impl Digest {
    pub(super) fn from_slice(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An algorithm with its key.
#[derive(Clone)]
pub(super) enum Key {
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
}

/// The length of a signature, in bytes.
pub(super) fn digest_len(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hmac(Hash::Sha1) => 20,
        Algorithm::Hmac(Hash::Sha256) => 32,
    }
}

impl Key {
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        match algorithm {
            Algorithm::Hmac(Hash::Sha1) => Self::HmacSha1(keyed(key)),
            Algorithm::Hmac(Hash::Sha256) => Self::HmacSha256(keyed(key)),
        }
    }

    /// The signature of the content under this key.
    pub(super) fn sign(&self, content: &Content<'_>) -> Digest {
        match self {
            Self::HmacSha1(state) => digest(state, content),
            Self::HmacSha256(state) => digest(state, content),
        }
    }

    /// Whether one of the candidates is the content's signature under this key. All of them are compared, whatever the
    /// first ones gave.
    pub(super) fn accepts(&self, candidates: &[Digest], content: &Content<'_>) -> bool {
        let expected = self.sign(content);
        let matches = |found, candidate: &Digest| found | candidate.as_bytes().ct_eq(expected.as_bytes());
        candidates.iter().fold(Choice::from(0), matches).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(redacted)")
    }
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104 section 2)")
}

fn digest<M: Mac + Clone>(state: &M, content: &Content<'_>) -> Digest {
    let mut mac = state.clone();
    for slice in content {
        mac.update(slice);
    }
    Digest::from_slice(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    const RFC_TEXT: &[u8] = b"what do ya want for nothing?";

    fn hex(digest: &Digest) -> String {
        base16ct::lower::encode_string(digest.as_bytes())
    }

    #[test]
    fn the_vectors_of_rfc_2202_and_rfc_4231_come_out() {
        let sha1 = Key::new(Algorithm::Hmac(Hash::Sha1), b"Jefe");
        assert_eq!(hex(&sha1.sign(&smallvec![RFC_TEXT.into()])), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let sha256 = Key::new(Algorithm::Hmac(Hash::Sha256), b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&sha256.sign(&smallvec![RFC_TEXT.into()])), expected);
    }

    #[test]
    fn a_key_longer_than_a_block_is_hashed_first_as_rfc_4231_case_6_has_it() {
        let key = Key::new(Algorithm::Hmac(Hash::Sha256), &[0xaa; 131]);
        let content = smallvec![b"Test Using Larger Than Block-Size Key - Hash Key First".as_slice().into()];
        assert_eq!(hex(&key.sign(&content)), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn slices_are_fed_in_order_with_nothing_between() {
        let key = Key::new(Algorithm::Hmac(Hash::Sha256), b"Jefe");
        let split: Content<'_> = RFC_TEXT.chunks(5).map(Into::into).collect();
        assert_eq!(hex(&key.sign(&split)), hex(&key.sign(&smallvec![RFC_TEXT.into()])));
    }

    #[test]
    fn any_of_several_candidates_may_match() {
        let key = Key::new(Algorithm::Hmac(Hash::Sha1), b"key");
        let content = smallvec![RFC_TEXT.into()];
        let right = key.sign(&content);
        let wrong = Digest::from_slice(&[0; 20]);
        assert!(key.accepts(&[wrong.clone(), right.clone()], &content));
        assert!(key.accepts(&[right.clone(), wrong.clone()], &content));
        assert!(!key.accepts(&[wrong], &content));
        assert!(!key.accepts(&[], &content));
        assert!(!key.accepts(&[Digest::from_slice(&right.as_bytes()[..19])], &content), "a shortened digest");
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", Key::new(Algorithm::Hmac(Hash::Sha1), b"canary")), "Key(redacted)");
    }

    #[test]
    fn the_length_of_a_digest_is_that_of_what_is_computed() {
        for hash in [Hash::Sha1, Hash::Sha256] {
            let algorithm = Algorithm::Hmac(hash);
            let digest = Key::new(algorithm, b"key").sign(&smallvec![]);
            assert_eq!(digest.as_bytes().len(), digest_len(algorithm));
        }
    }
}
