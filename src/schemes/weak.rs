//! Secrets that an attacker could know or guess.
//!
//! A weak secret gets a warning and is not refused: the provider signs with it, so without it the route would refuse every
//! delivery. Public keys and user names are not secrets.

use std::collections::HashSet;
use std::sync::OnceLock;

use serde::Deserialize;

use super::catalogue::{names, vectors};
use super::secret::{self, Secret};
use super::spec::{Algorithm, SecretStep, Spec, Way};

/// The shortest key without a warning, in bytes: 2^128 attempts would be needed (RFC 2104 section 3 recommends more).
const SHORTEST: usize = 16;

/// Common placeholders for a secret: lower-case letters only, without digits at the end.
const SAMPLES: [&str; 70] = [
    "a",
    "abc",
    "abcdef",
    "admin",
    "amadeupsecret",
    "anothersecret",
    "apikey",
    "bar",
    "changeit",
    "changeme",
    "changethis",
    "clientsecret",
    "default",
    "demo",
    "dev",
    "development",
    "dummy",
    "example",
    "examplesecret",
    "fixme",
    "foo",
    "foobar",
    "hello",
    "helloworld",
    "hook",
    "hooklatch",
    "hunter",
    "insertsecrethere",
    "itsasecrettoeverybody",
    "key",
    "letmein",
    "mykey",
    "mysecret",
    "mysecretkey",
    "mysecrettoken",
    "mytoken",
    "mywebhooksecret",
    "none",
    "null",
    "passphrase",
    "passwd",
    "password",
    "placeholder",
    "please",
    "pleasechange",
    "qwerty",
    "replaceme",
    "sample",
    "secret",
    "secretkey",
    "secrettoken",
    "sharedsecret",
    "signingkey",
    "signingsecret",
    "supersecret",
    "test",
    "testing",
    "testkey",
    "testsecret",
    "testtoken",
    "todo",
    "token",
    "topsecret",
    "undefined",
    "webhook",
    "webhooksecret",
    "yourkey",
    "yoursecret",
    "yoursecretkey",
    "yourwebhooksecret",
];

/// Why a secret is weak. The texts do not contain the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// It stands for the provider's secret, which is not there yet.
    #[error(
        "is the placeholder that `hooklatch init` wrote: every delivery is refused until the provider's is in its place"
    )]
    Placeholder,
    /// It is a common word, or an example of a provider's documentation.
    #[error("is a well-known sample value: anyone can sign with it")]
    Sample,
    /// It is one repeated character, or digits in order.
    #[error("is one character, or a run of digits, repeated: it can be guessed")]
    Pattern,
    /// It is short.
    #[error("is {0} bytes long once decoded: less than {SHORTEST} can be guessed from a captured delivery")]
    Short(usize),
}

impl Spec {
    /// Why this secret is weak for this scheme; `None` if it is not.
    pub fn weakness(&self, secret: &Secret) -> Option<Weakness> {
        if self.is_placeholder(secret) {
            return Some(Weakness::Placeholder);
        }
        let shown = self.vectors.iter().any(|vector| vector.secret.as_bytes() == secret.expose());
        let weakness = |way: &Way| if shown { Some(Weakness::Sample) } else { way.weakness(secret) };
        self.ways.iter().filter(|way| is_secret(&way.algorithm)).find_map(weakness)
    }
}

impl Way {
    fn weakness(&self, secret: &Secret) -> Option<Weakness> {
        // A hash of the secret is no better than the secret.
        let steps: Vec<SecretStep> =
            self.secret.iter().take_while(|step| !matches!(step, SecretStep::Hash(_))).cloned().collect();
        let key = secret::derive(&steps, &self.algorithm, secret).ok()?;
        let key = match (self.secret.contains(&SecretStep::UserPassword), key.iter().position(|byte| *byte == b':')) {
            (true, Some(colon)) => key.get(colon + 1..).unwrap_or_default(),
            _ => &key,
        };
        if is_sample(secret.expose()) || is_sample(key) {
            Some(Weakness::Sample)
        } else if is_pattern(key) {
            Some(Weakness::Pattern)
        } else {
            (key.len() < SHORTEST).then_some(Weakness::Short(key.len()))
        }
    }
}

