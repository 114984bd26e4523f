//! Keys that a sender may have used: of other secrets, of secrets with something around them, of secrets taken in
//! another way.

use std::fmt;

use zeroize::Zeroizing;

use super::suspect::Suspect;
use crate::schemes::dirt::{pasted_twice, unquoted, without_label, without_mark, without_written_newline};
use crate::schemes::key::Key;
use crate::schemes::secret::{self, Secret};
use crate::schemes::spec::{Algorithm, Hash, HmacHash, SecretStep, Way};

/// A key with where it comes from.
pub(super) struct Candidate {
    pub(super) key: Key,
    pub(super) origin: Origin,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The route whose secret it is, if that is another one.
    pub(super) route: Option<String>,
    /// The secret's id.
    pub(super) id: String,
    pub(super) around: Option<Around>,
    pub(super) taken: Option<Taken>,
    /// With another hash function than the scheme's.
    pub(super) hash: Option<Hash>,
}

/// What is wrong around a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// The configured one has white space at its ends.
    Space,
    /// The configured one begins with a byte order mark.
    Mark,
    /// The configured one has the name of a variable before it, or `Bearer`.
    Label,
    /// The configured one is in quotes.
    Quotes,
    /// The configured one ends in a newline that is written as a backslash and an n.
    WrittenNewline,
    /// The configured one has line breaks in it.
    Lines,
    /// The configured one has a prefix twice, or that of a signature.
    Prefix,
    /// The sender's ends in a newline.
    Newline,
    /// The sender's ends in CRLF.
    CrLf,
}

/// How the sender made a key of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    AsText,
    FromHex,
    FromBase64,
    FromPrefixedBase64,
    Hashed,
}

impl Taken {
    const ALL: [Self; 5] = [Self::AsText, Self::FromHex, Self::FromBase64, Self::FromPrefixedBase64, Self::Hashed];

    fn steps(self) -> Vec<SecretStep> {
        match self {
            Self::AsText => Vec::new(),
            Self::FromHex => vec![SecretStep::Hex],
            Self::FromBase64 => vec![SecretStep::Base64],
            Self::FromPrefixedBase64 => vec![SecretStep::Require("whsec_".to_owned()), SecretStep::Base64],
            Self::Hashed => vec![SecretStep::Hash(Hash::Sha256)],
        }
    }
}

impl Around {
    const ALL: [Self; 9] = [
        Self::Space,
        Self::Mark,
        Self::Label,
        Self::Quotes,
        Self::WrittenNewline,
        Self::Lines,
        Self::Prefix,
        Self::Newline,
        Self::CrLf,
    ];

    /// The sender's secret, if the configured one can have this around it.
    fn taken_off(self, secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let text = secret.trim_ascii();
        let other = match self {
            Self::Space => text.to_vec(),
            Self::Mark => without_mark(text)?.to_vec(),
            Self::Label => without_label(text)?.to_vec(),
            Self::Quotes => unquoted(text)?.to_vec(),
            Self::WrittenNewline => without_written_newline(text)?.to_vec(),
            Self::Lines => text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect(),
            Self::Prefix => pasted_twice(text)?.to_vec(),
            Self::Newline => [secret, b"\n"].concat(),
            Self::CrLf => [secret, b"\r\n"].concat(),
        };
        (other != secret).then(|| other.into())
    }
}

/// The keys of a route's secrets as the scheme makes them.
pub(super) fn own(way: &Way, route: &Suspect<'_>) -> Vec<Candidate> {
    let secrets = route.secrets.iter().zip(route.ids);
    secrets.filter_map(|(secret, id)| candidate(way, &way.secret, secret, Origin::of(id))).collect()
}

