//! Secrets: from environment variables and files, never from the configuration itself.
//!
//! Refused: 1. a secret written into the configuration; 2. an entry without exactly one of `env` and `file`; 3. a
//! secret that is absent, unless it is `optional`; 4. a secret that is present but unreadable, empty, too long, or
//! that the scheme cannot decode, `optional` or not; 5. two entries with the same id; 6. a route without any secret.
//! A [weak](crate::schemes::Weakness) secret gets a warning, and so does one with [dirt](crate::schemes::Dirt) around it.
//! From below `secrets`, error texts quote only the names of variables and files.
//!
//! A file's content is used byte for byte, without one trailing `\n` or `\r\n`, which most editors add. A variable is used
//! as it is. The scheme decides whether the secret must be text.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::error::next_step;
use super::raw::Node;
use super::reader::{Field, could_hold_secret, looks_secret};
use super::sources::{Context, Sources};
use crate::schemes::{Secret, Spec};

/// The longest secret file in bytes; the largest key of a provider is far shorter.
const MAX_FILE: usize = 64 * 1024;

/// What to do about a variable that is not set.
const EXPORT: &str = "export it where hooklatch is started (sudo and systemd do not pass it on by themselves)";

const LITERAL: &str = "a secret must not stand in this file: \
    use env: NAME (an environment variable) or file: PATH (a file that holds it)";

/// Keys by which people try to write a secret into the file.
const LITERAL_KEYS: [&str; 12] = [
    "value",
    "literal",
    "secret",
    "plain",
    "plaintext",
    "text",
    "key",
    "token",
    "password",
    "string",
    "inline",
    "content",
];

/// Why a variable or a file gives no secret. The text names the variable or the file, never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It does not exist. This is no error if the secret is optional.
    #[error("{0}")]
    Absent(String),
    /// It exists, but is empty, too long or unreadable.
    #[error("{0}")]
    Unusable(String),
}

/// A secret with its label.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) id: String,
    pub(super) secret: Secret,
}

/// The value of an environment variable.
///
/// # Errors
/// See [`SecretError`].
pub fn secret_from_env(name: &str, sources: &dyn Sources) -> Result<Secret, SecretError> {
    let unset = || format!("environment variable {} is not set: {EXPORT}", shown_name(name));
    let value = sources.env(name).ok_or_else(|| SecretError::Absent(unset()))?;
    if value.is_empty() {
        return Err(SecretError::Unusable(format!("environment variable {name} is empty: put the secret into it")));
    }
    Ok(Secret::from(value.into_encoded_bytes()))
}

/// The name of a variable for an error text. People have put the secret itself there, which no text repeats.
fn shown_name(name: &str) -> &str {
    let is_usual = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if name.chars().all(is_usual) || (is_plain && !looks_secret(name)) {
        name
    } else {
        "of this name (not shown, it could be a secret)"
    }
}

/// The content of a file, less one `\n` or `\r\n` at its end.
///
/// # Errors
/// See [`SecretError`].
pub fn secret_from_file(path: &Path, sources: &dyn Sources) -> Result<Secret, SecretError> {
    let content = sources.file(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SecretError::Absent(format!(
            "the file {path:?} does not exist: write the secret into it, or correct its name"
        )),
        _ => SecretError::Unusable(format!("cannot read the file {path:?}: {error}{}", next_step(&error))),
    })?;
    if content.len() > MAX_FILE {
        return Err(SecretError::Unusable(format!("the file {path:?} is longer than 64KiB")));
    }
    let line = content.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    match line.unwrap_or(&content) {
        [] => Err(SecretError::Unusable(format!("the file {path:?} is empty: put the secret into it"))),
        secret => Ok(Secret::from(secret.to_vec())),
    }
}

/// The text for a key like `secret: …` in a place where no secret can be.
pub(super) fn explain_key(key: &str) -> Option<String> {
    let text = || format!("unknown key; secrets are a list under \"secrets\" of the route, and {LITERAL}");
    could_hold_secret(key).then(text)
}

/// Reads the list under `secrets`: every secret that is present, at least one.
pub(super) fn read_all(field: &Field<'_>, spec: Option<&Spec>, context: Context<'_>) -> Option<Vec<Labelled>> {
    if is_literal(field.node()) {
        field.error(LITERAL);
        return None;
    }
    let mut taken = HashMap::new();
    let mut secrets = Some(Vec::new());
    for (index, entry) in field.list()?.iter().enumerate() {
        let read = read_one(entry, index, spec, context, &mut taken);
        match (read, &mut secrets) {
            (Some(None), _) => {}
            (Some(Some(secret)), Some(secrets)) => secrets.push(secret),
            _ => secrets = None,
        }
    }
    if secrets.as_ref().is_some_and(Vec::is_empty) {
        field.error("no secret is present: all of them are optional and absent");
        return None;
    }
    secrets
}

