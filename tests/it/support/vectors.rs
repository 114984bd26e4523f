//! Deliveries with a known verdict, from `tests/vectors`: published by the providers, or derived from such.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// A delivery, the secret of its route, and what must come of it. Other keys of the file play no part here.
#[derive(Debug, Deserialize)]
pub struct Vector {
    pub secret: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub accept: bool,
    /// Why it is refused, where the file says so.
    pub reason: Option<String>,
}

/// The vectors of a scheme; never none.
pub fn load(scheme: &str) -> Vec<Vector> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{scheme}.json"));
    let vectors: Vec<Vector> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(vectors.iter().any(|vector| vector.accept), "{scheme} has no vector that is accepted");
    assert!(vectors.iter().any(|vector| !vector.accept), "{scheme} has no vector that is refused");
    vectors
}
