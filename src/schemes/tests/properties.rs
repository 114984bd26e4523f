//! Properties that hold for every scheme, whatever the bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use base64::Engine;

use super::*;

const SCHEMES: [&str; 3] = ["icr", "civo", "circleci"];

/// Every scheme with every setting of its options.
fn settings() -> impl Strategy<Value = (&'static str, SchemeOptions)> {
    let mut all = Vec::new();
    for name in SCHEMES {
        let spec = find(name).unwrap();
        let contents = spec.signed_content_values();
        let contents = contents.into_iter().map(|value| Some(value.to_owned())).chain([None]);
        for signed_content in contents {
            for match_payload in [None, Some(true), Some(false)] {
                if match_payload.is_none() || spec.has_payload() {
                    all.push((
                        name,
                        SchemeOptions {
                            signed_content: signed_content.clone(),
                            match_payload,
                            ..SchemeOptions::default()
                        },
                    ));
                }
            }
        }
    }
    proptest::sample::select(all)
}

/// JSON objects of some depth.
fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,4}", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    vec(("[a-z\"\\\\é]{0,4}", value), 0..5).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// A body as a provider makes it: with its payload signed, or with none.
fn value(fields: Value, with_payload: bool) -> Value {
    let mut body = fields;
    if with_payload {
        let payload = base64::engine::general_purpose::STANDARD.encode(body.to_string());
        body["signedData"] = json!(payload);
    }
    body
}

fn body(fields: Value, with_payload: bool) -> Vec<u8> {
    value(fields, with_payload).to_string().into_bytes()
}

/// The pieces of a body cut at these places.
fn cut<'a>(body: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