/// `Some(None)` is an optional secret that is absent.
fn read_one(
    entry: &Field<'_>,
    index: usize,
    spec: Option<&Spec>,
    context: Context<'_>,
    taken: &mut HashMap<String, String>,
) -> Option<Option<Labelled>> {
    if is_literal(entry.node()) {
        entry.error(LITERAL);
        return None;
    }
    let mut section = entry.section()?;
    let env = section.get("env");
    let file = section.get("file");
    let id_field = section.get("id");
    let id = match &id_field {
        Some(field) => field.parsed(parse_id),
        None => Some(index.to_string()),
    };
    let optional = section.optional("optional", false, Field::boolean);
    let all_known = section.finish(explain_literal);

    let at = id_field.as_ref().unwrap_or(entry);
    let id = id.and_then(|id| match taken.insert(id.clone(), entry.path().to_owned()) {
        Some(other) => {
            at.error(format!("the id \"{id}\" is already used by {other}"));
            None
        }
        None => Some(id),
    });
    let (field, source) = from(entry, env.as_ref(), file.as_ref(), all_known, context)?;
    match source {
        Ok(secret) => {
            if let Some(spec) = spec {
                let dirt = spec.dirt(&secret);
                field.checked(spec.check_secret(&secret).map_err(|error| match dirt {
                    Some(dirt) => format!("{error}: it {dirt}"),
                    None => error.to_string(),
                }))?;
                if let Some(weakness) = spec.weakness(&secret) {
                    field.warn(format!("the secret {weakness}"));
                }
                if let Some(dirt) = dirt {
                    field.warn(format!("the secret {dirt}"));
                }
            }
            optional?;
            Some(Some(Labelled { id: id?, secret }))
        }
        Err(SecretError::Absent(_)) if optional? => id.map(|_| None),
        Err(error) => {
            field.error(error.to_string());
            None
        }
    }
}

/// Reads a required secret outside of `secrets`: `{ env: NAME }` or `{ file: PATH }`.
pub(super) fn read_required(entry: &Field<'_>, context: Context<'_>) -> Option<Secret> {
    if is_literal(entry.node()) {
        entry.error(LITERAL);
        return None;
    }
    let mut section = entry.section()?;
    let (env, file) = (section.get("env"), section.get("file"));
    let all_known = section.finish(explain_literal);
    let (field, source) = from(entry, env.as_ref(), file.as_ref(), all_known, context)?;
    field.checked(source).filter(|_| all_known)
}

/// The field that is set, `env` or `file`, and the secret that it gives.
fn from<'f, 'a>(
    entry: &Field<'_>,
    env: Option<&'f Field<'a>>,
    file: Option<&'f Field<'a>>,
    all_known: bool,
    context: Context<'_>,
) -> Option<(&'f Field<'a>, Result<Secret, SecretError>)> {
    match (env, file) {
        (Some(field), None) => Some((field, from_env(field, context)?)),
        (None, Some(field)) => Some((field, from_file(field, context)?)),
        (Some(_), Some(_)) => {
            entry.error("has both env and file: give one of them");
            None
        }
        (None, None) => {
            if all_known {
                entry.error("needs env: NAME or file: PATH");
            }
            None
        }
    }
}

/// The text for a key like `value: …` beside `env` and `file`.
fn explain_literal(key: &str) -> Option<String> {
    LITERAL_KEYS.contains(&key.to_ascii_lowercase().as_str()).then(|| LITERAL.to_owned())
}

fn from_env(field: &Field<'_>, context: Context<'_>) -> Option<Result<Secret, SecretError>> {
    let name = field.text()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
        field.error(match name.starts_with('$') {
            true => "must be the name of an environment variable, without $ and braces: NAME, not ${NAME}",
            false => "must be the name of an environment variable: letters, digits, _, . and -",
        });
        return None;
    }
    Some(secret_from_env(name, context.sources))
}

fn from_file(field: &Field<'_>, context: Context<'_>) -> Option<Result<Secret, SecretError>> {
    let name = field.text()?;
    if name.is_empty() {
        field.error("must be the path of a file");
        return None;
    }
    Some(secret_from_file(&context.folder.join(name), context.sources))
}

fn is_literal(node: &Node) -> bool {
    matches!(node, Node::Text(_) | Node::Bool(_) | Node::Integer(_) | Node::Number)
}

/// A label for metrics and headers.
fn parse_id(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err("must be 1 to 64 letters, digits, ., _ or -");
    }
    Ok(text.to_owned())
}
