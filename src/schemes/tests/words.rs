//! Words of the language one by one, in schemes made up for it.

mod keys_and_times;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::*;
use VerifyError::{
    AmbiguousSignature, FutureTimestamp, MalformedSignature, MissingSignature, PayloadMismatch, SignatureMismatch,
    StaleTimestamp,
};

/// A scheme: HMAC-SHA256 in hex over the body in the header `sig`, unless these words say otherwise.
fn spec(words: serde_json::Value) -> Spec {
    let mut scheme = json!({
        "signature": { "at": { "header": "sig" }, "encoding": "hex" },
        "algorithm": { "hmac": "sha256" },
        "secret": "utf8",
        "forms": [{ "name": "f", "content": ["body"] }],
    });
    for (word, value) in words.as_object().unwrap() {
        scheme[word] = value.clone();
        if value.is_null() {
            scheme.as_object_mut().unwrap().remove(word);
        }
    }
    Spec::custom("test", scheme).unwrap()
}

fn compiled(words: serde_json::Value) -> Verifier {
    compiled_with(words, SchemeOptions::default(), "key")
}

fn compiled_with(words: serde_json::Value, options: SchemeOptions, secret: &str) -> Verifier {
    spec(words).compile(&options, &[secret.as_bytes().to_vec().into()]).unwrap()
}

/// A content of these parts that does not cover the body.
fn parts(content: serde_json::Value) -> serde_json::Value {
    json!({ "forms": [{ "name": "f", "content": content }], "covers": "what the test says" })
}

fn hex_mac(text: &str) -> String {
    base16ct::lower::encode_string(&mac(text))
}

