//! Vectors: deliveries with a known verdict, from a built-in scheme or from a file of the user.
//!
//! A file is a JSON array of objects. Required keys: `provider`, `secret`, `headers`, `accept`, and `body` or
//! `body_base64`. Optional keys: `url`, `method`, `now_unix`, `reason`, `options`, `source`, `note`. Other keys are ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::schemes::spec::Vector as OfScheme;
use crate::schemes::{self, Spec};

/// The time at which a vector is judged if it names none, in seconds since 1970.
const NOW: u64 = 1_700_000_000;

/// A delivery, the options of its route, and the expected verdict.
#[derive(Debug)]
pub struct Vector {
    pub provider: String,
    /// The position of the vector in its file, for messages.
    pub place: String,
    pub secret: Vec<u8>,
    /// The scheme's options.
    pub options: BTreeMap<String, String>,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The time at which the vector is judged, since 1970-01-01T00:00:00Z.
    pub now: Duration,
    /// The expected refusal, with its reason if the vector names one; `None` if it must be accepted.
    pub refused: Option<Option<String>>,
}

/// A vector as it is written in a file.
#[derive(Deserialize)]
struct RawVector {
    provider: String,
    secret: Value,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    url: Option<String>,
    headers: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    now_unix: Option<u64>,
    accept: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn post() -> String {
    "POST".to_owned()
}

/// All vectors of a built-in scheme: from the scheme's file and from `tests/vectors`.
pub fn of_scheme(spec: &Spec) -> Result<Vec<Vector>, String> {
    let own = spec.vectors.iter().enumerate().map(|(position, vector)| of_file(spec, position, vector));
    let published = parse(schemes::vectors(&spec.name).unwrap_or("[]"))?;
    Ok(own.chain(published).collect())
}

/// The vectors of a file.
pub fn parse(json: &str) -> Result<Vec<Vector>, String> {
    let entries: Vec<RawVector> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    entries.into_iter().enumerate().map(|(position, entry)| entry.read(&format!("[{position}]"))).collect()
}

fn of_file(spec: &Spec, position: usize, vector: &OfScheme) -> Vector {
    let headers = vector.headers.iter();
    let now = if vector.now_unix == 0 { NOW } else { vector.now_unix };
    let reason = || vector.reason.map(|reason| reason.name().to_owned());
    Vector {
        provider: spec.name.clone(),
        place: format!("vectors[{position}] of the scheme's file"),
        secret: vector.secret.clone().into_bytes(),
        options: vector.options.clone(),
        method: vector.method.0.to_string(),
        target: vector.target.clone().unwrap_or_else(|| "/".to_owned()),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body: vector.body.clone().into_bytes(),
        now: Duration::from_secs(now),
        refused: (!vector.accept).then(reason),
    }
}

impl RawVector {
    fn read(self, place: &str) -> Result<Vector, String> {
        let mut options = self.options;
        let spec = schemes::find(&self.provider);
        let (secret, given) = secret(&self.secret).ok_or_else(|| format!("{place}.secret: is no secret"))?;
        let declared = |name: &String| spec.is_some_and(|spec| spec.parameters.iter().any(|known| known.name == *name));
        options.extend(given.into_iter().filter(|(name, _)| declared(name)));
        let body = match &self.body_base64 {
            Some(text) => STANDARD.decode(text).map_err(|error| format!("{place}.body_base64: {error}"))?,
            None => self.body.into_bytes(),
        };
        if let (Some(true), Some(url)) = (spec.map(|spec| spec.needs_public_url()), &self.url) {
            options.entry("public_url".to_owned()).or_insert_with(|| url.clone());
        }
        let headers = self.headers.into_iter().flat_map(|(name, values)| {
            let values = match values {
                OneOrMany::One(value) => vec![value],
                OneOrMany::Many(values) => values,
            };
            values.into_iter().map(move |value| (name.clone(), value.into_bytes()))
        });
        Ok(Vector {
            place: format!("{place} of the vectors"),
            secret: secret.into_bytes(),
            options,
            method: self.method,
            target: self.url.as_deref().map_or_else(|| "/".to_owned(), target),
            headers: headers.collect(),
            body,
            now: Duration::from_secs(self.now_unix.unwrap_or(NOW)),
            refused: (!self.accept).then_some(self.reason),
            provider: self.provider,
        })
    }
}

/// The path and query of a URL, unchanged.
fn target(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or_default();
    if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }
}

/// Reads a secret: a string, an object with user name and password, or an object with a secret or public key and the
/// parameters of the route.
fn secret(value: &Value) -> Option<(String, BTreeMap<String, String>)> {
    let parts = match value {
        Value::String(text) => return Some((text.clone(), BTreeMap::new())),
        Value::Object(parts) => parts,
        _ => return None,
    };
    let text = |key: &str| parts.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Some((format!("{user}:{password}"), BTreeMap::new()));
    }
    let is_secret = |key: &str| key == "secret" || key.starts_with("public_key");
    let secret = parts.keys().find(|key| is_secret(key)).and_then(|key| text(key))?;
    let beside = parts.keys().filter(|key| !is_secret(key)).filter_map(|key| Some((key.clone(), text(key)?)));
    Some((secret, beside.collect()))
}
