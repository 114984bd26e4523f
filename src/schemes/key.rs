//! Keys, which sign content and check signatures.
//!
//! A [`Key`] is set up once, when the configuration is loaded. For HMAC it holds the state after the key's block, which a
//! request clones instead of hashing the key again. A comparison takes the same time wherever two digests differ. Timing
//! can reveal which of several secrets matched and the length of the content. Tokens are compared by their hashes, so
//! timing does not reveal their length.
//!
//! See RFC 2104 (HMAC), FIPS 180-4 (SHA), RFC 8032 (Ed25519), RFC 8017 (RSA).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::codec::Digest;
use super::content::{Content, joined};
use super::hash::hash;
use super::spec::{Algorithm, Hash, HmacHash, JwtAlgorithm, RsaHash};
use crate::crypto::signature::{self as asymmetric, UnparsedPublicKey, VerificationAlgorithm};

/// An algorithm with its key.
#[derive(Clone)]
pub(super) enum Key {
    HmacMd5(Hmac<Md5>),
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
    HmacSha384(Hmac<Sha384>),
    HmacSha512(Hmac<Sha512>),
    /// A plain hash, with the secret as one piece of the content.
    Hash(Hash, Zeroizing<Vec<u8>>),
    /// The secret, and its hash.
    Token(Zeroizing<Vec<u8>>, Digest),
    Public(UnparsedPublicKey<Vec<u8>>),
    /// One for each algorithm that a token may name.
    Jwt(Vec<(JwtAlgorithm, Key)>),
}

/// The length of a signature in bytes, if the algorithm fixes it.
pub(super) fn signature_len(algorithm: &Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::Hmac(hash) => Some(Hash::from(*hash).len()),
        Algorithm::Hash(hash) => Some(hash.len()),
        Algorithm::Ed25519 => Some(64),
        Algorithm::EcdsaP256 | Algorithm::Rsa(_) | Algorithm::Token | Algorithm::Jwt(_) => None,
    }
}

impl Key {
    pub(super) fn new(algorithm: &Algorithm, key: &[u8]) -> Self {
        match algorithm {
            Algorithm::Hmac(hash) => Self::hmac(*hash, key),
            Algorithm::Hash(hash) => Self::Hash(*hash, key.to_vec().into()),
            Algorithm::Ed25519 => Self::public(&asymmetric::ED25519, key),
            Algorithm::EcdsaP256 => Self::public(&asymmetric::ECDSA_P256_SHA256_ASN1, key),
            Algorithm::Rsa(hash) => Self::public(rsa(*hash), key),
            Algorithm::Token => Self::Token(key.to_vec().into(), hash(Hash::Sha256, [key])),
            Algorithm::Jwt(jwt) => {
                let keys = jwt.algorithms.iter().map(|algorithm| (*algorithm, Self::jwt(*algorithm, key)));
                Self::Jwt(keys.collect())
            }
        }
    }

    fn hmac(hash: HmacHash, key: &[u8]) -> Self {
        match hash {
            HmacHash::Md5 => Self::HmacMd5(keyed(key)),
            HmacHash::Sha1 => Self::HmacSha1(keyed(key)),
            HmacHash::Sha256 => Self::HmacSha256(keyed(key)),
            HmacHash::Sha384 => Self::HmacSha384(keyed(key)),
            HmacHash::Sha512 => Self::HmacSha512(keyed(key)),
        }
    }

    fn jwt(algorithm: JwtAlgorithm, key: &[u8]) -> Self {
        match algorithm {
            JwtAlgorithm::Hs256 => Self::hmac(HmacHash::Sha256, key),
            JwtAlgorithm::Hs384 => Self::hmac(HmacHash::Sha384, key),
            JwtAlgorithm::Hs512 => Self::hmac(HmacHash::Sha512, key),
            JwtAlgorithm::Rs256 => Self::public(rsa(RsaHash::Sha256), key),
            JwtAlgorithm::Rs512 => Self::public(rsa(RsaHash::Sha512), key),
            JwtAlgorithm::Es256 => Self::public(&asymmetric::ECDSA_P256_SHA256_FIXED, key),
        }
    }

    fn public(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Self {
        Self::Public(UnparsedPublicKey::new(algorithm, key.to_vec()))
    }

    /// The signature of the content under this key. `None` for a public key, which cannot sign.
    pub(super) fn sign(&self, content: &Content<'_>) -> Option<Digest> {
        Some(match self {
            Self::HmacMd5(state) => digest(state, content),
            Self::HmacSha1(state) => digest(state, content),
            Self::HmacSha256(state) => digest(state, content),
            Self::HmacSha384(state) => digest(state, content),
            Self::HmacSha512(state) => digest(state, content),
            Self::Hash(algorithm, secret) => hash(*algorithm, content.iter().map(|piece| piece.or_secret(secret))),
            Self::Token(secret, _) => Digest::from_slice(secret),
            Self::Public(_) | Self::Jwt(_) => return None,
        })
    }

    /// Whether one of the candidates is the content's signature under this key. All digests are compared, also after
    /// a match.
    pub(super) fn accepts(&self, candidates: &[Digest], content: &Content<'_>) -> bool {
        let same = |expected: &Digest, found: Choice, candidate: &Digest| {
            found | candidate.as_bytes().ct_eq(expected.as_bytes())
        };
        match self {
            Self::Public(key) => {
                let message = joined(content);
                candidates.iter().any(|candidate| key.verify(&message, candidate.as_bytes()).is_ok())
            }
            Self::Token(_, expected) => {
                let candidates = candidates.iter().map(|candidate| hash(Hash::Sha256, [candidate.as_bytes()]));
                candidates.fold(Choice::from(0), |found, candidate| same(expected, found, &candidate)).into()
            }
            Self::Jwt(_) => false,
            _ => match self.sign(content) {
                Some(expected) => {
                    candidates.iter().fold(Choice::from(0), |found, candidate| same(&expected, found, candidate)).into()
                }
                None => false,
            },
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(redacted)")
    }
}

fn rsa(hash: RsaHash) -> &'static dyn VerificationAlgorithm {
    match hash {
        RsaHash::Sha1 => &asymmetric::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        RsaHash::Sha256 => &asymmetric::RSA_PKCS1_2048_8192_SHA256,
        RsaHash::Sha384 => &asymmetric::RSA_PKCS1_2048_8192_SHA384,
        RsaHash::Sha512 => &asymmetric::RSA_PKCS1_2048_8192_SHA512,
    }
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104 section 2)")
}

fn digest<M: Mac + Clone>(state: &M, content: &Content<'_>) -> Digest {
    let mut mac = state.clone();
    for piece in content {
        mac.update(piece.or_secret(&[]));
    }
    Digest::from_slice(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests;