fn mac(text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A request.
#[derive(Clone)]
struct Sent {
    method: Method,
    path: &'static str,
    query: Option<String>,
    headers: HeaderMap,
    body: String,
    now: u64,
}

impl Sent {
    fn new(body: &str) -> Self {
        let (headers, body) = (HeaderMap::new(), body.to_owned());
        Self { method: Method::POST, path: "/in", query: None, headers, body, now: NOW.as_secs() }
    }

    fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.headers.append(name, value.as_ref().parse().unwrap());
        self
    }

    /// With the header `sig` for this content.
    fn signed(self, content: &str) -> Self {
        self.with("sig", hex_mac(content))
    }

    fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead { method: &self.method, path: self.path, query: self.query.as_deref(), headers: &self.headers }
    }

    fn to(&self, verifier: &Verifier) -> Result<Proven, VerifyError> {
        check_request(verifier, self.head(), &[self.body.as_bytes()], Duration::from_secs(self.now))
    }

    fn verdict(&self, verifier: &Verifier) -> Option<VerifyError> {
        self.to(verifier).err()
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

#[test]
fn every_part_puts_into_the_content_what_it_says() {
    let form = "b=2&a=1&c=%26&a=0&a=1";
    let json = r#"{"s":"text","n":-1.50,"t":true,"e":"","z":null,"o":{"a":[{"k":"deep"}]}}"#;
    let url = |url: &str| SchemeOptions { public_url: Some(url.to_owned()), ..SchemeOptions::default() };
    let base = "https://hooks.example.com/in";
    let digest = "{ab}";
    for (part, body, query, expected) in [
        (json!("body"), "{}", None, "{}"),
        (json!({ "text": "a:b" }), "{}", None, "a:b"),
        (json!("method"), "{}", None, "POST"),
        (json!("path"), "{}", Some("q=1"), "/in"),
        (json!("path_and_query"), "{}", Some("q=1"), "/in?q=1"),
        (json!("path_and_query"), "{}", None, "/in"),
        (json!("sorted_query"), "{}", Some("b=2&a=%31&&a=0"), "a=%31&a=0&b=2"),
        (
            json!({ "escaped_query": ["p"] }),
            "{}",
            Some("p=1+2%20&b=%c3%A9&a=(x)&a=%26+y"),
            "a=(x)&a=%26%20y&b=%C3%A9&p=1%2B2%20",
        ),
        (json!({ "query": "q" }), "{}", Some("a=1&q=A%2Bb+c"), "A+b c"),
        (json!({ "query_lower": "q" }), "{}", Some("q=ABC"), "abc"),
        (json!({ "header": "x-a" }), "{}", None, "value"),
        (json!({ "form": "c" }), form, None, "&"),
        (json!({ "sorted_form": "unique" }), form, None, "a0a1b2c&"),
        (json!({ "sorted_form": "all" }), form, None, "a0a1a1b2c&"),
        (json!({ "sorted_form": "stable" }), form, None, "a1a0a1b2c&"),
        (json!({ "json": "/s" }), json, None, "text"),
        (json!({ "json": "/o/a/0/k" }), json, None, "deep"),
        (json!({ "json": "/o/a/*/k" }), json, None, "deep"),
        (json!({ "json_value": "/n" }), json, None, "-1.50"),
        (json!({ "json_value": "/t" }), json, None, "true"),
        (json!({ "json_or_empty": "/e" }), json, None, ""),
        (json!({ "json_or_empty": "/z" }), json, None, ""),
        (json!({ "json_or_empty": "/nothing/here" }), json, None, ""),
        (json!({ "json_or_empty": "/o/here" }), json, None, ""),
        (json!({ "json_or_empty": "/o/a/*/here" }), json, None, ""),
        (json!({ "optional": [{ "text": "q:" }, { "query": "q" }] }), "{}", Some("q=1"), "q:1"),
        (json!({ "optional": [{ "text": "q:" }, { "query": "q" }] }), "{}", None, ""),
        (
            json!({ "digest": { "hash": "sha1", "encoding": "hex" } }),
            digest,
            None,
            "dd70639c6c0e8ca54a8bb0cc6dd8fbc05e2bd8fd",
        ),
        (json!("url"), "{}", Some("q=%3a"), "https://hooks.example.com/in?q=%3a"),
        (json!("url"), "{}", None, "https://hooks.example.com/in"),
        (json!("url"), "{}", None, "https://hooks.example.com:443/in"),
        (json!("url_without_query"), "{}", Some("q=1"), "https://hooks.example.com/in"),
        (json!({ "url_unescaped": ":/" }), "{}", Some("q=%3a%2F%20"), "https://hooks.example.com/in?q=:/%20"),
    ] {
        let what = format!("{part} {body} {query:?}");
        let spec = spec(parts(json!([{ "text": "<" }, part, { "text": ">" }])));
        let options = if spec.needs_public_url() { url(base) } else { SchemeOptions::default() };
        let verifier = spec.compile(&options, &[b"key".to_vec().into()]).unwrap();
        let expected = if body == digest { hex_of_sha1(body) } else { expected.to_owned() };
        let mut sent = Sent::new(body).with("x-a", " value ").signed(&format!("<{expected}>"));
        sent.query = query.map(ToOwned::to_owned);
        assert_eq!(sent.verdict(&verifier), None, "{what}");
        let wrong = Sent { headers: HeaderMap::new(), ..sent.clone() }.with("x-a", "value").signed("<other>");
        assert_eq!(wrong.verdict(&verifier), Some(SignatureMismatch), "{what}");
    }
}

#[test]
fn a_public_url_with_a_password_is_signed_with_it() {
    let mut options = SchemeOptions::default();
    let url = b"https://user:pass@hooks.example.com:8443/in".to_vec();
    options.secrets.insert("public_url".to_owned(), url.into());
    let verifier = compiled_with(parts(json!(["url", "body"])), options.clone(), "key");
    for url in ["https://user:pass@hooks.example.com:8443/in", "https://user:pass@hooks.example.com/in"] {
        assert_eq!(Sent::new("{}").signed(&format!("{url}{{}}")).verdict(&verifier), None, "{url}");
    }
    let without = Sent::new("{}").signed("https://hooks.example.com:8443/in{}");
    assert_eq!(without.verdict(&verifier), Some(SignatureMismatch));
    assert!(!format!("{verifier:?} {options:?}").contains("pass"));
}

#[test]
fn a_body_that_was_signed_before_its_compression_is_uncompressed_up_to_a_bound() {
    let gzip = |content: &[u8]| {
        let deflated = miniz_oxide::deflate::compress_to_vec(content, 6);
        let length = (content.len() as u32).to_le_bytes();
        [b"\x1f\x8b\x08\0\0\0\0\0\0\xff", deflated.as_slice(), &[0; 4], &length].concat()
    };
    let words = json!({ "forms": [
        { "name": "body", "content": ["body"] }, { "name": "uncompressed", "content": ["uncompressed_body"] },
    ] });
    let options = SchemeOptions { max_uncompressed: Some(100), ..SchemeOptions::default() };
    let verifier = compiled_with(words, options, "key");
    let verdict = |coding: &'static str, content: &str| {
        let mut headers = header("sig", hex_mac(content).as_bytes());
        headers.insert("content-encoding", http::HeaderValue::from_static(coding));
        check(&verifier, &headers, &[&gzip(content.as_bytes())]).err()
    };
    let (fits, long) = ("x".repeat(100), "x".repeat(101));
    assert_eq!(verdict("gzip", &fits), None);
    assert_eq!(verdict(" GZIP ", &fits), None);
    assert_eq!(verdict("gzip", &long), Some(SignatureMismatch));
    for coding in ["deflate", "identity", "gzip, gzip"] {
        assert_eq!(verdict(coding, &fits), Some(SignatureMismatch), "{coding}");
    }
}

