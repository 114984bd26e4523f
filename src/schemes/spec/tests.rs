//! What a scheme file may not say.

use super::*;

const GOOD: &str = "
name: good
title: Good
documentation: [https://example.com]
confidence: sdk
signature: { at: { header: x-sig }, grammar: bare, encoding: hex }
algorithm: { hmac: sha1 }
secret: utf8
forms: [{ name: body, content: [body] }]
sample: { headers: {}, body: '' }
vectors: [{ source: here, secret: k, headers: { x-sig: a, X-Sig: b }, body: '', accept: false, reason: ambiguous_signature }]
";

fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    Spec::parse(&GOOD.replace(from, to)).expect_err(to).to_string()
}

#[test]
fn a_file_with_only_what_is_needed_is_read() {
    let spec = Spec::parse(GOOD).unwrap();
    assert_eq!(spec.deadline(), None);
    assert!(spec.signed_content_values().is_empty());
    assert!(!spec.has_payload());
}

#[test]
fn a_header_may_be_in_a_vector_twice() {
    let spec = Spec::parse(GOOD).unwrap();
    let headers = spec.vectors[0].headers.to_map();
    assert_eq!(headers.get_all("x-sig").iter().count(), 2);
    assert_eq!(spec.vectors[0].headers.iter().count(), 2);
}

#[test]
fn a_word_that_the_language_does_not_have_is_refused_at_every_level() {
    for (from, to) in [
        ("title: Good", "title: Good\ncolour: red"),
        ("encoding: hex", "encoding: hex, strict: true"),
        ("encoding: hex", "encoding: base64"),
        ("grammar: bare", "grammar: { prefix: { text: a, required: true, strict: true } }"),
        ("grammar: bare", "grammar: { versions: { accept: v1 } }"),
        ("grammar: bare", "grammar: jws"),
        ("hmac: sha1", "hmac: md5"),
        ("hmac: sha1", "hash: sha1"),
        ("{ header: x-sig }", "{ query: sig }"),
        ("{ header: x-sig }", "{ header: 'no header' }"),
        ("secret: utf8", "secret: hex"),
        ("content: [body]", "content: [body], strict: true"),
        ("content: [body]", "content: [timestamp]"),
        ("content: [body]", "content: [body], requires: json"),
        ("confidence: sdk", "confidence: certain"),
        ("source: here", "source: here, when: now"),
        ("reason: ambiguous_signature", "reason: other"),
        ("headers: {}", "headers: { 'no header': a }"),
        ("headers: {}", "headers: { a: \"\\0\" }"),
        ("title: Good", "title: Good\ntitle: Good"),
    ] {
        refusal(from, to);
    }
}

#[test]
fn a_scheme_that_makes_no_sense_is_refused_with_the_place() {
    for (from, to, place) in [
        ("name: good", "name: ''", "name:"),
        ("name: good", "name: Good", "name:"),
        ("[https://example.com]", "[]", "documentation:"),
        ("grammar: bare", "grammar: { prefix: { text: '', required: true } }", "signature.grammar.prefix"),
        ("grammar: bare", "grammar: { prefix: { text: \"a\\n\", required: true } }", "signature.grammar.prefix"),
        ("grammar: bare", "grammar: { versions: { accept: v1, at_most: 0 } }", "signature.grammar.versions"),
        ("grammar: bare", "grammar: { versions: { accept: 'v1=', at_most: 1 } }", "signature.grammar.versions"),
        ("grammar: bare", "grammar: { versions: { accept: '', at_most: 1 } }", "signature.grammar.versions"),
        ("[{ name: body, content: [body] }]", "[]", "forms: at least one"),
        ("name: body,", "name: auto,", "forms: a form needs a name"),
        (
            "[{ name: body, content: [body] }]",
            "[{ name: a, content: [body] }, { name: a, content: [body] }]",
            "forms: two",
        ),
        ("content: [body]", "content: []", "forms: the content must cover the body"),
        ("content: [body]", "content: [{ json: /a }]", "forms: the content must cover the body"),
        (
            "content: [body]",
            "content: [body], payload: { encoding: base64, equals: body_without_key }",
            "forms: a payload",
        ),
        ("accept: false", "accept: true", "vectors: a refused"),
        (", reason: ambiguous_signature", "", "vectors: a refused"),
    ] {
        let message = refusal(from, to);
        assert!(message.starts_with(place), "{to}: {message}");
    }
    let vectors = GOOD.find("vectors:").unwrap();
    let none = format!("{}vectors: []\n", &GOOD[..vectors]);
    assert_eq!(Spec::parse(&none).unwrap_err().to_string(), "vectors: at least one");
}

#[test]
fn a_pointer_names_one_key_at_the_root() {
    let key = |pointer: &str| RootKey::try_from(pointer.to_owned()).map(|pointer| pointer.key().to_owned());
    assert_eq!(key("/signedData").as_deref(), Ok("signedData"));
    assert_eq!(key("/a~1b~0c~01").as_deref(), Ok("a/b~c~1"));
    assert_eq!(key("/").as_deref(), Ok(""));
    assert!(key("signedData").is_err());
    assert!(key("").is_err());
    assert!(key("/a/b").is_err());
}
