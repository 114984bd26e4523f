//! From the configured secret to the key, step by step, when the configuration is loaded.
//!
//! Operators paste secrets from dashboards, so decoding is lenient: either alphabet of base64, with or without padding. No
//! value of a request is decoded here.

use std::fmt;

use base64::Engine;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::codec::LENIENT;
use super::error::SchemeError;
use super::hash::hash;
use super::public_key;
use super::spec::{Algorithm, SecretStep};

/// A secret as configured. It is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret's bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether the secret is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

/// The key that the steps make of a secret.
pub(super) fn derive(
    steps: &[SecretStep],
    algorithm: &Algorithm,
    secret: &Secret,
) -> Result<Zeroizing<Vec<u8>>, SchemeError> {
    if secret.is_empty() {
        return Err(SchemeError::EmptySecret);
    }
    let mut key = Zeroizing::new(secret.expose().to_vec());
    for step in steps {
        key = take(step, algorithm, key)?;
    }
    if key.is_empty() { Err(SchemeError::EmptySecret) } else { Ok(key) }
}

fn take(step: &SecretStep, algorithm: &Algorithm, key: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, SchemeError> {
    let not = |expected: &str| SchemeError::UndecodableSecret { expected: expected.to_owned() };
    let without = |start: usize| Zeroizing::new(key.get(start..).unwrap_or_default().to_vec());
    Ok(match step {
        SecretStep::Utf8 => {
            std::str::from_utf8(&key).map_err(|_| not("UTF-8 text"))?;
            key
        }
        SecretStep::Nfkd => {
            let text = std::str::from_utf8(&key).map_err(|_| not("UTF-8 text"))?;
            text.nfkd().collect::<String>().into_bytes().into()
        }
        SecretStep::Base64 => {
            let standard: Zeroizing<Vec<u8>> = Zeroizing::new(
                key.iter()
                    .map(|byte| match byte {
                        b'-' => b'+',
                        b'_' => b'/',
                        byte => *byte,
                    })
                    .collect(),
            );
            LENIENT.decode(&*standard).map_err(|_| not("base64"))?.into()
        }
        SecretStep::Hex => base16ct::mixed::decode_vec(&*key).map_err(|_| not("hexadecimal"))?.into(),
        SecretStep::Strip(prefix) => match prefix_len(prefix, &key) {
            Some(len) => without(len),
            None => key,
        },
        SecretStep::Require(prefix) => {
            without(prefix_len(prefix, &key).ok_or_else(|| not(&format!("a secret that begins with {prefix}")))?)
        }
        SecretStep::Refuse(prefix) => match prefix_len(prefix, &key) {
            Some(_) => return Err(not(&format!("a secret without {prefix} at the start"))),
            None => key,
        },
        SecretStep::After(mark) => {
            let at = key.windows(mark.len().max(1)).position(|window| window == mark.as_bytes());
            without(at.ok_or_else(|| not(&format!("a secret with {mark} in it")))? + mark.len())
        }
        SecretStep::Hash(function) => hash(*function, [&**key]).as_bytes().to_vec().into(),
        SecretStep::UserPassword if key.contains(&b':') => key,
        SecretStep::UserPassword => return Err(not("USER:PASSWORD")),
        SecretStep::PublicKey => {
            public_key::decode(algorithm, &key).ok_or_else(|| not(public_key::expected(algorithm)))?.into()
        }
    })
}

/// The length of the prefix, if the key has it. A `*` stands for one or more letters and digits.
fn prefix_len(prefix: &str, key: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (position, text) in prefix.split('*').enumerate() {
        if position > 0 {
            let rest = key.get(at..)?;
            let wild = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            at += if wild == 0 { return None } else { wild };
        }
        key.get(at..)?.strip_prefix(text.as_bytes())?;
        at += text.len();
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::spec::{Hash, HmacHash};

    fn key(steps: &[SecretStep], secret: &str) -> Result<Vec<u8>, String> {
        let secret = Secret::from(secret.as_bytes().to_vec());
        let key = derive(steps, &Algorithm::Hmac(HmacHash::Sha256), &secret);
        key.map(|key| key.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_step_makes_of_a_secret_what_its_provider_does() {
        use SecretStep::{After, Base64, Hash as Hashed, Hex, Nfkd, Require, Strip, UserPassword, Utf8};
        let text = |text: &str| text.to_owned();
        for (steps, secret, expected) in [
            (vec![Utf8], "s\u{e9}cret", "s\u{e9}cret".as_bytes()),
            (vec![Nfkd], "s\u{e9}cret", "se\u{301}cret".as_bytes()),
            (vec![Strip(text("whsec_")), Base64], "whsec_AQID", &[1, 2, 3]),
            (vec![Strip(text("whsec_")), Base64], "AQID", &[1, 2, 3]),
            (vec![Strip(text("v1,")), Strip(text("whsec_")), Base64], "v1,whsec_AQI=", &[1, 2]),
            (vec![Base64], "AQI", &[1, 2]),
            (vec![Base64], "-_8", &[0xfb, 0xff]),
            (vec![Hex], "0aFF", &[10, 255]),
            (vec![Strip(text("signkey-*-"))], "signkey-test-12345678", b"12345678"),
            (vec![Strip(text("signkey-*-"))], "signkey--12345678", b"signkey--12345678"),
            (vec![Require(text("k_"))], "k_1", b"1"),
            (vec![After(text(":"))], "app.id:se:cret", b"se:cret"),
            (
                vec![Hashed(Hash::Sha1)],
                "abc",
                &base16ct::lower::decode_vec("a9993e364706816aba3e25717850c26c9cd0d89d").unwrap(),
            ),
            (vec![UserPassword], "user:pass:word", b"user:pass:word"),
        ] {
            assert_eq!(key(&steps, secret).as_deref(), Ok(expected), "{secret}");
        }
    }

    #[test]
    fn a_secret_that_a_step_does_not_take_is_refused_in_words_that_do_not_show_it() {
        use SecretStep::{After, Base64, Hex, Refuse, Require, Strip, UserPassword};
        let text = |text: &str| text.to_owned();
        for (steps, secret, message) in [
            (vec![Base64], "can!ary", "the secret is not base64"),
            (vec![Hex], "canary", "the secret is not hexadecimal"),
            (vec![Require(text("k_"))], "canary", "the secret is not a secret that begins with k_"),
            (vec![Refuse(text("whsec_"))], "whsec_canary", "the secret is not a secret without whsec_ at the start"),
            (vec![After(text(":"))], "canary", "the secret is not a secret with : in it"),
            (vec![UserPassword], "canary", "the secret is not USER:PASSWORD"),
            (vec![Strip(text("whsec_"))], "whsec_", "the secret is empty"),
            (vec![], "", "the secret is empty"),
        ] {
            assert_eq!(key(&steps, secret), Err(message.to_owned()));
        }
    }
}
