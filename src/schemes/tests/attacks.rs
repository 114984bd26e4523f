//! What someone can try who has captured a delivery whose signature covers a payload only.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;

const SECRET: &str = "icr-test-secret";
const PAYLOAD: &str = r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#;

use VerifyError::{PayloadMismatch, SignatureMismatch};

/// The header for a signature over this text, made without the code under test.
fn mac(text: &[u8]) -> HeaderMap {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text);
    let hex = base16ct::lower::encode_string(&mac.finalize().into_bytes());
    header("x-icr-signature-256", format!("sha256={hex}").as_bytes())
}

fn base64(payload: &str) -> String {
    STANDARD.encode(payload)
}

/// The payload with signedData behind its last field.
fn body(fields: &str, signed_data: &str) -> String {
    let fields = fields.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    let comma = if fields.is_empty() { "" } else { "," };
    format!("{{{fields}{comma}\"signedData\":\"{signed_data}\"}}")
}

fn verdict(options: &SchemeOptions, headers: &HeaderMap, body: &str) -> Result<Authenticated, VerifyError> {
    check(&with_options("icr", options, &[SECRET]), headers, &[body.as_bytes()]).map(|authentic| authentic.content)
}

/// The verdict, which must be the same whether the form is pinned or found.
fn with_payload(headers: &HeaderMap, body: &str) -> Result<Authenticated, VerifyError> {
    let auto = verdict(&SchemeOptions::default(), headers, body);
    assert_eq!(auto, verdict(&pinned("signed_data"), headers, body), "{body}");
    auto
}

fn unmatched() -> SchemeOptions {
    SchemeOptions { match_payload: Some(false), ..SchemeOptions::default() }
}

fn payload() -> Result<Authenticated, VerifyError> {
    Ok(Authenticated::Payload(PAYLOAD.into()))
}

#[test]
fn a_delivery_as_it_was_sent_passes() {
    let text = base64(PAYLOAD);
    assert_eq!(with_payload(&mac(text.as_bytes()), &body(PAYLOAD, &text)), payload());
    assert_eq!(
        with_payload(&mac(base64("{}").as_bytes()), &body("{}", &base64("{}"))),
        Ok(Authenticated::Payload(b"{}".into()))
    );
}