fn hex_of_sha1(text: &str) -> String {
    let digest = hash::hash(spec::Hash::Sha1, [text.as_bytes()]);
    base16ct::lower::encode_string(digest.as_bytes())
}

#[test]
fn a_part_that_is_not_there_or_of_the_wrong_kind_is_a_mismatch() {
    for (part, body) in [
        (json!({ "header": "x-a" }), "{}"),
        (json!({ "query": "q" }), "{}"),
        (json!({ "form": "f" }), "g=1"),
        (json!({ "json": "/n" }), "{\"n\":1}"),
        (json!({ "json": "/e" }), "{\"e\":\"\"}"),
        (json!({ "json_value": "/z" }), "{\"z\":null}"),
        (json!({ "json_value": "/o" }), "{\"o\":{}}"),
        (json!({ "json": "/a/*" }), "{\"a\":[\"x\",\"x\"]}"),
        (json!({ "json_or_empty": "/a/*" }), "{\"a\":[\"x\",\"x\"]}"),
        (json!({ "json_or_empty": "/o" }), "{\"o\":{}}"),
    ] {
        let verifier = compiled(parts(json!([part])));
        for content in ["", "1", "x", "xx", "null", "{}"] {
            assert_eq!(Sent::new(body).signed(content).verdict(&verifier), Some(SignatureMismatch), "{part} {content}");
        }
    }
}

