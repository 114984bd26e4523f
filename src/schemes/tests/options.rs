//! Options, secrets and what they lead to.

use super::*;

fn match_payload(value: bool) -> SchemeOptions {
    SchemeOptions { match_payload: Some(value), ..SchemeOptions::default() }
}

#[test]
fn options_that_a_scheme_does_not_have_are_refused_all_at_once() {
    let options = SchemeOptions {
        signed_content: Some("auto".to_owned()),
        match_payload: Some(true),
        ..SchemeOptions::default()
    };
    let faults = find("civo").unwrap().check_options(&options).unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["signed_content", "match_payload"]);
    assert_eq!(faults[0].1.to_string(), "the scheme civo has no option signed_content");
    assert!(find("civo").unwrap().compile(&options, &[Secret::from(b"k".to_vec())]).is_err());
}

#[test]
fn a_wrong_value_is_refused_with_those_that_are_right() {
    let fault = &find("icr").unwrap().check_options(&pinned("payload")).unwrap_err()[0];
    assert_eq!(fault.0, "signed_content");
    assert_eq!(fault.1.to_string(), "\"payload\" is not a value of signed_content: use auto, signed_data, body");
}

#[test]
fn every_value_that_is_allowed_compiles() {
    for value in find("icr").unwrap().signed_content_values() {
        for match_payload in [None, Some(false), Some(true)] {
            let options =
                SchemeOptions { signed_content: Some(value.to_owned()), match_payload, ..SchemeOptions::default() };
            assert_eq!(find("icr").unwrap().check_options(&options), Ok(()));
            with_options("icr", &options, &["secret"]);
        }
    }
}

#[test]
fn a_secret_that_is_empty_or_no_text_is_refused_wherever_it_stands() {
    for name in ["icr", "civo", "circleci"] {
        let spec = find(name).unwrap();
        let good = Secret::from(b"good".to_vec());
        assert_eq!(spec.check_secret(&good), Ok(()));
        let empty = Secret::from(Vec::new());
        assert_eq!(spec.check_secret(&empty), Err(SchemeError::EmptySecret));
        let utf16 = Secret::from(b"\xff\xfes\0e\0c\0".to_vec());
        assert_eq!(spec.check_secret(&utf16).unwrap_err().to_string(), "the secret is not UTF-8 text");
        let none = SchemeOptions::default();
        assert_eq!(spec.compile(&none, &[good, empty]).unwrap_err(), SchemeError::EmptySecret);
        assert_eq!(spec.compile(&none, &[]).unwrap_err(), SchemeError::NoSecret);
    }
}

#[test]
fn any_of_several_secrets_matches_and_its_position_is_told() {
    let verifier = with_options("circleci", &SchemeOptions::default(), &["new", "old", "older"]);
    for secret in 0..3 {
        let headers = signed(&verifier, secret, b"body");
        let authentic = check(&verifier, &headers, &[b"body"]).unwrap();
        assert_eq!(authentic, Proven { secret, content: Authenticated::Body });
    }
    assert_eq!(sign(&verifier, 3, b"body"), Err(SignError::NoSuchSecret));
}

#[test]
fn payload_mismatch_is_possible_only_where_there_is_a_payload() {
    let possible = |scheme, options: &SchemeOptions| {
        with_options(scheme, options, &["secret"]).possible_errors().contains(&VerifyError::PayloadMismatch)
    };
    assert!(possible("icr", &SchemeOptions::default()));
    assert!(possible("icr", &pinned("signed_data")));
    assert!(possible("icr", &match_payload(false)), "a payload that does not decode is refused all the same");
    assert!(!possible("icr", &pinned("body")));
    assert!(!possible("civo", &SchemeOptions::default()));
}

#[test]
fn signing_says_why_no_form_takes_a_body() {
    let message = |options: &SchemeOptions, body: &[u8]| {
        sign(&with_options("icr", options, &["secret"]), 0, body).unwrap_err().to_string()
    };
    assert_eq!(
        message(&SchemeOptions::default(), b"hello"),
        "no signature would make this body a valid delivery: signed_data: the body has no key with the text to sign; \
         body: the body is not a JSON object"
    );
    let pinned = pinned("signed_data");
    assert!(message(&pinned, b"{\"signedData\":\"e30=\",\"signedData\":\"e30=\"}").ends_with("repeated in the body"));
    assert!(message(&pinned, b"{\"signedData\":\"e30\"}").ends_with("does not decode to a JSON object"));
    assert!(message(&pinned, b"{\"a\":1,\"signedData\":\"e30=\"}").ends_with("differs from the body"));
}

#[test]
fn signing_takes_the_first_form_that_would_be_accepted() {
    let auto = verifier("icr", "secret");
    let content = |body: &[u8]| check(&auto, &signed(&auto, 0, body), &[body]).unwrap().content;
    assert_eq!(content(b"{\"signedData\":\"e30=\"}"), Authenticated::Payload(b"{}".to_vec()));
    assert_eq!(content(b"{\"a\":1,\"signedData\":\"e30=\"}"), Authenticated::Body, "the payload differs");
    assert_eq!(content(b"{\"a\":1}"), Authenticated::Body, "no payload");
    let lenient = with_options("icr", &match_payload(false), &["secret"]);
    let body = b"{\"a\":1,\"signedData\":\"e30=\"}";
    let authentic = check(&lenient, &signed(&lenient, 0, body), &[body]).unwrap();
    assert_eq!(authentic.content, Authenticated::Payload(b"{}".to_vec()));
}

#[test]
fn nothing_that_is_printed_shows_a_secret_or_a_signature() {
    let verifier = verifier("icr", "canary");
    let headers = signed(&verifier, 0, b"{}");
    let claim = verifier.inspect(head(&headers), NOW).unwrap();
    assert_eq!(format!("{claim:?}"), "Claim { candidates: 1 }");
    assert!(!format!("{verifier:?} {:?}", Secret::from(b"canary".to_vec())).contains("canary"));
    assert!(!format!("{verifier:?}").contains(&format!("{:?}", b"canary")));
}

#[test]
fn the_signature_headers_are_known() {
    assert_eq!(verifier("civo", "secret").signature_headers(), ["x-civo-signature"]);
}

#[test]
fn a_verifier_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Verifier>();
    shared::<Spec>();
}