#[test]
fn harmless_rewriting_of_the_body_passes() {
    let text = base64(PAYLOAD);
    let headers = mac(text.as_bytes());
    for same in [
        format!(r#"{{"signedData":"{text}","sender":{{"tags":["x","y"],"id":"a/b"}},"n":1,"event":"installed"}}"#),
        format!(
            " {{ \"event\" : \"installed\" ,\n\t\"n\":1,\r\n\"sender\":{{\"id\":\"a/b\",\"tags\":[ \"x\" , \"y\" ]}},\"signedData\":\"{text}\"}} \n"
        ),
        format!(
            r#"{{"\u0065vent":"inst\u0061lled","n":1,"sender":{{"id":"a\/b","tags":["x","y"]}},"signedData":"{text}"}}"#
        ),
        format!(r#"{{"event":"installed","n":1,"sender":{{"id":"a/b","tags":["x","y"]}},"signed\u0044ata":"{text}"}}"#),
    ] {
        assert_eq!(with_payload(&headers, &same), payload(), "{same}");
    }
}

#[test]
fn a_body_that_says_something_else_than_its_payload_is_a_payload_mismatch() {
    let text = base64(PAYLOAD);
    let headers = mac(text.as_bytes());
    let deep = format!(r#"{{"event":"installed","n":1,"sender":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (what, fields) in [
        ("changed", r#"{"event":"uninstalled","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("changed deep inside", r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["x","z"]}}"#),
        ("added", r#"{"event":"installed","n":1,"admin":true,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("added inside", r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y"],"admin":true}}"#),
        ("removed", r#"{"event":"installed","sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("renamed", r#"{"Event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("emptied", "{}"),
        ("key twice, bad first", r#"{"event":"bad","event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("key twice, bad last", r#"{"event":"installed","event":"bad","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        (
            "key twice, equal",
            r#"{"event":"installed","event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#,
        ),
        (
            "key twice, one removed",
            r#"{"event":"installed","event":"installed","sender":{"id":"a/b","tags":["x","y"]}}"#,
        ),
        (
            "key twice, escaped",
            r#"{"event":"installed","\u0065vent":"bad","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#,
        ),
        ("key twice inside", r#"{"event":"installed","n":1,"sender":{"id":"bad","id":"a/b","tags":["x","y"]}}"#),
        ("signedData inside", r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y"],"signedData":""}}"#),
        ("1.0 for 1", r#"{"event":"installed","n":1.0,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("1e0 for 1", r#"{"event":"installed","n":1e0,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("text for a number", r#"{"event":"installed","n":"1","sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("array order", r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["y","x"]}}"#),
        ("array longer", r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["x","y","z"]}}"#),
        ("array shorter", r#"{"event":"installed","n":1,"sender":{"id":"a/b","tags":["x"]}}"#),
        ("null", r#"{"event":null,"n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("lone surrogate", r#"{"event":"\ud800","n":1,"sender":{"id":"a/b","tags":["x","y"]}}"#),
        ("deep nesting", &deep),
    ] {
        let body = body(fields, &text);
        assert_eq!(with_payload(&headers, &body), Err(PayloadMismatch), "{what}");
        assert_eq!(verdict(&unmatched(), &headers, &body), payload(), "{what}: not compared, as configured");
    }
}

#[test]
fn numbers_are_equal_by_their_text_alone() {
    for (signed, sent) in [
        ("1000", "1e3"),
        ("1.0", "1.00"),
        ("0", "-0"),
        ("1E3", "1e3"),
        ("12345678901234567890", "12345678901234567891"),
    ] {
        let payload = format!("{{\"n\":{signed}}}");
        let text = base64(&payload);
        let headers = mac(text.as_bytes());
        assert!(with_payload(&headers, &body(&payload, &text)).is_ok());
        assert_eq!(with_payload(&headers, &body(&format!("{{\"n\":{sent}}}"), &text)), Err(PayloadMismatch), "{sent}");
    }
}

#[test]
fn a_signed_key_that_is_there_twice_is_refused_even_when_nothing_is_compared() {
    let text = base64(PAYLOAD);
    let headers = mac(text.as_bytes());
    let fields = PAYLOAD.strip_suffix('}').unwrap();
    for twice in [
        format!(r#"{fields},"signedData":"{text}","signedData":"{text}"}}"#),
        format!(r#"{fields},"signedData":"{text}","signedData":"other"}}"#),
        format!(r#"{fields},"signedData":"other","signedData":"{text}"}}"#),
        format!(r#"{fields},"signedData":"{text}","signed\u0044ata":"other"}}"#),
        format!(r#"{fields},"\u0073ignedData":"other","signedData":"{text}"}}"#),
        format!(r#"{fields},"signedData":null,"signedData":"{text}"}}"#),
        format!(r#"{fields},"signedData":"{text}","signedData":{{"a":[1]}}}}"#),
        format!(r#"{fields},"signedData":"{text}","signedData":"","signedData":"x"}}"#),
    ] {
        assert_eq!(with_payload(&headers, &twice), Err(PayloadMismatch), "{twice}");
        assert_eq!(verdict(&unmatched(), &headers, &twice), Err(PayloadMismatch), "{twice}");
    }
    let neither = format!(r#"{fields},"signedData":"one","signedData":"{text}","signedData":"two"}}"#);
    assert_eq!(with_payload(&headers, &neither), Err(SignatureMismatch));
}

#[test]
fn a_signed_key_that_is_missing_empty_or_no_string_is_a_signature_mismatch() {
    // Whatever the signature covers: of nothing, of the value's text, of the payload's text.
    for signed in ["", "1", "null", "true", "[]", "{}", "1.5", "-1", &base64(PAYLOAD)] {
        let headers = mac(signed.as_bytes());
        for value in
            ["\"\"", "1", "-1", "1.5", "null", "true", "false", "[]", "[1,[2]]", "{}", "{\"a\":{\"b\":1}}", "1e999"]
        {
            let body = format!("{{\"event\":\"installed\",\"signedData\":{value}}}");
            assert_eq!(with_payload(&headers, &body), Err(SignatureMismatch), "{value}");
            assert_eq!(verdict(&unmatched(), &headers, &body), Err(SignatureMismatch), "{value}");
        }
        assert_eq!(with_payload(&headers, PAYLOAD), Err(SignatureMismatch));
        assert_eq!(with_payload(&headers, r#"{"a":{"signedData":"e30="}}"#), Err(SignatureMismatch));
    }
}

#[test]
fn a_signed_text_does_not_pass_as_a_body() {
    let text = base64(PAYLOAD);
    for options in [SchemeOptions::default(), pinned("body"), pinned("signed_data"), unmatched()] {
        for body in [text.clone(), format!("\"{text}\""), format!("{text}\n"), format!("{{\"signedData\":{text}}}")] {
            assert_eq!(verdict(&options, &mac(text.as_bytes()), &body), Err(SignatureMismatch), "{body}");
        }
    }
}

#[test]
fn the_raw_form_takes_nothing_but_a_json_object_even_under_a_right_signature() {
    for body in [
        "",
        " ",
        "[]",
        "[{}]",
        "\"e30=\"",
        "1",
        "null",
        "e30=",
        "{",
        "{}}",
        "{} x",
        "{}\0",
        "\u{feff}{}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":\"\n\"}",
    ] {
        assert_eq!(verdict(&pinned("body"), &mac(body.as_bytes()), body), Err(SignatureMismatch), "{body}");
        assert_eq!(verdict(&SchemeOptions::default(), &mac(body.as_bytes()), body), Err(SignatureMismatch), "{body}");
    }
    let invalid = b"{\"a\":\"\xff\"}";
    let verifier = verifier("icr", SECRET);
    assert_eq!(check(&verifier, &mac(invalid), &[invalid]), Err(SignatureMismatch), "not UTF-8");
}

#[test]
fn the_raw_form_takes_any_json_object() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "{}",
        " {\n} ",
        r#"{"a":1,"a":2}"#,
        r#"{"signedData":"x","signedData":"y"}"#,
        r#"{"signedData":null}"#,
        r#"{"\ud800":"\udc00"}"#,
        &deep,
        &body(PAYLOAD, "e30="),
    ] {
        let headers = mac(body.as_bytes());
        assert_eq!(verdict(&SchemeOptions::default(), &headers, body), Ok(Authenticated::Body));
        assert_eq!(verdict(&pinned("body"), &headers, body), Ok(Authenticated::Body));
        assert_eq!(verdict(&pinned("signed_data"), &headers, body), Err(SignatureMismatch));
    }
}

#[test]
fn a_pinned_raw_form_does_not_take_a_signed_payload() {
    let text = base64(PAYLOAD);
    assert_eq!(verdict(&pinned("body"), &mac(text.as_bytes()), &body(PAYLOAD, &text)), Err(SignatureMismatch));
}

#[test]
fn a_signature_over_a_body_does_not_pass_as_one_over_a_signed_text() {
    let escaped = PAYLOAD.replace('"', "\\\"");
    let body = body(PAYLOAD, &escaped);
    for options in [SchemeOptions::default(), pinned("signed_data"), unmatched()] {
        assert_eq!(verdict(&options, &mac(PAYLOAD.as_bytes()), &body), Err(PayloadMismatch));
    }
}

#[test]
fn a_signed_text_that_is_not_strict_base64_of_a_json_object_is_a_payload_mismatch() {
    // `{"a":"?>"}` needs a letter in which the two alphabets differ.
    let special = r#"{"a":"~~~???>>>"}"#;
    assert_ne!(URL_SAFE.encode(special), base64(special));
    let padded = base64("{}  ");
    assert!(padded.ends_with("=="));
    let (stray, _) = (padded.replace("A==", "B==").replace("IA=", "IB="), ());
    assert_ne!(stray, padded);
    for (what, text) in [
        ("the other alphabet", URL_SAFE.encode(special)),
        ("no padding", base64("{}").trim_end_matches('=').to_owned()),
        ("too much padding", base64("{}") + "="),
        ("stray bits", stray),
        ("a line break inside", "e3\\n0=".to_owned()),
        ("a line break behind", "e30=\\n".to_owned()),
        ("a space", " e30=".to_owned()),
        ("not base64", "hello!".to_owned()),
        ("a JSON array", base64("[{}]")),
        ("a JSON string", base64("\"a\"")),
        ("a JSON number", base64("1")),
        ("not JSON", base64("hello")),
        ("cut off", base64("{\"a\":1")),
        ("something behind", base64("{} {}")),
        ("a byte order mark", base64("\u{feff}{}")),
        ("not UTF-8", STANDARD.encode(b"{\"a\":\"\xff\"}")),
    ] {
        let unescaped: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        let headers = mac(unescaped.as_bytes());
        let body = body("{}", &text);
        assert_eq!(with_payload(&headers, &body), Err(PayloadMismatch), "{what}");
        assert_eq!(verdict(&unmatched(), &headers, &body), Err(PayloadMismatch), "{what}");
    }
}

#[test]
fn escapes_in_the_signed_text_are_resolved_before_it_is_signed_or_decoded() {
    let payload = r#"{"a":"~~~???>>>?"}"#;
    let text = base64(payload);
    let escaped = text.replace('/', "\\/").replace('+', "\\u002b");
    assert_ne!(text, escaped);
    let expected = Ok(Authenticated::Payload(payload.into()));
    assert_eq!(with_payload(&mac(text.as_bytes()), &body(payload, &escaped)), expected);
    assert_eq!(with_payload(&mac(escaped.as_bytes()), &body(payload, &escaped)), Err(SignatureMismatch));
}

#[test]
fn a_body_that_is_no_json_text_is_a_signature_mismatch() {
    let text = base64(PAYLOAD);
    let headers = mac(text.as_bytes());
    let good = body(PAYLOAD, &text);
    for bad in [
        format!("\u{feff}{good}"),
        format!("{good}x"),
        format!("{good}{good}"),
        format!("{good}\0"),
        good.replace("\"n\":1", "\"n\":01"),
        good.replace("\"n\":1", "\"n\":NaN"),
        good.replace("\"n\":1", "\"n\":1,"),
        good.replace("installed", "\\x"),
        good.replace("{\"event\"", "{//\n\"event\""),
        format!("[{good}]"),
        good[..good.len() - 1].to_owned(),
    ] {
        assert_eq!(with_payload(&headers, &bad), Err(SignatureMismatch), "{bad}");
        assert_eq!(verdict(&unmatched(), &headers, &bad), Err(SignatureMismatch), "{bad}");
    }
}

#[test]
fn a_payload_that_itself_has_a_key_twice_or_the_signed_key_equals_no_body() {
    for payload in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"\u0061":2}}"#, r#"{"signedData":"x"}"#] {
        let text = base64(payload);
        let headers = mac(text.as_bytes());
        for fields in [payload, r#"{"a":1}"#, "{}"] {
            let body = if fields.contains("signedData") { body("{}", &text) } else { body(fields, &text) };
            assert_eq!(with_payload(&headers, &body), Err(PayloadMismatch), "{payload} {fields}");
        }
    }
}

#[test]
fn nesting_is_compared_down_to_128_levels() {
    // The root is one of the levels.
    for (arrays, expected) in [(126, true), (127, true), (128, false), (10_000, false)] {
        let payload = format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays));
        let text = base64(&payload);
        let verdict = with_payload(&mac(text.as_bytes()), &body(&payload, &text));
        assert_eq!(verdict.is_ok(), expected, "{arrays}");
    }
}

#[test]
fn many_keys_or_much_nesting_beside_a_captured_payload_cost_no_more_than_a_scan() {
    let text = base64(PAYLOAD);
    let headers = mac(text.as_bytes());
    let mut keys = String::new();
    for number in 0..60_000 {
        keys.push_str(&format!(",\"{number}\":1"));
    }
    let many = format!("{{\"event\":\"installed\"{keys},\"signedData\":\"{text}\"}}");
    let twice = format!("{{\"signedData\":\"{text}\"{}}}", ",\"signedData\":\"\"".repeat(60_000));
    let nested =
        format!("{{\"event\":{}1{},\"signedData\":\"{text}\"}}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for body in [many, twice, nested] {
        assert_eq!(with_payload(&headers, &body), Err(PayloadMismatch));
    }
}