/// The keys of a route's secrets as they could have been meant.
pub(super) fn odd(way: &Way, route: &Suspect<'_>) -> Vec<Candidate> {
    if !is_symmetric(&way.algorithm) {
        return Vec::new();
    }
    let mut keys = Vec::new();
    for (secret, id) in route.secrets.iter().zip(route.ids) {
        let steps = |taken: Option<Taken>| taken.map_or_else(|| way.secret.to_vec(), Taken::steps);
        let taken = || [None].into_iter().chain(Taken::ALL.map(Some));
        let arounds = [None].into_iter().chain(Around::ALL.map(Some));
        for around in arounds {
            let text: Option<Secret> = match around {
                None => Some(secret.clone()),
                Some(around) => around.taken_off(secret.expose()).map(|text| text.to_vec().into()),
            };
            let Some(text) = text else { continue };
            for taken in taken().filter(|taken| taken.is_some() || around.is_some()) {
                let origin = Origin { around, taken, ..Origin::of(id) };
                keys.extend(candidate(way, &steps(taken), &text, origin));
            }
        }
    }
    keys
}

/// The keys of a route's secrets with the hash functions that are not the scheme's.
pub(super) fn other_hashes(way: &Way, route: &Suspect<'_>) -> Vec<Candidate> {
    let others = |own: Hash| HmacHash::ALL.into_iter().filter(move |hash| Hash::from(*hash) != own);
    let algorithms: Vec<(Hash, Algorithm)> = match way.algorithm {
        Algorithm::Hmac(own) => others(own.into()).map(|hash| (hash.into(), Algorithm::Hmac(hash))).collect(),
        Algorithm::Hash(own) => others(own).map(|hash| (hash.into(), Algorithm::Hash(hash.into()))).collect(),
        _ => Vec::new(),
    };
    let mut keys = Vec::new();
    for (hash, algorithm) in &algorithms {
        for (secret, id) in route.secrets.iter().zip(route.ids) {
            let Ok(key) = secret::derive(&way.secret, algorithm, secret) else { continue };
            let origin = Origin { hash: Some(*hash), ..Origin::of(id) };
            keys.push(Candidate { key: Key::new(algorithm, &key), origin });
        }
    }
    keys
}

/// The keys of other routes' secrets, made as this scheme makes them.
pub(super) fn foreign(way: &Way, others: &[Suspect<'_>]) -> Vec<Candidate> {
    let keys = others.iter().flat_map(|other| {
        own(way, other).into_iter().map(|mut key| {
            key.origin.route = Some(other.route.to_owned());
            key
        })
    });
    keys.collect()
}

fn candidate(way: &Way, steps: &[SecretStep], secret: &Secret, origin: Origin) -> Option<Candidate> {
    let key = secret::derive(steps, &way.algorithm, secret).ok()?;
    Some(Candidate { key: Key::new(&way.algorithm, &key), origin })
}

fn is_symmetric(algorithm: &Algorithm) -> bool {
    match algorithm {
        Algorithm::Hmac(_) | Algorithm::Hash(_) | Algorithm::Token => true,
        Algorithm::Jwt(jwt) => jwt.algorithms.iter().all(|algorithm| algorithm.is_symmetric()),
        Algorithm::Ed25519 | Algorithm::EcdsaP256 | Algorithm::Rsa(_) => false,
    }
}

impl Origin {
    fn of(id: &str) -> Self {
        Self { route: None, id: id.to_owned(), around: None, taken: None, hash: None }
    }
}

impl fmt::Display for Around {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Space => "the configured one has white space (or a newline) around it that does not belong to it",
            Self::Mark => "the configured one begins with a byte order mark that does not belong to it",
            Self::Label => "the configured one has a name or a word before it that does not belong to it",
            Self::Quotes => "the configured one is in quotes that do not belong to it",
            Self::WrittenNewline => "the configured one ends in a backslash and an n, which were meant as a newline",
            Self::Lines => "the configured one has a line break in it that does not belong to it",
            Self::Prefix => "the configured one has a prefix before whsec_ that does not belong to it",
            Self::Newline => "the sender's ends in a newline, which the configured one lacks",
            Self::CrLf => "the sender's ends in CRLF, which the configured one lacks",
        })
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsText => "as text, as it is",
            Self::FromHex => "decoded from hexadecimal",
            Self::FromBase64 => "decoded from base64",
            Self::FromPrefixedBase64 => "without whsec_ and decoded from base64",
            Self::Hashed => "as its SHA-256",
        })
    }
}
