//! Errors of a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), next_step(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file can be read but is not a valid configuration. Displayed as one line for each error.
    #[error("{}", lines(errors))]
    Invalid {
        /// Every error; at least one.
        errors: Vec<ConfigError>,
    },
}

/// One error or warning about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The YAML path of the value, as in `routes[0].secrets[1].env`; empty for the file as a whole.
    pub path: String,
    /// The error and what to write instead, on one line; never a secret.
    pub message: String,
    /// The line of the file, from 1, if it is known.
    pub line: Option<usize>,
    /// The name of the route that it is about.
    pub route: Option<String>,
    /// The value that is wrong, if it is short and cannot be a secret.
    pub found: Option<String>,
}

impl ConfigError {
    /// An error at a path whose place in the file is not known.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), line: None, route: None, found: None }
    }

    /// The error with its place in the file: `routes[0].timeout: not a duration: … (line 12, route civo, found "10")`.
    pub fn with_place(&self) -> String {
        let line = self.line.map(|line| format!("line {line}"));
        let route = self.route.as_ref().map(|route| format!("route {route}"));
        let found = self.found.as_ref().map(|found| format!("found {found:?}"));
        let place: Vec<String> = [line, route, found].into_iter().flatten().collect();
        if place.is_empty() { self.to_string() } else { format!("{self} ({})", place.join(", ")) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// What to do about a file that cannot be read; empty if that is unknown.
pub(crate) fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => ": name a file in that folder",
        io::ErrorKind::PermissionDenied => ": the user that hooklatch runs as must be allowed to read it",
        _ => "",
    }
}

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ConfigError::with_place).collect::<Vec<_>>().join("\n")
}
