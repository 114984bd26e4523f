//! Contents that a sender may have signed: those of the scheme, and common mistakes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HOST;

use super::suspect::Suspect;
use crate::schemes::compiled::Compiled;
use crate::schemes::content::Body;
use crate::schemes::fields::Found;
use crate::schemes::header::sole;
use crate::schemes::payload::{self, Kind};
use crate::schemes::request::{RequestHead, SignedRequest};
use crate::schemes::spec::{Algorithm, DigestOf, Encoding, Form, Hash, ListOfNames, OneOrMany, Part, Way};
use crate::schemes::url::{self, Base, PublicUrl};

/// Something that can be signed.
pub(super) struct Variant {
    pub(super) parts: Vec<Part>,
    pub(super) urls: Vec<Base>,
    /// The scheme's own form, if this is one.
    pub(super) form: Option<Form>,
    /// How it differs from that.
    pub(super) difference: Option<String>,
}

/// The contents of the scheme.
pub(super) fn own(way: &Compiled) -> Vec<Variant> {
    if way.forms.is_empty() {
        // A token: nothing is signed.
        return vec![Variant { parts: Vec::new(), urls: Vec::new(), form: None, difference: None }];
    }
    let own = way.forms.iter().map(|form| Variant {
        parts: form.form.content.clone(),
        urls: form.urls.clone(),
        form: Some(form.form.clone()),
        difference: None,
    });
    own.collect()
}

/// Contents that senders sign by mistake.
pub(super) fn odd(way: &Way, compiled: &Compiled, route: &Suspect<'_>, request: &SignedRequest<'_>) -> Vec<Variant> {
    let body = Body::new(request.body);
    let text = |text: &str| Part::Text(text.to_owned());
    let digest = Part::Digest(DigestOf { hash: Hash::Sha256, encoding: OneOrMany(vec![Encoding::Hex]) });
    let mut contents = vec![vec![Part::Body], vec![digest]];
    if way.timestamp.is_some() {
        for between in ["", ".", ":"] {
            contents.push(vec![Part::Timestamp, text(between), Part::Body]);
        }
        contents.push(vec![Part::Body, Part::Timestamp]);
    }
    let contents = match way.algorithm {
        Algorithm::Hash(_) => {
            let before = |parts: &Vec<Part>| [vec![Part::Secret], parts.clone()].concat();
            let behind = |parts: &Vec<Part>| [parts.clone(), vec![Part::Secret]].concat();
            contents.iter().flat_map(|parts| [before(parts), behind(parts)]).collect()
        }
        Algorithm::Token | Algorithm::Jwt(_) => Vec::new(),
        _ => contents,
    };
    let own: Vec<String> = compiled.forms.iter().map(|form| format!("{:?}", form.form.content)).collect();
    let expected = || compiled.forms.first().map(|form| in_words(&form.form.content)).unwrap_or_default();
    let mut variants: Vec<Variant> = contents
        .into_iter()
        .filter(|parts| !own.contains(&format!("{parts:?}")))
        .map(|parts| {
            let difference = format!("{} was signed, and the scheme signs {}", in_words(&parts), expected());
            Variant { parts, urls: Vec::new(), form: None, difference: Some(difference) }
        })
        .collect();
    for form in &compiled.forms {
        if let (Some(_), [Part::Json(pointer)]) = (&form.form.payload, form.form.content.as_slice())
            && let Found::Once(Some(signed)) = payload::find(body.bytes(), pointer, Kind::Text)
            && let Some(decoded) = STANDARD.decode(&signed).ok().and_then(|decoded| String::from_utf8(decoded).ok())
        {
            let difference =
                format!("what {pointer} decodes to was signed, and the scheme signs its text as it stands");
            let parts = vec![Part::Text(decoded)];
            variants.push(Variant { parts, urls: Vec::new(), form: None, difference: Some(difference) });
        }
        if !form.urls.is_empty() {
            variants.extend(other_urls(&form.form, route, request.head));
        }
    }
    variants
}

