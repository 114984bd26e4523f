//! Deliveries with a known verdict: from `tests/vectors`, published by the providers or derived from such, and from the
//! scheme files.

use std::collections::BTreeMap;

use hooklatch::schemes::{self, Spec};
use serde::Deserialize;

/// A delivery, the route that it goes to, and what must come of it. Other keys of the files play no part here.
#[derive(Debug, Deserialize)]
pub struct Vector {
    pub secret: String,
    #[serde(default = "post")]
    pub method: String,
    pub url: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub accept: bool,
    /// Why it is refused, where the file says so.
    pub reason: Option<String>,
    /// Parameters of the scheme, and its public URL.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// When it was made.
    #[serde(default)]
    pub now_unix: Option<u64>,
}

fn post() -> String {
    "POST".to_owned()
}

/// The vectors of a scheme; never none, and of either kind.
pub fn load(spec: &Spec) -> Vec<Vector> {
    let name = &spec.name;
    let mut vectors: Vec<Vector> = serde_json::from_str(schemes::vectors(name).unwrap()).unwrap();
    if spec.needs_public_url() {
        for vector in &mut vectors {
            vector.options.insert("public_url".to_owned(), vector.url.clone());
        }
    }
    vectors.extend(spec.vectors.iter().map(|vector| Vector {
        secret: vector.secret.clone(),
        method: vector.method.0.to_string(),
        url: format!("https://gateway.example{}", vector.target.as_deref().unwrap_or("/")),
        headers: vector.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: vector.body.clone(),
        accept: vector.accept,
        reason: vector.reason.map(|reason| reason.name().to_owned()),
        options: vector.options.clone(),
        now_unix: (vector.now_unix > 0).then_some(vector.now_unix),
    }));
    assert!(vectors.iter().any(|vector| vector.accept), "{name} has no vector that is accepted");
    assert!(vectors.iter().any(|vector| !vector.accept), "{name} has no vector that is refused");
    vectors
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}
