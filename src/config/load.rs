//! Loads a [`Config`] from a file or a text. Every command uses these functions.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use super::admin::Admin;
use super::error::{ConfigError, LoadError};
use super::model::Config;
use super::sources::{Context, Sources, System, open};
use super::{place, raw, reader, route, units, validate};

/// The longest configuration file in bytes; room for thousands of routes.
const MAX_FILE: usize = 1 << 20;

/// Reads and checks the configuration at `path`, with secrets from the process's environment and from files. Relative
/// names of secret files are relative to the folder that `path` is in.
///
/// # Errors
/// The file cannot be read, or it is invalid: every error.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let bytes = read(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    parse_bytes(&bytes, path, &System)
}

/// The address of the admin listener in the configuration at `path`. Errors at other keys do not matter, because a running
/// gateway keeps its last valid configuration.
///
/// # Errors
/// The file cannot be read, is not YAML, or its `admin.listen` is invalid.
pub fn admin_address(path: &Path) -> Result<SocketAddr, LoadError> {
    part(path, validate::admin_listen)
}

/// The section `admin` of the configuration at `path`. Errors in other sections do not matter.
///
/// # Errors
/// The file cannot be read, is not YAML, or its section `admin` is invalid.
pub fn admin(path: &Path) -> Result<Admin, LoadError> {
    let context = Context { folder: folder(path), sources: &System };
    part(path, |root, errors| validate::admin(root, errors, context))
}

/// The names of the routes in the configuration at `path`, for a shell that completes them. Reads no file that the configuration
/// names. Empty if the file cannot be read; a route whose name is none is left out.
pub fn route_names(path: &Path) -> Vec<String> {
    part(path, |root, errors| Some(route::names(root, errors).unwrap_or_default())).unwrap_or_default()
}

/// Reads a part of a configuration that may have errors elsewhere.
fn part<T>(path: &Path, of: impl FnOnce(&raw::Node, &reader::Errors) -> Option<T>) -> Result<T, LoadError> {
    let bytes = read(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    let errors = reader::Errors::default();
    let root = as_text(&bytes).and_then(raw::parse);
    let root = root.map_err(|message| LoadError::Invalid { errors: vec![whole(message)] })?;
    of(&root, &errors).ok_or_else(|| LoadError::Invalid { errors: errors.into_parts().0 })
}

/// Checks the text of a configuration. Pure, except for `sources`: secrets come from there, and relative names
/// of secret files are relative to `folder`.
///
/// # Errors
/// Every error; at least one.
pub fn parse(text: &str, folder: &Path, sources: &dyn Sources) -> Result<Config, Vec<ConfigError>> {
    let errors = reader::Errors::default();
    let root = match raw::parse(text) {
        Ok(root) => root,
        Err(message) => return Err(vec![whole(message)]),
    };
    let config = validate::config(&root, &errors, Context { folder, sources });
    let (mut errors, mut warnings) = errors.into_parts();
    place::fill_in(&mut errors, text, &root);
    place::fill_in(&mut warnings, text, &root);
    match config {
        Some(config) if errors.is_empty() => Ok(Config { warnings, ..config }),
        _ => Err(errors),
    }
}

/// Checks the content of the file at `path`.
pub(super) fn parse_bytes(bytes: &[u8], path: &Path, sources: &dyn Sources) -> Result<Config, LoadError> {
    let text = as_text(bytes).map_err(|message| vec![whole(message)]);
    text.and_then(|text| parse(text, folder(path), sources)).map_err(|errors| LoadError::Invalid { errors })
}

/// The folder that relative file names in the configuration at `path` start from.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Reads at most one byte more than a configuration can have.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text without the byte order mark that some editors add.
fn as_text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > MAX_FILE {
        return Err(format!("the file is longer than {}", units::display_size(MAX_FILE as u64)));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("the file is UTF-16: save it as UTF-8".to_owned());
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| format!("the file is not UTF-8: byte {} is wrong", error.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// An error of the file as a whole.
fn whole(message: String) -> ConfigError {
    ConfigError::new("", message)
}
