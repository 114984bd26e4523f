//! What stands around a secret and most likely does not belong to it: it came along when the secret was copied.
//!
//! Such a secret gets a warning and is not refused: a provider may have been given it in this form.

use super::secret::Secret;
use super::spec::{SecretStep, Spec};
use super::weak::is_secret;

/// What is around a secret. The texts do not contain the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dirt {
    /// White space at its beginning or end.
    #[error("begins or ends with white space or a newline, which most likely does not belong to it")]
    Space,
    /// Quotes around it.
    #[error("is in quotes, which most likely do not belong to it")]
    Quotes,
    /// A newline at its end that is written as a backslash and a letter.
    #[error("ends in a backslash and an n, which most likely were meant as a newline and do not belong to it")]
    WrittenNewline,
    /// A byte order mark before it.
    #[error("begins with a byte order mark, which does not belong to it: save the file without one")]
    Mark,
    /// The name of a variable before it, or `Bearer`.
    #[error("begins with a name and =, or with Bearer, which most likely does not belong to it")]
    Label,
    /// A prefix that stands there twice, or with the version of a signature.
    #[error("has a prefix before whsec_, which most likely was pasted twice")]
    Prefix,
    /// A line break within it.
    #[error("has a line break in it, which most likely does not belong to it: write it in one line")]
    Lines,
    /// Base64 of both alphabets.
    #[error(
        "has characters of both base64 alphabets (+ or /, and - or _), which no provider writes: part of it was changed"
    )]
    Alphabets,
}

impl Spec {
    /// What is around this secret, or in it; `None` if nothing is. A public key may have lines.
    pub fn dirt(&self, secret: &Secret) -> Option<Dirt> {
        let mut ways = self.ways.iter().filter(|way| is_secret(&way.algorithm)).peekable();
        ways.peek()?;
        // One provider's secrets have it.
        let version = SecretStep::Strip("v1,".to_owned());
        let has_version = self.ways.iter().any(|way| way.secret.contains(&version));
        let is_decoded = ways.all(|way| way.secret.contains(&SecretStep::Base64));
        let around = around(secret.expose()).filter(|dirt| *dirt != Dirt::Prefix || !has_version);
        around.or_else(|| within(secret.expose(), is_decoded))
    }
}

fn within(secret: &[u8], is_base64: bool) -> Option<Dirt> {
    let has = |letters: &[u8]| secret.iter().any(|byte| letters.contains(byte));
    // What stands before the base64 can have a _ in it.
    let text = secret.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    let text = text.strip_prefix(b"whsec_").unwrap_or(text);
    let has_both = text.iter().any(|byte| b"+/".contains(byte)) && text.iter().any(|byte| b"-_".contains(byte));
    if has(b"\r\n") { Some(Dirt::Lines) } else { (is_base64 && has_both).then_some(Dirt::Alphabets) }
}

/// A text without the quotes around it; `None` if it has none.
pub(super) fn unquoted(text: &[u8]) -> Option<&[u8]> {
    let quote = *text.first().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
    text.strip_prefix(&[quote])?.strip_suffix(&[quote])
}

/// A text without the newline at its end that is written as a backslash and an n; `None` if it has none.
pub(super) fn without_written_newline(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\\n")?;
    Some(text.strip_suffix(b"\\r").unwrap_or(text))
}

/// A text without what stands before its `whsec_`; `None` if nothing does.
pub(super) fn pasted_twice(text: &[u8]) -> Option<&[u8]> {
    [&b"whsec_"[..], b"v1,"]
        .iter()
        .find_map(|twice| text.strip_prefix(*twice).filter(|rest| rest.starts_with(b"whsec_")))
}

/// A text without the byte order mark before it; `None` if it has none.
pub(super) fn without_mark(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"\xef\xbb\xbf")
}

/// A text without `NAME=`, `export NAME=` or `Bearer ` before it; `None` if it has none. The name is one of capital letters, and
/// more than padding has to follow.
pub(super) fn without_label(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"Bearer ") {
        return Some(rest.trim_ascii());
    }
    let line = text.strip_prefix(b"export ").unwrap_or(text);
    let (name, rest) = line.split_at_checked(memchr::memchr(b'=', line)?)?;
    let rest = rest.get(1..)?;
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let named = name.first().is_some_and(u8::is_ascii_uppercase) && name.contains(&b'_') && name.iter().all(is_name);
    (named && rest.iter().any(|byte| *byte != b'=')).then_some(rest)
}

fn around(secret: &[u8]) -> Option<Dirt> {
    if secret.trim_ascii().len() != secret.len() {
        Some(Dirt::Space)
    } else if unquoted(secret).is_some() {
        Some(Dirt::Quotes)
    } else if without_written_newline(secret).is_some() {
        Some(Dirt::WrittenNewline)
    } else if without_mark(secret).is_some() {
        Some(Dirt::Mark)
    } else if without_label(secret).is_some() {
        Some(Dirt::Label)
    } else {
        pasted_twice(secret).map(|_| Dirt::Prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::find;

    #[test]
    fn what_came_along_with_a_secret_is_found() {
        let dirt = |scheme: &str, secret: &str| find(scheme).unwrap().dirt(&secret.as_bytes().to_vec().into());
        for (secret, found) in [
            ("k3jd93kd02ka9s8e", None),
            ("k3jd \"93kd\" \\n 02ka9s8e", None),
            ("k3jd93kd02ka9s8e\n", Some(Dirt::Space)),
            (" k3jd93kd02ka9s8e", Some(Dirt::Space)),
            ("\"k3jd93kd02ka9s8e\"", Some(Dirt::Quotes)),
            ("\"k3jd93kd02ka9s8e", None),
            ("\"", None),
            ("k3jd93kd02ka9s8e\\n", Some(Dirt::WrittenNewline)),
            ("\u{feff}k3jd93kd02ka9s8e", Some(Dirt::Mark)),
            ("CIVO_SECRET=k3jd93kd02ka9s8e", Some(Dirt::Label)),
            ("export CIVO_SECRET=k3jd93kd02ka9s8e", Some(Dirt::Label)),
            ("Bearer k3jd93kd02ka9s8e", Some(Dirt::Label)),
            ("K3JD_3KD02KA9S8E==", None),
            ("K3JD93KD=02KA9S8E", None),
            ("whsec_whsec_azNqZDkza2QwMmthOXM4ZQ==", Some(Dirt::Prefix)),
            ("whsec_azNqZDkza2QwMmthOXM4ZQ==", None),
            ("k3jd93kd\n02ka9s8e", Some(Dirt::Lines)),
            ("k3jd93kd\r\n02ka9s8e", Some(Dirt::Lines)),
            ("k3jd+93kd-02ka9s8e", None),
            ("", None),
        ] {
            assert_eq!(dirt("civo", secret), found, "{secret:?}");
        }
        assert_eq!(dirt("standard-webhooks", "whsec_azNq+DkzZD-wMmthOXM4ZQ=="), Some(Dirt::Alphabets));
        assert_eq!(dirt("standard-webhooks", "whsec_azNq+DkzZD/wMmthOXM4ZQ=="), None);
        assert_eq!(dirt("standard-webhooks", "whsec_azNq-DkzZD_wMmthOXM4ZQ=="), None);
        assert_eq!(dirt("supabase", "v1,whsec_azNqZDkza2QwMmthOXM4ZQ=="), None);
        assert_eq!(dirt("discord", "03a107bff3ce10be\n"), None, "a public key");
    }
}
