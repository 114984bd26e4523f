//! A scheme in a few words, for tables that people read.

use super::algorithm::{Algorithm, Hash};
use super::challenge::Challenge;
use super::content::{Form, ListOfNames, Part, Requirement};
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

    /// What the signature covers.
    pub fn covers_in_words(&self) -> String {
        if let Some(covers) = &self.covers {
            return covers.clone();
        }
        let ways = self.ways.iter().flat_map(|way| match &way.algorithm {
            Algorithm::Token => vec!["nothing: the secret itself is sent".to_owned()],
            Algorithm::Jwt(_) if matches!(way.signature.at, Location::Body) => {
                vec!["the claims of the token that the body is".to_owned()]
            }
            Algorithm::Jwt(jwt) if jwt.ties_body() => {
                vec!["the claims of the token, and by its digest the body".to_owned()]
            }
            Algorithm::Jwt(_) => vec!["the claims of the token".to_owned()],
            _ => way.forms.iter().map(Form::in_words).collect(),
        });
        let mut ways: Vec<String> = ways.collect();
        ways.dedup();
        ways.join("; or ")
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

impl Form {
    fn in_words(&self) -> String {
        let tied = self.requires.iter().filter_map(|requirement| match requirement {
            Requirement::QueryDigest { .. } => Some("the body, by its digest in the query".to_owned()),
            _ => None,
        });
        each(self.content.iter().filter_map(Part::in_words).chain(tied))
    }
}

impl Part {
    /// `None` for what the request does not have.
    fn in_words(&self) -> Option<String> {
        Some(match self {
            Self::Text(_) | Self::Secret => return None,
            Self::Body => "the body".to_owned(),
            Self::UncompressedBody | Self::UncompressedUpTo(_) => "the body without its gzip".to_owned(),
            Self::Digest(_) => "the body, by its digest".to_owned(),
            Self::Timestamp => "the signed time".to_owned(),
            Self::Parameter(name) => format!("`{name}` of the route"),
            Self::Header(name) => format!("header `{name}`"),
            Self::Field(field) => format!("`{}` of the signature", field.key),
            Self::ListedHeaders(listed) => match &listed.list {
                ListOfNames::Header(name) => format!("the headers that `{name}` lists"),
                ListOfNames::Field(field) => format!("the headers that `{}` of the signature lists", field.key),
            },
            Self::Method => "the method".to_owned(),
            Self::Url | Self::UrlUnescaped(_) => "the public URL with its query".to_owned(),
            Self::UrlWithoutQuery => "the public URL".to_owned(),
            Self::Path => "the path".to_owned(),
            Self::PathAndQuery => "path and query".to_owned(),
            Self::SortedQuery | Self::EscapedQuery(_) => "the query".to_owned(),
            Self::Query(name) | Self::QueryLower(name) => format!("query `{name}`"),
            Self::Form(name) => format!("form `{name}`"),
            Self::Multipart(field) => format!("multipart `{field}`"),
            Self::SortedForm(_) => "all fields of the form".to_owned(),
            Self::Json(pointer) | Self::JsonValue(pointer) | Self::JsonOrEmpty(pointer) => {
                format!("`{pointer}` of the body")
            }
            Self::Optional(parts) => {
                let parts = each(parts.iter().filter_map(Self::in_words));
                return (!parts.is_empty()).then(|| format!("{parts} (if there)"));
            }
        })
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

#[cfg(test)]
mod tests {
    use crate::schemes::{find, names};

    #[test]
    fn what_a_signature_covers_is_said_of_every_scheme() {
        let covers = |name: &str| find(name).unwrap().covers_in_words();
        assert_eq!(covers("github"), "the body");
        assert_eq!(covers("stripe"), "the signed time, the body");
        assert_eq!(covers("standard-webhooks"), "header `webhook-id`, the signed time, the body");
        for (name, part) in [("twilio", "the public URL"), ("slack", "the signed time"), ("icr", "`/signedData`")] {
            assert!(covers(name).contains(part), "{name}: {}", covers(name));
        }
        for name in names().filter(|name| find(name).unwrap().unsupported.is_none()) {
            let covers = covers(name);
            assert!(!covers.is_empty() && !covers.contains("  ") && !covers.starts_with(';'), "{name}: {covers:?}");
            let spec = find(name).unwrap();
            let signs_time = spec.covers.is_none()
                && spec.ways.iter().all(|way| {
                    // A time in the body is signed with it.
                    way.timestamp.as_ref().is_some_and(|timestamp| !timestamp.is_in_body())
                });
            let says_time = covers.contains("time") || covers != "the body";
            assert!(!signs_time || says_time, "{name}: {covers}");
        }
    }
}
