//! Challenges in schemes made up for them, and what no scheme may ask for.

use serde_json::json;

use super::*;
use crate::schemes::VerifyError;

/// A scheme with these challenges: HMAC-SHA256 in hex over the body in the header `sig`.
fn scheme(challenge: &Value) -> Value {
    json!({
        "signature": { "at": { "header": "sig" }, "encoding": "hex" },
        "algorithm": { "hmac": "sha256" },
        "secret": "utf8",
        "forms": [{ "name": "f", "content": ["body"] }],
        "parameters": [{ "name": "verify_token", "description": "the verify token", "secret": true }],
        "challenge": challenge,
    })
}

fn spec(challenge: &Value) -> Result<Spec, String> {
    let mut scheme = scheme(challenge);
    if !challenge.to_string().contains("verify_token") {
        scheme.as_object_mut().unwrap().remove("parameters");
    }
    Spec::custom("test", scheme).map_err(|faults| faults.to_string())
}

fn options(spec: &Spec) -> SchemeOptions {
    let secrets = spec.parameters.iter().map(|parameter| (parameter.name.clone(), b"canary-token".to_vec().into()));
    SchemeOptions { secrets: secrets.collect(), ..SchemeOptions::default() }
}

fn verifier(challenge: &Value) -> crate::schemes::Verifier {
    let spec = spec(challenge).unwrap();
    let secrets: [Secret; 2] = [b"key".to_vec().into(), b"old".to_vec().into()];
    spec.compile(&options(&spec), &secrets).unwrap()
}

/// A request, as little as a challenge looks at of it.
struct Sent<'a>(Method, &'a str, &'a [(&'static str, &'a str)], &'a str);

impl Sent<'_> {
    fn with<T>(&self, act: impl FnOnce(RequestHead<'_>, &SignedRequest<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        for (name, value) in self.2 {
            headers.append(*name, value.parse().unwrap());
        }
        let head = RequestHead { method: &self.0, path: "/", query: Some(self.1), headers: &headers };
        let frames = [Bytes::copy_from_slice(self.3.as_bytes())];
        act(head, &SignedRequest { head, body: &frames })
    }

    fn in_head(&self, challenge: &Value) -> Option<Reply> {
        let verifier = verifier(challenge);
        let challenges = verifier.challenges().unwrap();
        let asked = self.with(|head, _| challenges.in_head(head))?;
        Some(challenges.reply(&asked, None))
    }

    fn unsigned(&self, challenge: &Value) -> Option<Reply> {
        let verifier = verifier(challenge);
        let challenges = verifier.challenges().unwrap();
        let asked = self.with(|_, request| challenges.unsigned(request))?;
        Some(challenges.reply(&asked, None))
    }
}

fn echo_of(place: Value) -> Value {
    json!({ "method": "GET", "signed": false, "echo": { "at": place }, "answer": { "text": "echo" } })
}

fn get<'a>(query: &'a str, headers: &'a [(&'static str, &'a str)]) -> Sent<'a> {
    Sent(Method::GET, query, headers, "")
}

#[test]
fn a_text_comes_back_from_wherever_it_stands_as_a_text_that_no_browser_takes_for_more() {
    let in_query = echo_of(json!({ "query": "challenge" }));
    let reply = get("a=1&challenge=a%2Bb-_.~/%3D9", &[]).in_head(&in_query).unwrap();
    assert_eq!(reply.body, "a+b-_.~/=9");
    assert_eq!(reply.headers["content-type"], "text/plain");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let in_header = echo_of(json!({ "header": "x-challenge" }));
    assert_eq!(get("", &[("x-challenge", "abc")]).in_head(&in_header).unwrap().body, "abc");
}

