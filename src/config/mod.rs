//! gateway.yaml: from text to a checked model, with every error at once.
//!
//! The file is read ([`load`]), parsed into a tree that has lost nothing of it (`raw`), and walked key by key
//! (`reader`) by pure checks (`validate`, `route`, `secret`, `telemetry`, `tls`, `address`, `network`, [`units`]) into the types of
//! `model`. [`reload`] knows when to do so again. What is refused stands in the documentation of each of these; the
//! keys, with their defaults, in the annotated `gateway.yaml` at the top of the repository, and for editors in [`schema`].
//!
//! Not found here: whether an address can be bound and an upstream be reached. Nothing is bound or connected to.

mod address;
mod model;
mod near;
mod network;
mod raw;
mod reader;
pub mod reload;
mod route;
mod schema;
mod scheme;
mod secret;
mod telemetry;
mod tls;
pub mod units;
mod validate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use model::{AccessLog, Admin, Config, HostHeader, PathPattern, RateLimit, Route, Server, Upstream};
pub use near::suggestion;
pub use network::Networks;
pub use schema::schema;
pub use secret::{SecretError, Sources, System, secret_from_env, secret_from_file};
pub use telemetry::{ContextFrom, Endpoint, Otlp};
pub use tls::{ClientTls, Identity, Roots, ServerTls};

/// The longest configuration file in bytes; room for thousands of routes.
const MAX_FILE: usize = 1 << 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), next_step(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file can be read but is not a valid configuration. Displayed as one line an error.
    #[error("{}", lines(errors))]
    Invalid {
        /// All that is wrong with it; at least one.
        errors: Vec<ConfigError>,
    },
}

/// One thing that is wrong with the configuration, or unwise about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The YAML path that it is at, as in `routes[0].secrets[1].env`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what to write instead, on one line; never a secret.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads and checks the configuration at `path`, with secrets from the process's environment and from files. Relative
/// names of secret files are relative to the folder that `path` is in.
///
/// # Errors
/// The file cannot be read, or everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    reload::load_watched(path).0
}

/// Where the admin listener of the configuration at `path` is. What is wrong elsewhere in the file does not matter: a
/// gateway that runs goes on with the last configuration that was right.
///
/// # Errors
/// The file cannot be read or is not YAML, or what is wrong with its section `admin`.
pub fn admin_address(path: &Path) -> Result<SocketAddr, LoadError> {
    let bytes = read(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    let errors = reader::Errors::default();
    let root = as_text(&bytes).and_then(raw::parse);
    let root = root.map_err(|message| LoadError::Invalid { errors: vec![whole(message)] })?;
    let admin = validate::admin(&root, &errors);
    admin.map(|admin| admin.listen).ok_or_else(|| LoadError::Invalid { errors: errors.into_parts().0 })
}

/// Checks the text of a configuration. Pure, but for what `sources` does: secrets come from there, and relative names
/// of secret files are relative to `folder`.
///
/// # Errors
/// Everything that is wrong, at least one error.
pub fn parse(text: &str, folder: &Path, sources: &dyn Sources) -> Result<Config, Vec<ConfigError>> {
    let errors = reader::Errors::default();
    let root = match raw::parse(text) {
        Ok(root) => root,
        Err(message) => return Err(vec![whole(message)]),
    };
    let config = validate::config(&root, &errors, secret::Context { folder, sources });
    let (errors, warnings) = errors.into_parts();
    match config {
        Some(config) if errors.is_empty() => Ok(Config { warnings, ..config }),
        _ => Err(errors),
    }
}

/// Checks the content of the file at `path`.
fn parse_bytes(bytes: &[u8], path: &Path, sources: &dyn Sources) -> Result<Config, LoadError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let text = as_text(bytes).map_err(|message| vec![whole(message)]);
    text.and_then(|text| parse(text, folder, sources)).map_err(|errors| LoadError::Invalid { errors })
}

/// Reads at most one byte more than a configuration can have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text without its byte order mark, which some editors put there.
fn as_text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > MAX_FILE {
        return Err(format!("the file is longer than {}", units::display_size(MAX_FILE as u64)));
    }
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| format!("the file is not UTF-8: byte {} is wrong", error.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// What to do about a file that cannot be read, where that is known.
pub(crate) fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => ": name a file in that folder",
        io::ErrorKind::PermissionDenied => ": the user that hooklatch runs as must be allowed to read it",
        _ => "",
    }
}

/// An error of the file as a whole.
fn whole(message: String) -> ConfigError {
    ConfigError { path: String::new(), message }
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
