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

fn refusal(changes: &[(&str, &str)]) -> String {
    let mut yaml = GOOD.to_owned();
    for (from, to) in changes {
        assert!(yaml.contains(from), "{from}");
        yaml = yaml.replacen(from, to, 1);
    }
    Spec::parse(&yaml).expect_err(&format!("{changes:?}")).to_string()
}

#[test]
fn a_file_with_only_what_is_needed_is_read() {
    let spec = Spec::parse(GOOD).unwrap();
    assert_eq!(spec.deadline(), None);
    assert!(spec.signed_content_values().is_empty());
    assert!(!spec.has_payload() && !spec.needs_public_url() && !spec.has_timestamp());
}

#[test]
fn a_header_may_be_in_a_vector_twice() {
    let spec = Spec::parse(GOOD).unwrap();
    let headers = spec.vectors[0].headers.to_map();
    assert_eq!(headers.get_all("x-sig").iter().count(), 2);
    assert_eq!(spec.vectors[0].headers.iter().count(), 2);
}

#[test]
fn a_word_that_the_language_does_not_have_is_refused_at_its_place() {
    for (from, to, place) in [
        ("title: Good", "title: Good\ncolour: red", "colour: "),
        ("encoding: hex", "encoding: hex, strict: true", "signature.strict: "),
        ("encoding: hex", "encoding: base32", "signature.encoding"),
        ("encoding: hex", "encoding: [hex, base32]", "signature.encoding"),
        ("grammar: bare", "grammar: { prefix: { text: a, strict: true } }", "signature.grammar.prefix.strict: "),
        ("grammar: bare", "grammar: { list: { key: v1 } }", "signature.grammar.list"),
        ("grammar: bare", "grammar: jws", "signature.grammar"),
        ("hmac: sha1", "hmac: sha3", "algorithm.hmac"),
        ("hmac: sha1", "mac: sha1", "algorithm"),
        ("{ header: x-sig }", "{ cookie: sig }", "signature.at"),
        ("{ header: x-sig }", "{ header: 'no header' }", "signature.at.header"),
        ("secret: utf8", "secret: utf16", "secret"),
        ("content: [body]", "content: [body], strict: true", "forms[0].strict: "),
        ("content: [body]", "content: [host]", "forms[0].content[0]"),
        ("content: [body]", "content: [body], requires: yaml", "forms[0].requires"),
        ("content: [body]", "content: [{ json: a }]", "forms[0].content[0].json"),
        ("confidence: sdk", "confidence: certain", "confidence"),
        ("source: here", "source: here, when: now", "vectors[0].when: "),
        ("reason: ambiguous_signature", "reason: other", "vectors[0].reason"),
        ("headers: {}", "headers: { 'no header': a }", "sample.headers"),
        ("headers: {}", "headers: { a: \"\\0\" }", "sample.headers"),
        ("title: Good", "title: Good\ntitle: Good", ": the key title is repeated"),
    ] {
        let message = refusal(&[(from, to)]);
        assert!(message.starts_with(place), "{to}: {message}");
    }
}

#[test]
fn a_scheme_that_makes_no_sense_is_refused_with_the_place() {
    let prefix = "signature.grammar.prefix.text";
    let list = |what: &str| format!("grammar: {{ list: {{ {what} }} }}");
    let time = |at: &str| format!("secret: utf8\ntimestamp: {{ at: {at}, format: unix_seconds }}");
    for (from, to, place) in [
        ("name: good", "name: ''", "name:"),
        ("name: good", "name: Good", "name:"),
        ("title: Good", "title: ''", "title:"),
        ("confidence: sdk", "deadline_seconds: 1", "confidence:"),
        ("[https://example.com]", "[]", "documentation:"),
        ("secret: utf8", "success: x", "secret: is missing"),
        ("secret: utf8", "secret: []", "secret:"),
        ("secret: utf8", "secret: public_key", "secret:"),
        ("hmac: sha1", "hmac: keccak256", "algorithm.hmac:"),
        ("hmac: sha1", "hash: md5", "algorithm.hash:"),
        ("hmac: sha1", "rsa: md5", "algorithm.rsa:"),
        ("hmac: sha1", "rsa: sha256", "secret: the last step"),
        ("hmac: sha1", "hash: sha256", "forms[0].content: the secret"),
        ("{ hmac: sha1 }", "{ hash: sha256 }", "forms[0].content: the secret"),
        ("{ hmac: sha1 }", "token", "forms: the algorithm has none"),
        ("encoding: hex", "encoding: text", "signature.encoding:"),
        ("encoding: hex", "encoding: []", "signature.encoding:"),
        ("grammar: bare", "grammar: { prefix: { text: '' } }", prefix),
        ("grammar: bare", "grammar: { prefix: { text: \"a\\n\" } }", prefix),
        ("grammar: bare", &list("separator: ',', assign: '=', key: v1, at_most: 0"), "signature.grammar.list.at_most"),
        ("grammar: bare", &list("separator: ',', assign: '=', key: 'v='"), "signature.grammar.list.key"),
        ("grammar: bare", &list("separator: ',', assign: ',', key: v1"), "signature.grammar.list.assign"),
        ("grammar: bare", &list("separator: '', assign: '=', key: v1"), "signature.grammar.list.separator"),
        ("{ header: x-sig }", "{ headers: [] }", "signature.at.headers"),
        ("{ header: x-sig }", "{ header_series: { prefix: x-, count: 101 } }", "signature.at.header_series"),
        ("{ header: x-sig }", "body", "signature.at:"),
        ("{ header: x-sig }", "{ json: /sig }", "forms[0].content: the body holds the signature"),
        ("[{ name: body, content: [body] }]", "[]", "forms: at least one"),
        ("name: body,", "name: auto,", "forms[0].name:"),
        ("content: [body] }", "content: [body] }, { name: body, content: [body] }", "forms[1].name:"),
        ("content: [body]", "content: []", "forms[0].content: at least one"),
        ("content: [body]", "content: [{ json: /a }]", "forms[0].content: nothing ties the body"),
        ("content: [body]", "content: [url]", "forms[0].content: nothing ties the body"),
        ("content: [body]", "content: [{ form: a }], requires: { form_fields: [a, b] }", "forms[0].content: nothing"),
        ("content: [body]", "content: [body, secret]", "forms[0].content: the secret"),
        ("content: [body]", "content: [body, timestamp]", "timestamp: is missing"),
        ("content: [body]", "content: [body, { parameter: p }]", "forms[0].content: a parameter"),
        ("content: [body]", "content: [body, { field: h }]", "forms[0].content: a field needs"),
        ("secret: utf8", "secret: utf8\nreject_status: 410", "reject_status:"),
        (
            "content: [body]",
            "content: [body], payload: { encoding: base64, equals: body_without_key }",
            "forms[0]: a payload is",
        ),
        ("secret: utf8", &time("{ header: x-time }"), "timestamp: the content must cover it"),
        ("secret: utf8", &time("{ field: t }"), "timestamp.at: the grammar"),
        ("secret: utf8", "secret: utf8\nparameters: [{ name: p, description: d }]", "parameters[0]: nothing uses it"),
        ("secret: utf8", "secret: utf8\nunsupported: why", "unsupported:"),
        ("accept: false", "accept: true", "vectors[0]: refused"),
        (", reason: ambiguous_signature", "", "vectors[0]: refused"),
    ] {
        let message = refusal(&[(from, to)]);
        assert!(message.starts_with(place), "{to}: {message}");
    }
}

