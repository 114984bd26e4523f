//! Makes a secret in the form that a scheme takes, for users who have none yet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::public_key::Kind;
use super::secret::{self, Secret};
use super::spec::{Algorithm, SecretStep, Spec};

/// What a placeholder's key has in it.
const MARK: &[u8] = b"placeholder-";
/// The random bytes of a secret.
const RANDOM: usize = 32;
/// The user's name in a secret that is a name and a password.
const USER: &str = "hooklatch:";

impl Spec {
    /// A new secret. With `placeholder` one that takes the place of the provider's own until that is known: no one can sign by
    /// it, and it is [recognised](super::Weakness::Placeholder). `random` makes so many random bytes.
    pub fn make_secret(&self, placeholder: bool, random: impl Fn(usize) -> Vec<u8>) -> Secret {
        let mark = if placeholder { MARK } else { b"" };
        let Some(way) = self.ways.first() else { return Secret::from(Vec::new()) };
        let steps = || way.secret.iter();
        if steps().any(|step| *step == SecretStep::PublicKey) {
            return Secret::from(public_key(&way.algorithm, random));
        }
        let is_decoded = steps().any(|step| matches!(step, SecretStep::Base64 | SecretStep::Hex));
        let random = random(RANDOM);
        let random = if is_decoded { random } else { base16ct::lower::encode_string(&random).into_bytes() };
        let mut secret = [mark, &random].concat();
        for step in steps().rev() {
            secret = match step {
                SecretStep::Base64 => STANDARD.encode(secret).into_bytes(),
                SecretStep::Hex => base16ct::lower::encode_string(&secret).into_bytes(),
                SecretStep::Require(prefix) => [prefix.replace('*', "key").as_bytes(), &secret].concat(),
                SecretStep::Strip(prefix) if !prefix.contains('*') => [prefix.as_bytes(), &secret].concat(),
                SecretStep::After(mark) => [b"key", mark.as_bytes(), &secret].concat(),
                SecretStep::UserPassword => [USER.as_bytes(), &secret].concat(),
                SecretStep::Strip(_)
                | SecretStep::Refuse(_)
                | SecretStep::Hash(_)
                | SecretStep::Utf8
                | SecretStep::Nfkd
                | SecretStep::PublicKey => secret,
            };
        }
        Secret::from(secret)
    }

    /// Whether a secret is a placeholder that [`Self::make_secret`] has made.
    pub(super) fn is_placeholder(&self, secret: &Secret) -> bool {
        let has_mark = |bytes: &[u8]| bytes.windows(MARK.len()).any(|window| window == MARK);
        let has_key = |way: &super::spec::Way| {
            let steps: Vec<SecretStep> =
                way.secret.iter().filter(|step| !matches!(step, SecretStep::Hash(_))).cloned().collect();
            secret::derive(&steps, &way.algorithm, secret).is_ok_and(|key| has_mark(&key))
        };
        self.ways.iter().any(has_key)
    }
}

/// Bytes in the form of a public key of this algorithm, whose private key is not kept: in hexadecimal, or an RSA key in base64.
fn public_key(algorithm: &Algorithm, random: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let filled = |length: usize| [MARK, &random(length - MARK.len())].concat();
    match super::public_key::kind(algorithm) {
        Kind::Ed25519 => base16ct::lower::encode_string(&filled(32)).into_bytes(),
        Kind::P256 => base16ct::lower::encode_string(&[&[4], &filled(64)[..]].concat()).into_bytes(),
        Kind::Rsa => {
            // RSAPublicKey (RFC 8017 appendix A.1.1) of 2048 bits: an odd number with its first bit set, and 65537.
            let modulus = [&[0, 0x80], &filled(254)[..], &[1]].concat();
            let integers = [&[0x02, 0x82, 0x01, 0x01], &modulus[..], &[0x02, 0x03, 0x01, 0x00, 0x01]].concat();
            STANDARD.encode([&[0x30, 0x82, 0x01, 0x0a], &integers[..]].concat()).into_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::{Weakness, find, names};

    /// Bytes that are no text.
    fn random(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 37 + 129) as u8).collect()
    }

    #[test]
    fn every_scheme_takes_what_is_made_for_it_and_knows_a_placeholder() {
        for spec in names().filter_map(find).filter(|spec| spec.unsupported.is_none()) {
            let [made, placeholder] = [false, true].map(|placeholder| spec.make_secret(placeholder, random));
            for secret in [&made, &placeholder] {
                assert_eq!(spec.check_secret(secret), Ok(()), "{}", spec.name);
            }
            assert_eq!(spec.weakness(&placeholder), Some(Weakness::Placeholder), "{}", spec.name);
            if spec.secret_from == crate::schemes::spec::SecretFrom::User {
                assert_eq!(spec.weakness(&made), None, "{}", spec.name);
            }
        }
    }

    #[test]
    fn a_secret_has_all_of_the_random_bytes_in_the_form_that_people_know() {
        let made = |scheme: &str| {
            let secret = find(scheme).unwrap().make_secret(false, random);
            String::from_utf8(secret.expose().to_vec()).unwrap()
        };
        assert_eq!(made("civo"), base16ct::lower::encode_string(&random(32)));
        assert_eq!(made("standard-webhooks"), format!("whsec_{}", STANDARD.encode(random(32))));
        assert_eq!(made("basic-auth"), format!("hooklatch:{}", base16ct::lower::encode_string(&random(32))));
    }
}
