//! A delivery that streams tell of.

use std::sync::OnceLock;

use crate::admin::api::summary::Summary;
use crate::store::Stored;

/// A delivery, and its JSON, which is written once for all streams, and only if one of them sends it.
#[derive(Debug)]
pub struct Told {
    /// The delivery as it was when it was committed, or read.
    pub stored: Stored,
    json: OnceLock<String>,
}

impl Told {
    /// That of a delivery.
    pub fn new(stored: Stored) -> Self {
        Self { stored, json: OnceLock::new() }
    }

    /// Its summary as JSON, without line breaks.
    pub fn json(&self) -> &str {
        // Texts and numbers can always be written.
        self.json.get_or_init(|| serde_json::to_string(&Summary::from(&self.stored)).unwrap_or_default())
    }
}