#[test]
fn a_plain_hash_that_can_be_lengthened_must_be_over_json_or_end_in_the_secret() {
    let with = |content: &str| {
        [("hmac: sha1", "hash: sha256"), ("content: [body]", content)].map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let parse = |content: &str| {
        Spec::parse(&with(content).iter().fold(GOOD.to_owned(), |yaml, (from, to)| yaml.replacen(from, to, 1)))
    };
    let error = parse("content: [secret, body]").unwrap_err().to_string();
    assert!(error.starts_with("forms[0].requires: anyone who has one delivery"), "{error}");
    for content in [
        "content: [secret, body], requires: json",
        "content: [secret, body], requires: json_object",
        "content: [secret, method], requires: empty_body",
        "content: [body, secret]",
    ] {
        parse(content).unwrap();
    }
}

#[test]
fn tokens_say_that_they_cover_nothing() {
    let token = [("{ hmac: sha1 }", "token"), ("forms: [{ name: body, content: [body] }]\n", "")];
    assert!(refusal(&token).starts_with("algorithm: nothing ties the body"));
    let covered = GOOD.replace("{ hmac: sha1 }", "token");
    let covered = covered.replace("forms: [{ name: body, content: [body] }]", "covers: nothing");
    Spec::parse(&covered).unwrap();
}

#[test]
fn ways_take_what_stands_above_them_and_replace_it() {
    let yaml = GOOD.replace("secret: utf8", "secret: utf8\nways: [{}, { algorithm: { hmac: sha256 } }]");
    let spec = Spec::parse(&yaml).unwrap();
    let algorithms: Vec<_> = spec.ways.iter().map(|way| way.algorithm.clone()).collect();
    assert_eq!(algorithms, [Algorithm::Hmac(HmacHash::Sha1), Algorithm::Hmac(HmacHash::Sha256)]);
    let wrong = refusal(&[("secret: utf8", "secret: utf8\nways: [{}, { forms: [] }]")]);
    assert!(wrong.starts_with("ways[1].forms: at least one"), "{wrong}");
}

#[test]
fn what_cannot_be_verified_needs_no_word_about_signatures() {
    let yaml =
        "name: a\ntitle: A\ndocumentation: [https://example.com]\nconfidence: sdk\nunsupported: it signs nothing";
    let spec = Spec::parse(yaml).unwrap();
    let fault = spec.compile(&crate::schemes::SchemeOptions::default(), &[b"s".to_vec().into()]).unwrap_err();
    assert_eq!(fault.to_string(), "a cannot be verified: it signs nothing");
}

#[test]
fn every_fault_of_a_scheme_is_told_at_once() {
    let faults = refusal(&[("encoding: hex", "encoding: []"), ("content: [body]", "content: []")]);
    assert_eq!(faults.lines().count(), 3, "{faults}");
}

#[test]
fn a_pointer_is_read_as_rfc_6901_has_it() {
    let pointer = |text: &str| Pointer::try_from(text.to_owned());
    let root = |text: &str| pointer(text).unwrap().root_key().map(ToOwned::to_owned);
    assert_eq!(root("/signedData").as_deref(), Some("signedData"));
    assert_eq!(root("/a~1b~0c~01").as_deref(), Some("a/b~c~1"));
    assert_eq!(root("/").as_deref(), Some(""));
    assert_eq!(root("/a/b"), None);
    assert_eq!(root("/*"), None);
    assert!(pointer("signedData").is_err());
    assert!(pointer("").is_err());
    assert_eq!(pointer("/a~1b/*/0").unwrap().to_string(), "/a~1b/*/0");
}
