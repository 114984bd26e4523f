//! Times, public keys, tokens, ways and options.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::keys::{ECDSA, P256, RSA, RSA_SHA1, RSA_SHA256, RSA_SHA512};
use super::*;

#[test]
fn a_signed_time_is_held_against_the_clock_wherever_it_stands() {
    let time = |at: serde_json::Value, format: &str| json!({ "at": at, "format": format, "tolerance_seconds": 60 });
    let covered = |timestamp: serde_json::Value, grammar: serde_json::Value| {
        compiled(json!({
            "signature": { "at": { "header": "sig" }, "grammar": grammar, "encoding": "hex" },
            "timestamp": timestamp,
            "forms": [{ "name": "f", "content": ["timestamp", { "text": "." }, "body"] }],
        }))
    };
    let list = json!({ "list": { "separator": ",", "assign": "=", "key": "v1" } });
    let places = json!({ "positional": { "separator": ",", "signature": 1 } });
    let header = covered(time(json!({ "header": "t" }), "rfc3339"), json!("bare"));
    let field = covered(time(json!({ "field": "t" }), "unix_seconds"), list);
    let place = covered(time(json!({ "position": 0 }), "unix_milliseconds"), places);
    let at = |now: u64| -> [Sent; 3] {
        let text = "2023-11-14T22:13:20.123456789Z";
        [
            Sent::new("{}").with("t", text).signed(&format!("{text}.{{}}")).at(now),
            Sent::new("{}").with("sig", format!("t=1700000000,v1={}", hex_mac("1700000000.{}"))).at(now),
            Sent::new("{}").with("sig", format!("1700000000000,{}", hex_mac("1700000000000.{}"))).at(now),
        ]
    };
    for (now, verdict) in [
        (1_700_000_000, None),
        (1_700_000_060, None),
        (1_700_000_062, Some(StaleTimestamp)),
        (1_699_999_941, None),
        (1_699_999_939, Some(FutureTimestamp)),
    ] {
        let [one, two, three] = at(now);
        assert_eq!(one.verdict(&header), verdict, "{now}");
        assert_eq!(two.verdict(&field), verdict, "{now}");
        assert_eq!(three.verdict(&place), verdict, "{now}");
    }
    let exact = at(1_700_000_061);
    assert_eq!([exact[1].verdict(&field), exact[2].verdict(&place)], [Some(StaleTimestamp); 2]);

    let signed = |value: &str| Sent::new("{}").with("sig", value);
    let mac = hex_mac("1700000000.{}");
    assert_eq!(signed(&format!("v1={mac}")).verdict(&field), Some(MalformedSignature), "no time");
    assert_eq!(signed(&format!("t=,v1={mac}")).verdict(&field), Some(MalformedSignature));
    assert_eq!(signed(&format!("t=1,t=1700000000,v1={mac}")).verdict(&field), Some(MalformedSignature));
    assert_eq!(signed(&format!("t=1700000000,t=1700000000,v1={mac}")).verdict(&field), None);
    assert_eq!(signed(&format!("t=1700000001,v1={mac}")).verdict(&field), Some(SignatureMismatch));
    assert_eq!(Sent::new("{}").signed("x").verdict(&header), Some(MissingSignature));
    assert_eq!(Sent::new("{}").signed("x").with("t", "now").verdict(&header), Some(MalformedSignature));
    let twice = at(1_700_000_000)[0].clone().with("t", "2023-11-14T22:13:20Z");
    assert_eq!(twice.verdict(&header), Some(AmbiguousSignature));
}