fn flip(bytes: &mut [u8], bit: prop::sample::Index) {
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// The same JSON value in other words: members the other way round, white space, escapes.
fn reworded(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            out.push_str("\n{ ");
            for (position, (key, value)) in members.iter().rev().enumerate() {
                out.push_str(if position == 0 { "" } else { " ,\t" });
                reworded(&json!(key), out);
                out.push_str(" :");
                reworded(value, out);
            }
            out.push_str("} ");
        }
        Value::Array(values) => {
            out.push_str(" [\r\n");
            for (position, value) in values.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                reworded(value, out);
            }
            out.push(']');
        }
        Value::String(text) => {
            out.push('"');
            for unit in text.encode_utf16() {
                out.push_str(&format!("\\u{unit:04X}"));
            }
            out.push('"');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

proptest! {
    #[test]
    fn what_we_sign_we_verify_however_the_body_is_cut(
        (scheme, options) in settings(),
        secret in ".{1,80}",
        fields in object(),
        with_payload: bool,
        places: [prop::sample::Index; 3],
    ) {
        let verifier = with_options(scheme, &options, &["another", &secret]);
        let body = body(fields, with_payload);
        let Ok(headers) = sign(&verifier, 1, &body) else {
            prop_assert!(options.signed_content.as_deref() == Some("signed_data") && !with_payload);
            return Ok(());
        };
        let headers = headers.into_iter().collect();
        prop_assert_eq!(check(&verifier, &headers, &cut(&body, &places)).map(|authentic| authentic.secret), Ok(1));
    }

    #[test]
    fn any_bytes_are_signed_and_verified_where_the_body_is_what_is_signed(
        scheme in proptest::sample::select(vec!["civo", "circleci"]),
        body in vec(any::<u8>(), 0..300),
        places: [prop::sample::Index; 3],
    ) {
        let verifier = verifier(scheme, "secret");
        let headers = signed(&verifier, 0, &body);
        prop_assert!(check(&verifier, &headers, &cut(&body, &places)).is_ok());
    }

    #[test]
    fn a_flipped_bit_of_the_body_refuses(
        scheme in proptest::sample::select(SCHEMES.to_vec()),
        fields in object(),
        with_payload: bool,
        bit: prop::sample::Index,
    ) {
        let verifier = verifier(scheme, "secret");
        let mut body = body(fields, with_payload);
        let headers = signed(&verifier, 0, &body);
        flip(&mut body, bit);
        let verdict = check(&verifier, &headers, &[&body]);
        // Where a payload is signed, a bit may change the body's text but no value: the case of a letter in an escape.
        let same_value = scheme == "icr" && with_payload && verdict.is_ok();
        prop_assert!(same_value || verdict.is_err());
        if same_value {
            let Ok(Proven { content: Authenticated::Payload(payload), .. }) = verdict else {
                return Err(TestCaseError::fail("not the payload"));
            };
            let mut flipped: Value = serde_json::from_slice(&body).unwrap();
            flipped.as_object_mut().unwrap().remove("signedData");
            prop_assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), flipped);
        }
    }

    #[test]
    fn a_flipped_bit_of_the_digest_refuses(
        scheme in proptest::sample::select(SCHEMES.to_vec()),
        body in object(),
        bit: prop::sample::Index,
    ) {
        let verifier = verifier(scheme, "secret");
        let body = body.to_string();
        let (name, value) = sign(&verifier, 0, body.as_bytes()).unwrap().remove(0);
        let text = value.to_str().unwrap();
        let (prefix, hex) = text.split_at(text.find('=').map_or(0, |at| at + 1));
        let mut digest = base16ct::lower::decode_vec(hex).unwrap();
        flip(&mut digest, bit);
        let flipped = format!("{prefix}{}", base16ct::lower::encode_string(&digest));
        let headers = HeaderMap::from_iter([(name, flipped.parse().unwrap())]);
        prop_assert_eq!(check(&verifier, &headers, &[body.as_bytes()]), Err(VerifyError::SignatureMismatch));
    }

    #[test]
    fn a_flipped_bit_of_the_secret_refuses(
        scheme in proptest::sample::select(SCHEMES.to_vec()),
        secret in "[ -~]{1,80}",
        body in object(),
        bit: prop::sample::Index,
    ) {
        let mut other = secret.clone().into_bytes();
        // The highest bit of a byte would make it no text, which is refused before.
        let bit = bit.index(other.len() * 7);
        other[bit / 7] ^= 1 << (bit % 7);
        let body = body.to_string();
        let headers = signed(&verifier(scheme, &secret), 0, body.as_bytes());
        let other = verifier(scheme, std::str::from_utf8(&other).unwrap());
        prop_assert_eq!(check(&other, &headers, &[body.as_bytes()]), Err(VerifyError::SignatureMismatch));
    }

    #[test]
    fn any_bytes_as_header_and_body_are_refused_without_a_panic(
        (scheme, options) in settings(),
        value in vec(any::<u8>().prop_filter("a header", |byte| *byte == 9 || *byte >= 32 && *byte != 127), 0..200),
        body in vec(any::<u8>(), 0..300),
        places: [prop::sample::Index; 2],
    ) {
        let verifier = with_options(scheme, &options, &["secret"]);
        let value = http::HeaderValue::from_bytes(&value).unwrap();
        let headers = HeaderMap::from_iter([(verifier.signature_headers().remove(0), value)]);
        prop_assert!(check(&verifier, &headers, &cut(&body, &places)).is_err());
        let _ = sign(&verifier, 0, &body);
    }

    #[test]
    fn a_body_in_other_words_is_still_equal_to_its_payload(fields in object()) {
        let verifier = with_options("icr", &pinned("signed_data"), &["secret"]);
        let value = value(fields, true);
        let sent = value.to_string().into_bytes();
        let headers = signed(&verifier, 0, &sent);
        let mut other = String::new();
        reworded(&value, &mut other);
        prop_assert_eq!(check(&verifier, &headers, &[other.as_bytes()]), check(&verifier, &headers, &[&sent]));
        prop_assert!(check(&verifier, &headers, &[other.as_bytes()]).is_ok());
    }

    #[test]
    fn cutting_does_not_change_a_refusal_either(
        body in "\\{\"(signedData|a)\":\"[a-zA-Z0-9=]{0,8}\"[,}]{1,2}.{0,10}",
        places: [prop::sample::Index; 4],
    ) {
        let verifier = verifier("icr", "secret");
        let headers = header("x-icr-signature-256", "0".repeat(64).as_bytes());
        let whole = check(&verifier, &headers, &[body.as_bytes()]);
        prop_assert_eq!(check(&verifier, &headers, &cut(body.as_bytes(), &places)), whole);
    }
}
