//! Script, stylesheet and icon: compiled in, under an address with the digest of their content, so that a browser keeps them
//! until they change.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::response::IntoResponse as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use super::Answer;
use crate::admin::problem::Problem;

/// Where they are.
pub const FOLDER: &str = "/ui/assets";

const SCRIPT: Asset =
    Asset { name: "app.js", kind: "text/javascript; charset=utf-8", bytes: include_bytes!("assets/app.js") };
const STYLE: Asset =
    Asset { name: "style.css", kind: "text/css; charset=utf-8", bytes: include_bytes!("assets/style.css") };

const ICON: Asset = Asset { name: "icon.svg", kind: "image/svg+xml", bytes: include_bytes!("assets/icon.svg") };

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn hash(&self) -> String {
        base16ct::lower::encode_string(Sha256::digest(self.bytes).get(..8).unwrap_or_default())
    }

    fn address(&self) -> String {
        format!("{FOLDER}/{}/{}", self.hash(), self.name)
    }
}

/// The address of the script.
pub fn script() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| SCRIPT.address())
}

/// The address of the stylesheet.
pub fn style() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| STYLE.address())
}

/// The address of the icon.
pub fn icon() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| ICON.address())
}

/// `/ui/assets/HASH/NAME`
///
/// # Errors
/// 404 for any other name, or the hash of other content.
pub async fn asset(Path((hash, name)): Path<(String, String)>) -> Answer {
    let found = [SCRIPT, STYLE, ICON].into_iter().find(|asset| asset.name == name && asset.hash() == hash);
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