#[test]
fn what_is_not_a_short_text_of_the_letters_or_is_there_twice_asks_nothing() {
    let challenge = echo_of(json!({ "query": "challenge" }));
    let longest = format!("challenge={}", "a".repeat(256));
    assert!(get(&longest, &[]).in_head(&challenge).is_some());
    for query in [
        "",
        "challenge",
        "challenge=",
        &format!("{longest}a"),
        "challenge=%3Cscript%3E",
        "challenge=%7B%22a%22:1%7D",
        "challenge=a%20b",
        "challenge=a%0Ab",
        "challenge=%00",
        "challenge=%C3%A9",
        "challenge=a&challenge=a",
        "challenge=a&%63hallenge=b",
        "Challenge=a",
    ] {
        assert_eq!(get(query, &[]).in_head(&challenge), None, "{query}");
    }
    assert_eq!(Sent(Method::POST, "challenge=a", &[], "").in_head(&challenge), None);
    let in_header = echo_of(json!({ "header": "x-challenge" }));
    assert_eq!(get("", &[("x-challenge", "a"), ("x-challenge", "a")]).in_head(&in_header), None);
}

#[test]
fn a_line_may_have_spaces_and_nothing_that_means_something_in_html() {
    let challenge = json!({
        "method": "POST", "signed": false, "answer": { "text": "echo" },
        "echo": { "at": { "query": "t" }, "letters": "line", "at_most": 512 },
    });
    let sent = |query: &str| Sent(Method::POST, query, &[], "").in_head(&challenge);
    assert_eq!(
        sent("t=Validation%3A+Testing+client%20(Request-Id)").unwrap().body,
        "Validation: Testing client (Request-Id)"
    );
    for text in ["%3C", "%3E", "%26", "%22", "%27", "%60", "%5C", "%7F", "%09", "%0D", "%0A", "%E2%80%A8"] {
        assert_eq!(sent(&format!("t=a{text}b")), None, "{text}");
    }
    assert!(sent(&format!("t={}", "a".repeat(512))).is_some());
    assert_eq!(sent(&format!("t={}", "a".repeat(513))), None);
}

#[test]
fn every_condition_must_be_met_and_a_secret_one_by_its_very_text() {
    let challenge = json!({
        "method": "GET", "signed": false, "answer": { "text": "echo" }, "echo": { "at": { "query": "hub.challenge" } },
        "when": [
            { "at": { "query": "hub.mode" }, "is": { "text": "subscribe" } },
            { "at": { "query": "hub.verify_token" }, "is": { "parameter": "verify_token" } },
        ],
    });
    let asks = |mode: &str, token: &str| {
        get(&format!("hub.mode={mode}&hub.challenge=1158201444&hub.verify_token={token}"), &[]).in_head(&challenge)
    };
    assert_eq!(asks("subscribe", "canary-token").unwrap().body, "1158201444");
    for (mode, token) in [
        ("unsubscribe", "canary-token"),
        ("Subscribe", "canary-token"),
        ("subscribe", "canary-tokem"),
        ("subscribe", "canary-toke"),
        ("subscribe", "canary-token-"),
        ("subscribe", ""),
        ("subscribe", "canary-token&hub.verify_token=canary-token"),
    ] {
        assert_eq!(asks(mode, token), None, "{mode} {token}");
    }
    assert_eq!(get("hub.mode=subscribe&hub.challenge=1", &[]).in_head(&challenge), None);
}

#[test]
fn a_challenge_without_its_secret_is_not_answered_unless_it_is_demanded_and_the_secret_shows_nowhere() {
    let challenge = json!({
        "method": "GET", "signed": false, "answer": {},
        "when": { "at": { "query": "t" }, "is": { "parameter": "verify_token" } },
    });
    let spec = spec(&challenge).unwrap();
    let compiled = |options: &SchemeOptions| spec.compile(options, &[b"key".to_vec().into()]);
    assert!(compiled(&SchemeOptions::default()).unwrap().challenges().is_none());
    let on = SchemeOptions { challenge: Some(true), ..SchemeOptions::default() };
    let message = compiled(&on).unwrap_err().to_string();
    assert_eq!(message, "is missing: test needs the verify token");
    let text = SchemeOptions { parameters: [("verify_token".to_owned(), "t".to_owned())].into(), ..options(&spec) };
    assert_eq!(compiled(&text).unwrap_err().to_string(), "the scheme test has no option verify_token");
    let off = SchemeOptions { challenge: Some(false), ..SchemeOptions::default() };
    assert!(compiled(&off).unwrap().challenges().is_none());
    let off = SchemeOptions { challenge: Some(false), ..options(&spec) };
    assert!(compiled(&off).unwrap().challenges().is_none());
    let shown = format!("{:?} {:?}", options(&spec), compiled(&options(&spec)).unwrap());
    assert!(shown.contains("redacted") && !shown.contains("canary"), "{shown}");
}