/// The form with the public URLs that the provider may have instead.
fn other_urls(form: &Form, route: &Suspect<'_>, head: RequestHead<'_>) -> Vec<Variant> {
    let configured = url::without_user(route.options.public_url().unwrap_or_default());
    let own = configured.split_once("://").map_or("", |(_, rest)| rest).split('?').next().unwrap_or_default();
    let (own_host, own_path) = own.find('/').and_then(|at| own.split_at_checked(at)).unwrap_or((own, ""));
    let mut hosts: Vec<String> = vec![own_host.to_owned()];
    hosts.extend(requested_hosts(head.headers));
    let mut urls: Vec<String> = Vec::new();
    for host in hosts {
        for path in [own_path, head.path] {
            let bare = path.trim_end_matches('/');
            for path in [path.to_owned(), bare.to_owned(), format!("{bare}/")] {
                for scheme in ["https", "http"] {
                    let url = format!("{scheme}://{host}{path}");
                    if url != configured && !urls.contains(&url) {
                        urls.push(url);
                    }
                }
            }
        }
    }
    let variants = urls.into_iter().filter_map(|url| {
        let difference = format!("the signature is for the URL {url}, and the route's public_url is {configured}");
        let urls = PublicUrl::parse(&url).ok()?.bases();
        let (parts, form) = (form.content.clone(), Some(form.clone()));
        Some(Variant { parts, urls, form, difference: Some(difference) })
    });
    variants.collect()
}

fn requested_hosts(headers: &HeaderMap) -> Vec<String> {
    let forwarded = headers.get("x-forwarded-host").and_then(|value| value.to_str().ok());
    let own = sole(headers, &HOST).and_then(|value| std::str::from_utf8(value).ok());
    own.into_iter().chain(forwarded).map(ToOwned::to_owned).collect()
}

/// Content in words: `"v0:" + timestamp + ":" + body`.
fn in_words(parts: &[Part]) -> String {
    let words = parts.iter().filter_map(|part| {
        Some(match part {
            Part::Text(text) if text.is_empty() => return None,
            Part::Text(text) => format!("{text:?}"),
            Part::Body => "body".to_owned(),
            Part::UncompressedBody | Part::UncompressedUpTo(_) => "uncompressed body".to_owned(),
            Part::Timestamp => "timestamp".to_owned(),
            Part::Secret => "secret".to_owned(),
            Part::Parameter(name) => format!("parameter {name}"),
            Part::Header(name) => format!("header {name}"),
            Part::Field(field) => format!("{} of the signature", field.key),
            Part::ListedHeaders(listed) => match &listed.list {
                ListOfNames::Header(name) => format!("headers listed in {name}"),
                ListOfNames::Field(field) => format!("headers listed in {} of the signature", field.key),
            },
            Part::Method => "method".to_owned(),
            Part::Url | Part::UrlUnescaped(_) => "public URL".to_owned(),
            Part::UrlWithoutQuery => "public URL without query".to_owned(),
            Part::Path => "path".to_owned(),
            Part::PathAndQuery => "path and query".to_owned(),
            Part::SortedQuery => "sorted query".to_owned(),
            Part::EscapedQuery(_) => "sorted query, escaped anew".to_owned(),
            Part::Query(name) | Part::QueryLower(name) => format!("query parameter {name}"),
            Part::Form(name) => format!("form field {name}"),
            Part::Multipart(field) => format!("multipart field {field}"),
            Part::SortedForm(_) => "sorted form fields".to_owned(),
            Part::Json(pointer) | Part::JsonValue(pointer) | Part::JsonOrEmpty(pointer) => pointer.to_string(),
            Part::Digest(digest) => format!("{} of the body", digest.hash.name()),
            Part::Optional(parts) => format!("({}, if there)", in_words(parts)),
        })
    });
    words.collect::<Vec<_>>().join(" + ")
}