/// Whether the configured value must be kept secret.
pub(super) fn is_secret(algorithm: &Algorithm) -> bool {
    match algorithm {
        Algorithm::Hmac(_) | Algorithm::Hash(_) | Algorithm::Token => true,
        Algorithm::Jwt(jwt) => jwt.algorithms.iter().all(|algorithm| algorithm.is_symmetric()),
        Algorithm::Ed25519 | Algorithm::EcdsaP256 | Algorithm::Rsa(_) => false,
    }
}

fn is_sample(text: &[u8]) -> bool {
    let plain: Vec<u8> = text.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    let digits = plain.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let word = plain.get(..plain.len() - digits).unwrap_or_default();
    SAMPLES.iter().any(|sample| sample.as_bytes() == word) || published().contains(text)
}

fn is_pattern(key: &[u8]) -> bool {
    let repeats = key.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    let counts = |pair: &[u8]| matches!(pair, [a @ b'0'..=b'9', b @ b'0'..=b'9'] if (a - b'0' + 1) % 10 == b - b'0');
    repeats || key.windows(2).all(counts)
}

/// The secrets of providers' documentation and tests.
fn published() -> &'static HashSet<Vec<u8>> {
    #[derive(Deserialize)]
    struct Vector {
        secret: String,
    }
    static PUBLISHED: OnceLock<HashSet<Vec<u8>>> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let all = names().filter_map(vectors).filter_map(|json| serde_json::from_str::<Vec<Vector>>(json).ok());
        all.flatten().map(|vector| vector.secret.into_bytes()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::find;

    fn weakness(scheme: &str, secret: &str) -> Option<Weakness> {
        find(scheme).unwrap().weakness(&secret.as_bytes().to_vec().into())
    }

    #[test]
    fn sixteen_bytes_after_decoding_are_the_least() {
        for (scheme, weak, good) in [
            ("civo", "k3jd93kd02ka9s8", "k3jd93kd02ka9s8e"),
            ("standard-webhooks", "whsec_azNqZDkza2QwMmthOXM4", "whsec_azNqZDkza2QwMmthOXM4ZQ=="),
            ("adyen-platform", "6b336a6439336b6430326b61397338", "6b336a6439336b6430326b6139733865"),
            ("braintree", "k3jd93kd02ka9s8", "k3jd93kd02ka9s8e"),
            ("gitlab", "k3jd93kd02ka9s8", "k3jd93kd02ka9s8e"),
            ("basic-auth", "a-long-name-of-a-user:k3jd93kd02ka9s8", "u:k3jd93kd02ka9s8e"),
        ] {
            assert_eq!(weakness(scheme, weak), Some(Weakness::Short(15)), "{scheme}");
            assert_eq!(weakness(scheme, good), None, "{scheme}");
        }
    }

    #[test]
    fn samples_are_known_however_they_are_written() {
        for secret in [
            "secret",
            "Secret",
            "test-secret-1234567890",
            "changeme",
            "CHANGE_ME",
            "your-webhook-secret",
            "It's a Secret to Everybody",
            "DfeFUON8gorc5Zj0hk4GT1M9QImnRL6J",
            "hunter123",
            "password",
        ] {
            assert_eq!(weakness("civo", secret), Some(Weakness::Sample), "{secret}");
        }
        assert_eq!(weakness("basic-auth", "admin:changeme"), Some(Weakness::Sample));
        assert_eq!(weakness("basic-auth", "admin:k3jd93kd02ka9s8e"), None, "a user name is no secret");
        assert_eq!(weakness("civo", "secretariat-of-the-united"), None);
    }

    #[test]
    fn patterns_are_known_at_any_length() {
        for secret in ["a".repeat(40), "0".repeat(32), "12345678901234567890".to_owned(), "x".to_owned()] {
            assert_eq!(weakness("civo", &secret), Some(Weakness::Pattern), "{secret}");
        }
    }

    #[test]
    fn public_keys_are_no_secrets() {
        let key = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
        assert_eq!(weakness("discord", key), None, "although it stands in a test of the provider's");
    }

    #[test]
    fn samples_are_as_they_are_compared() {
        for sample in SAMPLES {
            assert!(is_sample(sample.as_bytes()), "{sample}");
        }
    }
}
