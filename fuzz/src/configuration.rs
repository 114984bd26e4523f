//! Any bytes as gateway.yaml: they load or are refused with reasons, and never show a secret.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use hooklatch::admin;
use hooklatch::config::{self, Sources};
use zeroize::Zeroizing;

/// In every variable and file.
const CANARY: &str = "canary-ynzqh";

/// Variables that begin with `U` are not set, files with a `u` in their name are absent; all others hold the canary.
struct Canaries;

impl Sources for Canaries {
    fn env(&self, name: &str) -> Option<OsString> {
        (!name.starts_with('U')).then(|| CANARY.into())
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        match path.to_str() {
            Some(path) if !path.contains('u') => Ok(Zeroizing::new(CANARY.as_bytes().to_vec())),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Loads `data`.
///
/// # Panics
/// When a promise of the loader is broken.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let shown = match config::parse(text, Path::new("/etc/hl"), &Canaries) {
        Ok(config) => {
            assert!(!config.routes.is_empty(), "a configuration has a route");
            for route in &config.routes {
                assert!(!route.secret_ids.is_empty(), "a route has a secret");
                assert_eq!(route.secret_ids.len(), route.secret_marks.len());
                assert!(route.max_body > 0 && !route.timeout.is_zero() && !route.body_timeout.is_zero());
            }
            format!("{config:?} {}", admin::summary(&config))
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "a refusal has a reason");
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert!(lines.iter().all(|line| !line.is_empty() && !line.contains('\n')), "{lines:?}");
            lines.concat()
        }
    };
    assert!(text.contains(CANARY) || !shown.contains(CANARY), "{shown}");
}