#[test]
fn a_body_that_need_not_be_signed_is_looked_at_if_it_is_short_and_json() {
    let challenge = json!({
        "signed": false, "echo": { "at": { "json": "/challenge" } }, "answer": { "json": { "challenge": "echo" } },
    });
    let sent = |body: &str| Sent(Method::POST, "", &[], body).unsigned(&challenge);
    let reply = sent(r#"{ "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" }"#).unwrap();
    assert_eq!(reply.body, r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    let padded = |length: usize| format!("{:length$}", r#"{"challenge":"a"}"#);
    assert!(sent(&padded(4096)).is_some());
    for body in [
        "",
        "{}",
        r#"{"challenge":1}"#,
        r#"{"challenge":"a b"}"#,
        r#"{"challenge":"<b>"}"#,
        r#"{"challenge":"a","challenge":"a"}"#,
        r#"{"challenge":"a"} x"#,
        r#"[{"challenge":"a"}]"#,
        &padded(4097),
    ] {
        assert_eq!(sent(body), None, "{body}");
    }
    let verifier = verifier(&challenge);
    let may = |method, length| {
        Sent(method, "", &[], "").with(|head, _| verifier.challenges().unwrap().may_be_in_body(head, length))
    };
    assert!(may(Method::POST, Some(1)) && may(Method::POST, Some(4096)));
    assert!(!may(Method::POST, Some(0)) && !may(Method::POST, Some(4097)));
    assert!(!may(Method::PUT, Some(1)));
}

#[test]
fn a_condition_in_the_head_is_checked_before_a_body_is_let_in() {
    let challenge = json!({
        "signed": false, "echo": { "at": { "json": "/0/data/validationCode" } },
        "when": { "at": { "header": "aeg-event-type" }, "is": { "text": "SubscriptionValidation" } },
        "answer": { "json": { "validationResponse": "echo" } },
    });
    let body = r#"[{"data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}}]"#;
    let validation = [("aeg-event-type", "SubscriptionValidation")];
    let reply = Sent(Method::POST, "", &validation, body).unsigned(&challenge).unwrap();
    assert_eq!(reply.body, r#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#);
    let other = Sent(Method::POST, "", &[("aeg-event-type", "Notification")], body);
    assert_eq!(other.unsigned(&challenge), None);
    let verifier = verifier(&challenge);
    assert!(!other.with(|head, _| verifier.challenges().unwrap().may_be_in_body(head, Some(100))));
}

#[test]
fn a_signed_challenge_asks_only_once_it_has_verified() {
    let challenge = json!({
        "when": { "at": { "json": "/type" }, "is": { "text": "url_verification" } },
        "echo": { "at": { "json": "/challenge" } }, "answer": { "text": "echo" },
    });
    let verifier = verifier(&challenge);
    let challenges = verifier.challenges().unwrap();
    let asked = |body: &str| {
        let sent = Sent(Method::POST, "", &[], body);
        assert_eq!(sent.with(|head, _| challenges.in_head(head)), None);
        assert_eq!(sent.with(|_, request| challenges.unsigned(request)), None);
        assert!(!sent.with(|head, _| challenges.may_be_in_body(head, Some(10))));
        sent.with(|_, request| challenges.verified(request))
    };
    assert!(asked(r#"{"type":"url_verification","challenge":"abc"}"#).is_some());
    for body in [
        r#"{"type":"event_callback","challenge":"abc"}"#,
        r#"{"type":"event_callback","text":"url_verification","challenge":"abc"}"#,
        r#"{"type":"url_verification"}"#,
        r#"{"type":"url_verification","type":"event_callback","challenge":"abc"}"#,
        "type=url_verification&challenge=abc",
    ] {
        assert_eq!(asked(body), None, "{body}");
    }
}

fn signing(at: Value) -> Value {
    json!({
        "method": "GET", "signed": false, "echo": { "at": at },
        "answer": {
            "headers": { "x-mac": [{ "text": "v=" }, { "mac": "hex" }] },
            "json": { "response_token": [{ "text": "sha256=" }, { "mac": "base64" }] },
        },
    })
}

#[test]
fn a_token_is_signed_back_with_the_first_secret_or_with_the_one_that_signed_the_question() {
    // Computed with Python's hmac module.
    const KEY: &str = "7Ilri86FeNN5O70zgyNKoxcUyq4CJYPJL5pA+lZXg60=";
    let verifier = verifier(&signing(json!({ "query": "crc_token" })));
    let challenges = verifier.challenges().unwrap();
    let asked = get("crc_token=challenge_string", &[]).with(|head, _| challenges.in_head(head)).unwrap();
    let reply = challenges.reply(&asked, None);
    let token = serde_json::from_slice::<Value>(&reply.body).unwrap()["response_token"].clone();
    assert_eq!(token, format!("sha256={KEY}"));
    assert_eq!(challenges.reply(&asked, Some(0)), reply);
    assert_ne!(challenges.reply(&asked, Some(1)).body, reply.body);
    assert!(reply.headers["x-mac"].to_str().unwrap().starts_with("v="));
}

#[test]
fn nothing_that_is_signed_back_is_ever_a_delivery() {
    let verifier = verifier(&signing(json!({ "query": "crc_token" })));
    let challenges = verifier.challenges().unwrap();
    let verdict = |body: &str, frames: &[&str], mac: &str| {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("sig"), mac.parse().unwrap())]);
        let head = RequestHead { method: &Method::POST, path: "/", query: None, headers: &headers };
        let claim = verifier.inspect(head, std::time::Duration::ZERO).unwrap();
        let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame.as_bytes())).collect();
        assert_eq!(frames.concat(), body.as_bytes());
        verifier.verify(&claim, &SignedRequest { head, body: &frames }, std::time::Duration::ZERO)
    };
    for token in ["a", "1", "true", "null", "-1.5", "a/b+c==", &"a".repeat(256)] {
        let query = format!("crc_token={}", token.replace('+', "%2B"));
        let asked = get(&query, &[]).with(|head, _| challenges.in_head(head)).unwrap();
        let reply = challenges.reply(&asked, None);
        let mac = reply.headers["x-mac"].to_str().unwrap().strip_prefix("v=").unwrap().to_owned();
        assert_eq!(verdict(token, &[token], &mac), Err(VerifyError::SignatureMismatch), "{token}");
        let (one, two) = token.split_at(token.len() / 2);
        assert_eq!(verdict(token, &[one, two], &mac), Err(VerifyError::SignatureMismatch), "{token}");
    }
    // What is no such token passes as ever, and would not be signed back.
    for body in ["", "{}", "[1]", "\"a\"", "a b", "a:b", "a&b", &"a".repeat(257)] {
        let key = &challenges.keys[0].1;
        let mac = key.sign(&Content::from_iter([Piece::from(body.as_bytes())])).unwrap();
        let mac = base16ct::lower::encode_string(mac.as_bytes());
        assert!(verdict(body, &[body], &mac).is_ok(), "{body}");
        let escaped: String = body.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(get(&format!("crc_token={escaped}"), &[]).with(|head, _| challenges.in_head(head)), None, "{body}");
    }
}

#[test]
fn what_could_only_be_a_challenges_text_is_not_signed_as_a_delivery_either() {
    let verifier = verifier(&signing(json!({ "query": "crc_token" })));
    let error = verifier.sign_body(0, b"token", std::time::Duration::ZERO).unwrap_err().to_string();
    assert!(error.ends_with("the text to sign is reserved for endpoint challenges"), "{error}");
    assert!(verifier.sign_body(0, b"{}", std::time::Duration::ZERO).is_ok());
}

#[test]
fn challenges_that_are_turned_off_are_not_there() {
    let challenge = signing(json!({ "query": "crc_token" }));
    let spec = spec(&challenge).unwrap();
    let off = SchemeOptions { challenge: Some(false), ..SchemeOptions::default() };
    let verifier = spec.compile(&off, &[b"key".to_vec().into()]).unwrap();
    assert!(verifier.challenges().is_none());
    // Another server may answer them with the same secret.
    assert!(verifier.sign_body(0, b"token", std::time::Duration::ZERO).is_err());
    let on = SchemeOptions { challenge: Some(true), ..SchemeOptions::default() };
    assert!(spec.compile(&on, &[b"key".to_vec().into()]).unwrap().challenges().is_some());
    let none = crate::schemes::find("civo").unwrap().compile(&on, &[b"key".to_vec().into()]);
    assert_eq!(none.unwrap_err().to_string(), "the scheme civo has no option challenge");
}

#[test]
fn a_challenge_that_makes_no_sense_is_refused_at_its_place() {
    let good = signing(json!({ "query": "q" }));
    for (changes, message) in [
        (json!({ "method": "PUT" }), "challenge[0].method: GET, HEAD, OPTIONS or POST"),
        (json!({ "signed": true }), "challenge[0].signed: only a POST request is signed: write `signed: false`"),
        (json!({ "echo": { "at": { "json": "/a" } } }), "challenge[0].method: only a POST request has a body"),
        (json!({ "echo": { "at": { "claim": "a" } } }), "challenge[0].when: a claim is no place of a challenge"),
        (
            json!({ "echo": { "at": { "query": "a" }, "at_most": 257 } }),
            "challenge[0].echo: what is signed back is a token of at most 256 bytes",
        ),
        (
            json!({ "echo": { "at": { "query": "a" }, "letters": "line" } }),
            "challenge[0].echo: what is signed back is a token of at most 256 bytes",
        ),
        (
            json!({ "echo": { "at": { "query": "a" }, "at_most": 1025 }, "answer": { "text": "echo" } }),
            "challenge[0].echo.at_most: from 1 to 1024",
        ),
        (json!({ "echo": { "at": { "query": "a" }, "at_most": 0 } }), "challenge[0].echo.at_most: from 1 to 1024"),
        (json!({ "echo": null }), "challenge[0].echo: is missing, and the answer is made from it"),
        (
            json!({ "echo": null, "answer": {} }),
            "challenge[0].when: nothing distinguishes the challenge from a delivery",
        ),
        (json!({ "answer": { "text": "echo", "json": {} } }), "challenge[0].answer: either text or json"),
        (
            json!({ "method": "HEAD", "answer": { "text": "echo" } }),
            "challenge[0].answer: the answer to HEAD has no body",
        ),
        (json!({ "answer": { "text": { "mac": "text" } } }), "challenge[0].answer: a mac is written in hex or base64"),
        (
            json!({ "answer": { "headers": { "Connection": "echo" } } }),
            "challenge[0].answer.headers: not a header that an answer can have",
        ),
        (
            json!({ "answer": { "headers": { "content-length": "echo" } } }),
            "challenge[0].answer.headers: not a header that an answer can have",
        ),
        (
            json!({ "answer": { "headers": { "a b": "echo" } } }),
            "challenge[0].answer.headers: not a header that an answer can have",
        ),
        (
            json!({ "answer": { "headers": { "a": { "text": "\n" } } } }),
            "challenge[0].answer.headers: not a header that an answer can have",
        ),
        (
            json!({ "when": { "at": { "query": "a" }, "is": { "parameter": "other" } } }),
            "challenge[0].when: a parameter that `parameters` does not declare as secret",
        ),
    ] {
        let mut challenge = good.clone();
        for (key, value) in changes.as_object().unwrap() {
            challenge[key] = value.clone();
        }
        let faults = spec(&json!([challenge])).unwrap_err();
        assert!(faults.lines().any(|fault| fault == message), "{message}: {faults}");
    }
}

#[test]
fn only_a_scheme_whose_key_signs_contents_alone_has_a_mac_in_its_answers() {
    let mut two = scheme(&signing(json!({ "query": "q" })));
    two.as_object_mut().unwrap().remove("parameters");
    two["ways"] = json!([{}, { "algorithm": { "hmac": "sha1" } }]);
    let mut token = two.clone();
    token["ways"] =
        json!([{ "algorithm": "token", "signature": { "at": { "header": "a" }, "encoding": "text" }, "forms": [] }]);
    token["covers"] = json!("nothing");
    for scheme in [two, token] {
        let faults = Spec::custom("test", scheme).unwrap_err().to_string();
        assert_eq!(faults, "challenge[0].answer: only a scheme with hmac, in one way, has a mac");
    }
}

#[test]
fn a_secret_parameter_is_for_challenges_and_says_what_it_is() {
    let challenge = json!({
        "method": "GET", "signed": false, "answer": {},
        "when": { "at": { "query": "t" }, "is": { "parameter": "verify_token" } },
    });
    let with = |change: &dyn Fn(&mut Value)| {
        let mut scheme = scheme(&challenge);
        change(&mut scheme);
        Spec::custom("test", scheme).map(|_| ()).map_err(|faults| faults.to_string())
    };
    assert_eq!(with(&|_| ()), Ok(()));
    for (change, message) in [
        (
            &(|scheme: &mut Value| scheme["parameters"][0]["secret"] = json!(false)) as &dyn Fn(&mut Value),
            "parameters[0]: nothing uses it",
        ),
        (
            &|scheme| scheme["forms"][0]["content"] = json!(["body", { "parameter": "verify_token" }]),
            "forms[0].content: a parameter that `parameters` does not declare",
        ),
        (&|scheme| scheme["challenge"] = json!([]), "parameters[0]: nothing uses it"),
        (
            &|scheme| scheme["parameters"][0]["name"] = json!("phrase"),
            "parameters[0].name: a secret's name has secret, token or password in it, so that no error quotes what is below it",
        ),
        (
            &|scheme| scheme["parameters"][0]["name"] = json!("challenge"),
            "parameters[0].name: lower case letters, digits, _ and - only, and no other option's name",
        ),
    ] {
        let faults = with(change).unwrap_err();
        assert!(faults.lines().any(|fault| fault == message), "{message}: {faults}");
    }
}

#[test]
fn a_token_may_be_what_a_challenge_is_told_by() {
    let challenge = json!({
        "method": "GET", "signed": false, "when": { "at": { "header": "x-client" }, "is": "secret" },
        "echo": { "at": { "header": "x-client" } }, "answer": { "headers": { "x-client": "echo" } },
    });
    let mut scheme = json!({
        "signature": { "at": { "header": "x-client" }, "encoding": "text" }, "algorithm": "token", "secret": "utf8",
        "covers": "nothing", "challenge": challenge,
    });
    let spec = Spec::custom("test", scheme.clone()).unwrap();
    let secrets = [b"new".to_vec().into(), b"old".to_vec().into()];
    let verifier = spec.compile(&SchemeOptions::default(), &secrets).unwrap();
    let challenges = verifier.challenges().unwrap();
    let asks = |client| get("", &[("x-client", client)]).with(|head, _| challenges.in_head(head));
    for client in ["new", "old"] {
        assert_eq!(challenges.reply(&asks(client).unwrap(), None).headers["x-client"], client);
    }
    assert_eq!((asks("ne"), asks("other"), asks("")), (None, None, None));
    scheme["algorithm"] = json!({ "hmac": "sha256" });
    scheme["signature"]["encoding"] = json!("hex");
    scheme["forms"] = json!([{ "name": "f", "content": ["body"] }]);
    let faults = Spec::custom("test", scheme).unwrap_err().to_string();
    assert_eq!(faults, "challenge[0].when: only a token, in one way, is itself the secret");
}

#[test]
fn what_cannot_be_verified_has_no_challenges() {
    let challenge = echo_of(json!({ "query": "a" }));
    let faults =
        Spec::custom("test", json!({ "unsupported": "it signs nothing", "challenge": challenge })).unwrap_err();
    assert_eq!(faults.to_string(), "challenge: a scheme that cannot be verified has no words about challenges");
}

#[test]
fn a_field_of_a_form_is_looked_for_in_forms_only() {
    let when = json!({ "at": { "form": "id" }, "is": { "letters": "digits" } });
    let challenge = json!({ "method": "POST", "signed": false, "when": when, "answer": {} });
    let is_asked = |kind| Sent(Method::POST, "", &[("content-type", kind)], "x&id=1&y").unsigned(&challenge).is_some();
    assert!(is_asked("application/x-www-form-urlencoded; charset=utf-8"));
    assert!(!is_asked("application/json"));
}
