//! The words about algorithms: how a signature is made from key and content, and a key from a secret.

use serde::Deserialize;

use super::signature::Encoding;
use super::words::OneOrMany;

/// An algorithm that makes a signature from key and content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// `{ hmac: HASH }`: HMAC (RFC 2104), all of its output.
    Hmac(HmacHash),
    /// `{ hash: HASH }`: the hash of the content, in which the secret is one part.
    Hash(Hash),
    /// `ed25519` (RFC 8032); the secret is a public key.
    Ed25519,
    /// `ecdsa_p256`: ECDSA over P-256 with SHA-256 and a signature in DER; the secret is a public key.
    EcdsaP256,
    /// `{ rsa: HASH }`: RSASSA-PKCS1-v1_5 (RFC 8017) with a key of 2048 to 8192 bits; the secret is a public key.
    Rsa(RsaHash),
    /// `token`: no signature at all, the secret itself is sent. Covers nothing.
    Token,
    /// `{ jwt: … }`: a JSON web token (RFC 7519) in compact form.
    Jwt(Jwt),
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// MD5 (RFC 1321). Broken for collisions; only as a digest of the body and within HMAC.
    Md5,
    /// SHA-1 (FIPS 180-4). Broken for collisions, which HMAC does not rest on.
    Sha1,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// Keccak-256 as Ethereum has it, which is not SHA3-256. Not within HMAC.
    #[serde(rename = "keccak256")]
    Keccak256,
}

impl Hash {
    /// The length of its output, in bytes.
    pub fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Keccak256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Whether the hash of a longer text can be made from that of its beginning.
    pub fn is_extensible(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha512)
    }

    /// Never.
    pub fn is_empty(self) -> bool {
        false
    }
}

/// A hash function that HMAC is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacHash {
    /// See [`Hash::Md5`].
    Md5,
    /// See [`Hash::Sha1`].
    Sha1,
    /// See [`Hash::Sha256`].
    Sha256,
    /// See [`Hash::Sha384`].
    Sha384,
    /// See [`Hash::Sha512`].
    Sha512,
}

impl HmacHash {
    /// All of them, the most common first.
    pub(in crate::schemes) const ALL: [Self; 5] = [Self::Sha256, Self::Sha1, Self::Sha512, Self::Sha384, Self::Md5];
}

impl From<HmacHash> for Hash {
    fn from(hash: HmacHash) -> Self {
        match hash {
            HmacHash::Md5 => Self::Md5,
            HmacHash::Sha1 => Self::Sha1,
            HmacHash::Sha256 => Self::Sha256,
            HmacHash::Sha384 => Self::Sha384,
            HmacHash::Sha512 => Self::Sha512,
        }
    }
}

/// A hash function that RSA signatures are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RsaHash {
    /// See [`Hash::Sha1`].
    Sha1,
    /// See [`Hash::Sha256`].
    Sha256,
    /// See [`Hash::Sha384`].
    Sha384,
    /// See [`Hash::Sha512`].
    Sha512,
}

impl From<RsaHash> for Hash {
    fn from(hash: RsaHash) -> Self {
        match hash {
            RsaHash::Sha1 => Self::Sha1,
            RsaHash::Sha256 => Self::Sha256,
            RsaHash::Sha384 => Self::Sha384,
            RsaHash::Sha512 => Self::Sha512,
        }
    }
}

/// A JSON web token and its required claims.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The algorithms that a token may name (RFC 7518 section 3.1); all of one kind of key. Others are malformed.
    pub algorithms: Vec<JwtAlgorithm>,
    /// The required claims. A claim about the body binds the body to the token.
    #[serde(default)]
    pub claims: Vec<ClaimRule>,
    /// Which of `exp`, `nbf` and `iat` must be there. Each one that a token has is checked in any case.
    #[serde(default)]
    pub times: Vec<TimeClaim>,
    /// How far the clocks may be apart, in seconds, unless the route sets a tolerance. Default 60.
    #[serde(default = "minute")]
    pub tolerance_seconds: u32,
    /// Whether a token whose `iat` is older than the tolerance is stale. Default false.
    #[serde(default)]
    pub iat_expires: bool,
}

impl Jwt {
    /// Whether a claim is the body's digest.
    pub(in crate::schemes) fn ties_body(&self) -> bool {
        self.claims.iter().any(|rule| matches!(rule.is, ClaimValue::BodyDigest(_)))
    }
}

/// An algorithm that a token may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256; the secret is a public key.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-512; the secret is a public key.
    Rs512,
    /// ECDSA over P-256 with SHA-256; the secret is a public key.
    Es256,
}

impl JwtAlgorithm {
    /// The name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
        }
    }

    /// Whether the secret is a shared key, and not a public key.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// A time in a token (RFC 7519 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeClaim {
    /// When it ends.
    Exp,
    /// When it begins.
    Nbf,
    /// When it was made.
    Iat,
}

/// What one claim must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// The claim's name.
    pub name: String,
    /// What it must be.
    pub is: ClaimValue,
    /// Whether it must be absent when the body is empty, and be there when it is not. Default false: always there.
    #[serde(default)]
    pub only_with_body: bool,
}

/// What a claim must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimValue {
    /// `{ text: T }`: this text.
    Text(String),
    /// `{ parameter: NAME }`: the text of a route's parameter.
    Parameter(String),
    /// `{ body_digest: { hash: sha256, encoding: hex } }`: the body's digest.
    BodyDigest(DigestOf),
    /// `{ url_digest: { hash: sha256, encoding: hex } }`: the digest of the public URL.
    UrlDigest(DigestOf),
    /// `url`: the public URL.
    Url,
    /// `id`: any text that is not empty; the provider makes another one for each token.
    Id,
}

/// A digest as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestOf {
    /// The hash function.
    pub hash: Hash,
    /// How its output is written. Several: any of them; the first is the one that we write.
    pub encoding: OneOrMany<Encoding>,
}

/// One step from the configured secret to the key. Steps are taken in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretStep {
    /// `utf8`: the value must be UTF-8 text; it is unchanged.
    Utf8,
    /// `base64`: the value is decoded; either alphabet, with or without padding.
    Base64,
    /// `hex`: the value is decoded, in upper or lower case.
    Hex,
    /// `{ strip: whsec_ }`: this text at the start is taken off, if it is there. A `*` in it stands for one or more
    /// letters and digits: `signkey-*-`.
    Strip(String),
    /// `{ require: whsec_ }`: this text at the start is taken off and must be there.
    Require(String),
    /// `{ refuse: whsec_ }`: this text must not be at the start.
    Refuse(String),
    /// `{ after: ":" }`: the part after the first occurrence of this text, which is required.
    After(String),
    /// `{ hash: sha1 }`: the raw digest of the value.
    Hash(Hash),
    /// `nfkd`: the text is put into Unicode's normalisation form KD.
    Nfkd,
    /// `user_password`: the value must be `USER:PASSWORD`; it is unchanged.
    UserPassword,
    /// `public_key`: PEM, hexadecimal, base64 or raw bytes of a public key: a `SubjectPublicKeyInfo` (RFC 5280 section
    /// 4.1), or the bare key.
    PublicKey,
}

fn minute() -> u32 {
    60
}
