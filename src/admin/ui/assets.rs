//! Script, stylesheet and icon: compiled in, under an address with the digest of their content, so that a browser keeps them
//! until they change.

use std::sync::OnceLock;

use axum::response::IntoResponse as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, Uri};
use sha2::{Digest as _, Sha256};

use super::Answer;
use crate::admin::problem::Problem;

/// Where they are.
pub const FOLDER: &str = "/ui/assets";

static SCRIPT: Asset = Asset::new("app.js", "text/javascript; charset=utf-8", include_bytes!("assets/app.js"));
static STYLE: Asset = Asset::new("style.css", "text/css; charset=utf-8", include_bytes!("assets/style.css"));
static ICON: Asset = Asset::new("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg"));

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    address: OnceLock<String>,
}

impl Asset {
    const fn new(name: &'static str, kind: &'static str, bytes: &'static [u8]) -> Self {
        Self { name, kind, bytes, address: OnceLock::new() }
    }

    fn address(&self) -> &str {
        self.address.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            let hash = base16ct::lower::encode_string(digest.get(..8).unwrap_or_default());
            format!("{FOLDER}/{hash}/{}", self.name)
        })
    }
}

/// The address of the script.
pub fn script() -> &'static str {
    SCRIPT.address()
}

/// The address of the stylesheet.
pub fn style() -> &'static str {
    STYLE.address()
}

/// The address of the icon.
pub fn icon() -> &'static str {
    ICON.address()
}

/// `/ui/assets/HASH/NAME`
///
/// # Errors
/// 404 for any other name, or the hash of other content.
pub async fn asset(uri: Uri) -> Answer {
    let found = [&SCRIPT, &STYLE, &ICON].into_iter().find(|asset| asset.address() == uri.path());
    let asset = found.ok_or_else(|| Problem::not_found("there is no such file"))?;
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((StatusCode::OK, fields, asset.bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_style_stay_small() {
        assert!(SCRIPT.bytes.len() <= 20_000, "{}", SCRIPT.bytes.len());
        assert!(STYLE.bytes.len() <= 16_000, "{}", STYLE.bytes.len());
    }
}
