//! A scheme in a few words, for tables that people read.

use super::algorithm::{Algorithm, Hash};
use super::challenge::Challenge;
use super::facts::{Fact, Place};
use super::scheme::Spec;
use super::signature::Location;

impl Spec {
    /// Where the signature stands.
    pub fn signature_in_words(&self) -> String {
        each(self.ways.iter().map(|way| match &way.signature.at {
            Location::Header(name) | Location::HeaderLines(name) => format!("`{name}`"),
            Location::Headers(names) => each(names.iter().map(|name| format!("`{name}`"))),
            Location::HeaderSeries { prefix, .. } => format!("`{prefix}1` …"),
            Location::Query(name) => format!("query `{name}`"),
            Location::Form(name) => format!("form `{name}`"),
            Location::Multipart(field) => format!("multipart `{field}`"),
            Location::Json(pointer) => format!("body `{pointer}`"),
            Location::Body => "the body is a JWT".to_owned(),
        }))
    }

    /// The algorithm of the signature.
    pub fn algorithm_in_words(&self) -> String {
        each(self.ways.iter().map(|way| match &way.algorithm {
            Algorithm::Hmac(hash) => format!("HMAC-{}", Hash::from(*hash).name()),
            Algorithm::Hash(hash) => format!("{} with the secret", hash.name()),
            Algorithm::Ed25519 => "Ed25519".to_owned(),
            Algorithm::EcdsaP256 => "ECDSA P-256".to_owned(),
            Algorithm::Rsa(hash) => format!("RSA-{}", Hash::from(*hash).name()),
            Algorithm::Token => "the secret itself".to_owned(),
            Algorithm::Jwt(jwt) => {
                let names = jwt.algorithms.iter().map(|algorithm| algorithm.name().to_owned());
                format!("JWT {}", each(names))
            }
        }))
    }

    /// How far a signed time may be from the clock, if there is one.
    pub fn time_in_words(&self) -> String {
        let times = self.ways.iter().map(|way| match (&way.algorithm, &way.timestamp) {
            (Algorithm::Jwt(jwt), _) => format!("{} s", jwt.tolerance_seconds),
            (_, Some(timestamp)) => format!("{} s", timestamp.tolerance_seconds),
            (_, None) => "none".to_owned(),
        });
        each(times)
    }

    /// How long the provider waits.
    pub fn deadline_in_words(&self) -> String {
        self.deadline_seconds.map_or_else(|| "not documented".to_owned(), |seconds| format!("{seconds} s"))
    }

    /// The place of the provider's id of the event, and whether it is signed.
    pub fn event_id_in_words(&self) -> String {
        self.event_id.as_ref().map_or_else(|| "none".to_owned(), Fact::in_words)
    }
}

impl Fact {
    fn in_words(&self) -> String {
        let signed = if self.signed { "signed" } else { "not signed" };
        format!("{}: {signed}", self.place.in_words())
    }
}

impl Place {
    fn in_words(&self) -> String {
        match self {
            Self::Header(name) => format!("header `{name}`"),
            Self::Json(pointer) => format!("`{pointer}` of the body"),
            Self::Form(name) => format!("form `{name}`"),
            Self::Query(name) => format!("query `{name}`"),
            Self::Claim(name) => format!("claim `{name}`"),
        }
    }
}

impl Challenge {
    /// Its method, and the places of its conditions.
    pub fn question_in_words(&self) -> String {
        let signed = if self.signed { ", signed" } else { "" };
        let places = each(self.places().map(Place::in_words));
        let places = if places.is_empty() { places } else { format!(": {places}") };
        format!("{}{signed}{places}", self.method.0)
    }

    /// The parts of the answer.
    pub fn answer_in_words(&self) -> String {
        let members = self.answer.json.iter().flat_map(|json| json.keys());
        let json = each(members.map(|name| format!("`{name}`")));
        let headers = self.answer.headers.keys().map(|name| format!("header `{name}`"));
        let body = match (&self.answer.text, json.as_str()) {
            (Some(_), _) => Some("the text".to_owned()),
            (None, "") => None,
            (None, json) => Some(format!("JSON: {json}")),
        };
        let all = each(headers.chain(body));
        if all.is_empty() { "200".to_owned() } else { all }
    }
}

impl Hash {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Keccak256 => "Keccak256",
        }
    }
}

/// Different texts in their order, the same one once.
fn each(texts: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(", ")
}