#[test]
fn a_time_in_the_body_is_read_under_a_right_signature_alone() {
    let timestamp = json!({ "at": { "json": "/t" }, "format": "unix", "tolerance_seconds": 60 });
    let verifier = compiled(json!({ "timestamp": timestamp }));
    let sent = |body: &str| Sent::new(body).signed(body);
    assert_eq!(sent(r#"{"t":1700000000}"#).verdict(&verifier), None);
    assert_eq!(sent(r#"{"t":"1700000000000"}"#).verdict(&verifier), None);
    assert_eq!(sent(r#"{"t":1600000000}"#).verdict(&verifier), Some(StaleTimestamp));
    assert_eq!(sent(r#"{"t":1600000000,"t":1700000000}"#).verdict(&verifier), Some(AmbiguousSignature));
    assert_eq!(sent("{}").verdict(&verifier), Some(MissingSignature));
    assert_eq!(Sent::new(r#"{"t":1600000000}"#).signed("{}").verdict(&verifier), Some(SignatureMismatch));
}

#[test]
fn a_routes_tolerance_takes_the_place_of_the_schemes() {
    let timestamp = json!({ "at": { "header": "t" }, "format": "unix_seconds", "tolerance_seconds": 60 });
    let words = json!({ "timestamp": timestamp, "forms": [{ "name": "f", "content": ["timestamp", "body"] }] });
    let options = SchemeOptions { tolerance: Some(Duration::from_secs(10)), ..SchemeOptions::default() };
    let verifier = compiled_with(words, options, "key");
    let sent = Sent::new("{}").with("t", "1700000000").signed("1700000000{}");
    assert_eq!(sent.clone().at(1_700_000_010).verdict(&verifier), None);
    assert_eq!(sent.at(1_700_000_011).verdict(&verifier), Some(StaleTimestamp));
}

#[test]
fn public_keys_verify_and_do_not_sign() {
    let content = json!([{ "name": "f", "content": [{ "text": "v1." }, "body"] }]);
    for (algorithm, key, signature) in [
        (json!({ "rsa": "sha1" }), RSA, RSA_SHA1),
        (json!({ "rsa": "sha256" }), RSA, RSA_SHA256),
        (json!({ "rsa": "sha512" }), RSA, RSA_SHA512),
        (json!("ecdsa_p256"), P256, ECDSA),
    ] {
        let words = json!({
            "signature": { "at": { "header": "sig" }, "encoding": "base64" },
            "algorithm": algorithm, "secret": "public_key", "forms": content.clone(),
        });
        let verifier = compiled_with(words, SchemeOptions::default(), key);
        assert_eq!(Sent::new("hello").with("sig", signature).verdict(&verifier), None, "{algorithm}");
        assert_eq!(Sent::new("hallo").with("sig", signature).verdict(&verifier), Some(SignatureMismatch));
        assert_eq!(Sent::new("hello").with("sig", "AAAA").verdict(&verifier), Some(SignatureMismatch));
        assert_eq!(verifier.sign_body(0, b"hello", NOW), Err(SignError::NeedsPrivateKey));
    }
}

#[test]
fn tokens_are_checked_before_the_body_is_read() {
    let token = json!({
        "signature": { "at": { "header": "authorization" }, "grammar": { "prefix": { "text": "Bearer " } }, "encoding": "text" },
        "algorithm": "token", "forms": null, "covers": "nothing",
    });
    let verifier = spec(token).compile(&SchemeOptions::default(), &[b"one".to_vec().into(), b"two".to_vec().into()]);
    let verifier = verifier.unwrap();
    let sent = |value: &str| Sent::new("{}").with("authorization", value);
    let authentic = sent("Bearer two").to(&verifier).unwrap();
    assert_eq!(authentic, Proven { secret: 1, content: Authenticated::Nothing });
    let wrong = sent("Bearer three");
    assert_eq!(verifier.inspect(wrong.head(), NOW).err(), Some(SignatureMismatch));
    assert_eq!(sent("two").verdict(&verifier), Some(MalformedSignature));
    assert_eq!(sent("Bearer ").verdict(&verifier), Some(MalformedSignature));
    assert_eq!(Sent::new("{}").verdict(&verifier), Some(MissingSignature));
}

/// A token with these claims, made without the code under test.
fn token(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(&signed)))
}

fn jwt_verifier() -> Verifier {
    let hex = json!({ "hash": "sha256", "encoding": "hex" });
    let words = json!({
        "signature": { "at": { "header": "sig" }, "encoding": "text" },
        "algorithm": { "jwt": {
            "algorithms": ["hs256"], "times": ["exp"], "tolerance_seconds": 5,
            "claims": [
                { "name": "iss", "is": { "text": "Test" } },
                { "name": "body", "is": { "body_digest": hex }, "only_with_body": true },
                { "name": "url", "is": "url" },
                { "name": "app", "is": { "parameter": "app" } },
            ],
        } },
        "parameters": [{ "name": "app", "description": "an id" }],
        "forms": null,
    });
    let options = SchemeOptions {
        public_url: Some("https://hooks.example.com/in".to_owned()),
        parameters: BTreeMap::from([("app".to_owned(), "a1".to_owned())]),
        ..SchemeOptions::default()
    };
    compiled_with(words, options, "key")
}

#[test]
fn a_json_web_token_must_be_right_in_every_respect() {
    let verifier = jwt_verifier();
    let digest = base16ct::lower::encode_string(hash::hash(spec::Hash::Sha256, [b"{}".as_slice()]).as_bytes());
    let hs256 = json!({ "alg": "HS256" });
    let claims = json!({
        "iss": "Test", "body": digest, "url": "https://hooks.example.com/in", "app": "a1", "exp": 1_700_000_000,
    });
    let with = |claim: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[claim] = value;
        claims
    };
    let without = |claim: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(claim);
        claims
    };
    let verdict = |header: &serde_json::Value, claims: &serde_json::Value| {
        Sent::new("{}").with("sig", token(header, claims)).verdict(&verifier)
    };
    for (claims, expected) in [
        (claims.clone(), None),
        (with("exp", json!(1_699_999_995)), None),
        (with("exp", json!(1_699_999_994)), Some(StaleTimestamp)),
        (with("nbf", json!(1_700_000_005)), None),
        (with("nbf", json!(1_700_000_006)), Some(FutureTimestamp)),
        (with("iat", json!(1_700_000_006)), Some(FutureTimestamp)),
        (with("iat", json!(1)), None),
        (with("exp", json!("soon")), Some(MalformedSignature)),
        (without("exp"), Some(MalformedSignature)),
        (with("iss", json!("Other")), Some(SignatureMismatch)),
        (without("iss"), Some(SignatureMismatch)),
        (with("url", json!("https://hooks.example.com/other")), Some(SignatureMismatch)),
        (with("app", json!("a2")), Some(SignatureMismatch)),
        (with("body", json!("00")), Some(PayloadMismatch)),
        (with("body", json!(1)), Some(PayloadMismatch)),
        (without("body"), Some(PayloadMismatch)),
    ] {
        assert_eq!(verdict(&hs256, &claims), expected, "{claims}");
    }
    for header in [json!({ "alg": "none" }), json!({ "alg": "HS384" }), json!({ "alg": "hs256" }), json!({}), json!([])]
    {
        assert_eq!(verdict(&header, &claims), Some(MalformedSignature), "{header}");
    }
    let critical = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    assert_eq!(verdict(&critical, &claims), Some(MalformedSignature));
    let good = token(&hs256, &claims);
    for bad in [good.replacen('.', "", 1), format!("{good}="), format!("{good}."), good[..good.len() - 2].to_owned()] {
        let refused = Sent::new("{}").with("sig", &bad).verdict(&verifier);
        assert!(matches!(refused, Some(MalformedSignature | SignatureMismatch)), "{bad}");
    }
    let empty = |claims: &serde_json::Value| Sent::new("").with("sig", token(&hs256, claims)).verdict(&verifier);
    assert_eq!(empty(&without("body")), None);
    assert_eq!(empty(&claims), Some(PayloadMismatch), "the claim must not be there without a body");
    let errors = verifier.possible_errors();
    assert!([StaleTimestamp, FutureTimestamp, PayloadMismatch].iter().all(|error| errors.contains(error)));
}

#[test]
fn a_json_web_token_that_we_write_verifies() {
    let verifier = jwt_verifier();
    let sent = Sent::new("{}");
    let signed = verifier.sign(0, &Unsigned { head: sent.head(), body: b"{}" }, NOW).unwrap();
    let headers = signed.headers.into_iter().collect();
    let sent = Sent { headers, ..sent };
    assert_eq!(sent.to(&verifier).map(|authentic| authentic.content), Ok(Authenticated::Body));
    assert_eq!(sent.at(NOW.as_secs() + 66).verdict(&verifier), Some(StaleTimestamp));
}

/// The claims of a token that a built-in scheme signs for a POST of this body.
fn claims(verifier: &Verifier, header: &str, body: &str) -> serde_json::Value {
    let headers = signed(verifier, 0, body.as_bytes());
    let token = headers[header].to_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    assert!(check(verifier, &headers, &[body.as_bytes()]).is_ok(), "{token}");
    serde_json::from_slice(&claims).unwrap()
}

#[test]
fn a_token_for_messagebird_has_an_id_that_differs_by_delivery() {
    let options = SchemeOptions { public_url: Some("https://example.com/path".to_owned()), ..SchemeOptions::default() };
    let verifier = with_options("messagebird", &options, &["a-secret-of-a-test-0123456789"]);
    let id = |body: &str| claims(&verifier, "messagebird-signature-jwt", body)["jti"].as_str().unwrap().to_owned();
    assert!(!id("{}").is_empty());
    assert_ne!(id("{}"), id("[]"));
}

#[test]
fn a_token_for_livekit_names_the_api_key_as_its_issuer_if_the_route_has_it() {
    let key = |name: &str| BTreeMap::from([("api_key".to_owned(), name.to_owned())]);
    for (parameters, issuer) in [(key("APIkey"), json!("APIkey")), (BTreeMap::new(), serde_json::Value::Null)] {
        let options = SchemeOptions { parameters, ..SchemeOptions::default() };
        let verifier = with_options("livekit", &options, &["a-secret-of-a-test-0123456789"]);
        assert_eq!(claims(&verifier, "authorization", "{}")["iss"], issuer);
    }
}

#[test]
fn a_signature_for_workos_has_a_space_behind_its_comma() {
    let verifier = verifier("workos", "key");
    let headers = signed(&verifier, 0, b"{}");
    let expected = format!("t=1700000000000, v1={}", hex_mac("1700000000000.{}"));
    assert_eq!(headers["workos-signature"], expected);
    assert!(check(&verifier, &headers, &[b"{}"]).is_ok());
}

#[test]
fn a_body_that_is_a_token_is_its_payload() {
    let words = json!({
        "signature": { "at": "body", "encoding": "text" },
        "algorithm": { "jwt": { "algorithms": ["hs256"] } },
        "forms": null,
    });
    let verifier = compiled(words);
    let body = token(&json!({ "alg": "HS256" }), &json!({ "id": "1" }));
    let authentic = Sent::new(&body).to(&verifier).unwrap();
    assert_eq!(authentic.content, Authenticated::Payload(b"{\"id\":\"1\"}".to_vec()));
    assert_eq!(Sent::new("{}").verdict(&verifier), Some(MalformedSignature));
    assert_eq!(Sent::new("").verdict(&verifier), Some(MissingSignature));
}

#[test]
fn a_way_without_a_key_is_not_tried_and_the_reason_is_that_of_the_way_that_came_furthest() {
    let ways = json!({ "ways": [
        { "secret": [{ "require": "a_" }] },
        { "signature": { "at": { "header": "other" }, "encoding": "hex" }, "secret": [{ "refuse": "a_" }] },
    ] });
    let verifier = compiled_with(ways.clone(), SchemeOptions::default(), "a_key");
    assert_eq!(verifier.signature_headers(), ["sig"]);
    assert_eq!(Sent::new("{}").signed("{}").verdict(&verifier), None);
    let both: Vec<Secret> = ["a_key", "key"].map(|secret| secret.as_bytes().to_vec().into()).to_vec();
    let verifier = spec(ways).compile(&SchemeOptions::default(), &both).unwrap();
    let other = Sent::new("{}").with("other", hex_mac("{}"));
    assert_eq!(other.to(&verifier).map(|authentic| authentic.secret), Ok(1));
    assert_eq!(other.clone().with("sig", "zz").verdict(&verifier), None);
    assert_eq!(Sent::new("{}").with("sig", "zz").verdict(&verifier), Some(MalformedSignature));
    assert_eq!(
        Sent::new("[]").with("sig", "zz").with("other", hex_mac("{}")).verdict(&verifier),
        Some(SignatureMismatch)
    );
    assert_eq!(Sent::new("{}").verdict(&verifier), Some(MissingSignature));
}

#[test]
fn options_that_a_scheme_needs_are_asked_for() {
    let words = json!({
        "forms": [{ "name": "f", "content": ["url", { "parameter": "app" }, "body"] }],
        "parameters": [{ "name": "app", "description": "the app's id" }],
    });
    let scheme = spec(words.clone());
    let faults = |options: &SchemeOptions| -> Vec<String> {
        let faults = scheme.check_options(options).unwrap_err();
        faults.iter().map(|(key, fault)| format!("{key}: {fault}")).collect()
    };
    assert_eq!(
        faults(&SchemeOptions::default()),
        [
            "public_url: is missing: test signs the URL that it sends to, so the route must state it",
            "app: is missing: test needs the app's id",
        ]
    );
    let options = SchemeOptions {
        public_url: Some("hooks.example.com".to_owned()),
        parameters: BTreeMap::from([("app".to_owned(), "a1".to_owned()), ("other".to_owned(), "x".to_owned())]),
        ..SchemeOptions::default()
    };
    assert_eq!(
        faults(&options),
        ["public_url: must begin with https://", "other: the scheme test has no option other"]
    );
    let mut options = options;
    options.public_url = Some("https://a.example".to_owned());
    options.parameters.remove("other");
    let verifier = compiled_with(words, options, "key");
    assert_eq!(Sent::new("{}").signed("https://a.example/ina1{}").verdict(&verifier), None);
}