#[test]
fn a_field_or_key_that_is_there_twice_is_refused_whichever_was_signed() {
    for (part, body) in [
        (json!({ "form": "f" }), "f=a&f=b"),
        (json!({ "json": "/f" }), r#"{"f":"a","f":"b"}"#),
        (json!({ "json_or_empty": "/f" }), r#"{"f":"a","f":"b"}"#),
    ] {
        let verifier = compiled(parts(json!([part])));
        assert!(verifier.possible_errors().contains(&PayloadMismatch));
        for (content, verdict) in [("a", PayloadMismatch), ("b", PayloadMismatch), ("c", SignatureMismatch)] {
            assert_eq!(Sent::new(body).signed(content).verdict(&verifier), Some(verdict), "{part} {content}");
        }
    }
}

#[test]
fn what_does_not_cover_the_body_authenticates_nothing_of_it() {
    let authentic = Sent::new("{}").signed("POST").to(&compiled(parts(json!(["method"])))).unwrap();
    assert_eq!(authentic.content, Authenticated::Nothing);
    let authentic = Sent::new("{}").signed("{}").to(&compiled(json!({}))).unwrap();
    assert_eq!(authentic.content, Authenticated::Body);
}

#[test]
fn listed_headers_are_signed_as_the_list_has_them() {
    let listed =
        json!({ "listed_headers": { "in": "x-list", "split": ",", "pair": ":", "join": ";", "require": ["x-t"] } });
    let verifier = compiled(json!({ "forms": [{ "name": "f", "content": [listed, "body"] }] }));
    let sent = |list: &str| Sent::new("{}").with("x-list", list).with("x-t", "1").with("x-a", "v");
    let verdict = |list: &str, content: &str| sent(list).signed(content).verdict(&verifier);
    assert_eq!(verdict("x-t,X-A", "x-t:1;x-a:v{}"), None);
    assert_eq!(verdict("x-a, x-t", "x-a:v;x-t:1{}"), None);
    assert_eq!(verdict("x-a", "x-a:v{}"), Some(SignatureMismatch), "the required header is not listed");
    assert_eq!(verdict("x-t,x-b", "x-t:1;x-b:{}"), Some(SignatureMismatch), "a header that is not there");
    let twice = sent("x-t,x-a").with("x-a", "w").signed("x-t:1;x-a:v{}");
    assert_eq!(twice.verdict(&verifier), Some(SignatureMismatch));
    let many = vec!["x-t"; 65].join(",");
    assert_eq!(verdict(&many, &format!("{}{{}}", vec!["x-t:1"; 65].join(";"))), Some(SignatureMismatch));
}

#[test]
fn a_field_of_the_signatures_list_names_headers_that_are_signed() {
    let listed = json!({ "listed_headers": { "field": "h", "split": " ", "join": ".", "require": [] } });
    let content = json!([{ "field": "h" }, { "text": "." }, listed, { "text": "." }, "body"]);
    let list = json!({ "list": { "separator": ",", "assign": "=", "key": "v1" } });
    let signature = json!({ "at": { "header": "sig" }, "grammar": list, "encoding": "hex" });
    let words = json!({ "signature": signature, "forms": [{ "name": "f", "content": content }] });
    let verifier = compiled(words);
    let verdict = |fields: &str, signed: &str| {
        let value = format!("{fields},v1={}", hex_mac(signed));
        Sent::new("{}").with("x-a", "1").with("x-b", "2").with("sig", &value).verdict(&verifier)
    };
    assert_eq!(verdict("h=x-b X-A", "x-b X-A.2.1.{}"), None);
    assert_eq!(verdict("h=x-b X-A", "x-b X-A.2.2.{}"), Some(SignatureMismatch));
    assert_eq!(verdict("h=x-a", "x-b.2.{}"), Some(SignatureMismatch), "another list");
    assert_eq!(verdict("h=x-a x-c", "x-a x-c.1..{}"), Some(SignatureMismatch), "a header that is not there");
    assert_eq!(verdict("a=1", "..{}"), Some(SignatureMismatch), "no list");
    assert_eq!(verdict("h=x-a,h=x-a", "x-a.1.{}"), Some(SignatureMismatch), "two lists");
}

#[test]
fn a_lengthened_body_of_a_plain_hash_is_no_json() {
    let words = json!({
        "algorithm": { "hash": "sha256" },
        "forms": [{ "name": "f", "content": ["secret", "body"], "requires": "json" }],
    });
    let verifier = compiled(words);
    let sent = |body: &[u8]| {
        let digest = hash::hash(spec::Hash::Sha256, [b"key".as_slice(), body]);
        let headers = header("sig", base16ct::lower::encode_string(digest.as_bytes()).as_bytes());
        check(&verifier, &headers, &[body]).err()
    };
    assert_eq!(sent(b"{}"), None);
    assert_eq!(sent(b" [1, \"\"] "), None);
    // What the hash itself appends, as anyone who lengthens it must leave in the body.
    let padding = [&[0x80][..], &[0; 50], &40_u64.to_be_bytes()].concat();
    for behind in [b"".as_slice(), b"{}", b",\"a\":1}"] {
        assert_eq!(sent(&[b"{}", padding.as_slice(), behind].concat()), Some(SignatureMismatch));
    }
}

#[test]
fn requirements_keep_a_form_to_the_requests_that_it_is_for() {
    let with = |requires: serde_json::Value| {
        compiled(json!({ "forms": [{ "name": "f", "content": ["body"], "requires": requires }] }))
    };
    let sent = Sent::new("a=1&b=2").signed("a=1&b=2");
    let form = sent.clone().with(FORM.0, FORM.1);
    for (requires, fits, not) in [
        (json!("form"), form.clone(), sent.clone()),
        (json!("not_form"), sent.clone(), form.clone()),
        (json!("empty_body"), Sent::new("").signed(""), sent.clone()),
        (json!({ "form_fields": ["a", "b"] }), sent.clone(), Sent::new("a=1&b=2&b=3").signed("a=1&b=2&b=3")),
        (json!({ "form_fields": ["a", "b"] }), sent.clone(), Sent::new("a=1&b=2&c=3").signed("a=1&b=2&c=3")),
        (json!({ "form_fields": ["a", "b"] }), sent.clone(), Sent::new("a=1").signed("a=1")),
        (json!({ "header": { "name": "v", "value": "2" } }), sent.clone().with("v", "2"), sent.clone().with("v", "1")),
        (
            json!({ "header": { "name": "v", "value": "2" } }),
            sent.clone().with("v", "2"),
            sent.clone().with("v", "2").with("v", "2"),
        ),
        (
            json!({ "query_digest": { "name": "d", "hash": "sha1", "encoding": "hex" } }),
            sent.clone().query(&format!("d={}", hex_of_sha1("a=1&b=2"))),
            sent.clone().query(&format!("d={}", hex_of_sha1("a=1"))),
        ),
    ] {
        let verifier = with(requires.clone());
        assert_eq!(fits.verdict(&verifier), None, "{requires}");
        assert_eq!(not.verdict(&verifier), Some(SignatureMismatch), "{requires}");
    }
}

#[test]
fn a_signature_is_found_wherever_the_scheme_has_it() {
    let at = |place: serde_json::Value| json!({ "signature": { "at": place, "encoding": "hex" } });
    let in_body = |place: serde_json::Value, content: &str| {
        let mut words = at(place);
        words["forms"] = json!([{ "name": "f", "content": [{ "text": content }] }]);
        words["covers"] = json!("nothing");
        compiled(words)
    };
    let (good, bad) = (hex_mac("{}"), "00".repeat(32));

    let any = compiled(at(json!({ "headers": ["one", "two"] })));
    for (sent, verdict) in [
        (Sent::new("{}").with("one", &good), None),
        (Sent::new("{}").with("two", &good), None),
        (Sent::new("{}").with("one", &bad).with("two", &good), None),
        (Sent::new("{}").with("one", "").with("two", &good), None),
        (Sent::new("{}").with("one", "zz").with("two", &good), None),
        (Sent::new("{}").with("one", "zz"), Some(MalformedSignature)),
        (Sent::new("{}").with("one", &bad), Some(SignatureMismatch)),
        (Sent::new("{}").with("one", &good).with("one", &good), Some(AmbiguousSignature)),
        (Sent::new("{}"), Some(MissingSignature)),
    ] {
        assert_eq!(sent.verdict(&any), verdict, "{:?}", sent.headers);
    }

    let series = compiled(at(json!({ "header_series": { "prefix": "s-", "count": 3 } })));
    assert_eq!(Sent::new("{}").with("s-1", &bad).with("s-2", &bad).with("s-3", &good).verdict(&series), None);
    assert_eq!(Sent::new("{}").with("s-2", &good).verdict(&series), Some(MissingSignature));
    assert_eq!(series.signature_headers(), ["s-1", "s-2", "s-3"]);

    let lines = compiled(at(json!({ "header_lines": "s" })));
    let repeated = |times: usize| (1..times).fold(Sent::new("{}").with("s", &good), |sent, _| sent.with("s", &bad));
    assert_eq!(repeated(8).verdict(&lines), None);
    assert_eq!(repeated(9).verdict(&lines), Some(AmbiguousSignature));
    let joined = |times: usize| Sent::new("{}").with("s", [vec![&*good], vec![&*bad; times - 1]].concat().join(", "));
    assert_eq!(joined(8).verdict(&lines), None);
    assert_eq!(joined(9).verdict(&lines), Some(AmbiguousSignature));

    let query = compiled(at(json!({ "query": "s" })));
    assert_eq!(Sent::new("{}").query(&format!("a=1&s={good}")).verdict(&query), None);
    assert_eq!(Sent::new("{}").query(&format!("s={good}&s={good}")).verdict(&query), Some(AmbiguousSignature));
    assert_eq!(Sent::new("{}").query("a=1").verdict(&query), Some(MissingSignature));

    let form = in_body(json!({ "form": "s" }), "x");
    assert_eq!(Sent::new(&format!("a=1&s={}", hex_mac("x"))).verdict(&form), None);
    assert_eq!(Sent::new(&format!("s={}", hex_mac("y"))).verdict(&form), Some(SignatureMismatch));
    assert_eq!(Sent::new("a=1").verdict(&form), Some(MissingSignature));

    let json = in_body(json!({ "json": "/v/*/s" }), "x");
    let body = |one: &str, two: &str| Sent::new(&format!(r#"{{"v":[{{"s":"{one}"}},{{"s":"{two}"}}]}}"#));
    assert_eq!(body(&hex_mac("x"), &hex_mac("x")).verdict(&json), None);
    assert_eq!(body(&hex_mac("x"), &hex_mac("y")).verdict(&json), Some(AmbiguousSignature));
    assert_eq!(Sent::new("{\"v\":[]}").verdict(&json), Some(MissingSignature));
    assert_eq!(Sent::new("[").verdict(&json), Some(MissingSignature));
}

#[test]
fn every_grammar_takes_what_its_providers_send() {
    let with = |grammar: serde_json::Value, encoding: serde_json::Value| {
        compiled(json!({ "signature": { "at": { "header": "sig" }, "grammar": grammar, "encoding": encoding } }))
    };
    let (good, bad) = (hex_mac("{}"), "00".repeat(32));
    let base64 = STANDARD.encode(mac("{}"));
    let pairs = json!({ "list": { "separator": "&", "assign": "|", "key": "*" } });
    let either = json!({ "list": { "separator": " ,", "assign": "=", "key": ["v1", "v2"] } });
    let prefixes = json!({ "prefix": { "text": ["sha256=", "hmac "], "ignore_case": true } });
    let places = json!({ "positional": { "separator": ",", "signature": 1 } });
    for (grammar, encoding, value, verdict) in [
        (pairs.clone(), json!("hex"), format!("a|{bad}&b|{good}"), None),
        (pairs, json!("hex"), format!("a|{bad}&{good}"), Some(SignatureMismatch)),
        (either.clone(), json!("hex"), format!("x=1 v2={good}"), None),
        (either, json!("hex"), format!("v3={good}, v1={bad}"), Some(SignatureMismatch)),
        (prefixes.clone(), json!("hex"), format!("HMAC {good}"), None),
        (prefixes.clone(), json!("hex"), format!("Sha256={good}"), None),
        (prefixes, json!("hex"), good.clone(), Some(MalformedSignature)),
        (places.clone(), json!("hex"), format!("x,{good}"), None),
        (places.clone(), json!("hex"), format!("x,{bad},{good}"), None),
        (places.clone(), json!("hex"), good.clone(), Some(MalformedSignature)),
        (places, json!("hex"), format!("x,{good},zz"), Some(MalformedSignature)),
        (json!("bare"), json!(["hex", "base64"]), good.clone(), None),
        (json!("bare"), json!(["hex", "base64"]), base64.clone(), None),
        (json!("bare"), json!("base64"), good, Some(MalformedSignature)),
        (json!("bare"), json!("base64_unpadded"), base64.trim_end_matches('=').to_owned(), None),
        (json!("bare"), json!("base64_unpadded"), base64, Some(MalformedSignature)),
    ] {
        let verifier = with(grammar.clone(), encoding);
        assert_eq!(Sent::new("{}").with("sig", &value).verdict(&verifier), verdict, "{grammar} {value}");
    }
}
