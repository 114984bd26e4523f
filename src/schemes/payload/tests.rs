//! The search for the signed key.

use super::*;

fn found(body: &str) -> Vec<Option<String>> {
    let owned = |value: Value<'_>| value.map(Cow::into_owned);
    match find(body.as_bytes(), "k") {
        Found::Nothing => vec![],
        Found::Once(value) => vec![owned(value)],
        Found::Repeated { first, last } => vec![owned(first), owned(last)],
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn the_key_is_found_at_the_root_alone_wherever_it_stands() {
    assert_eq!(found(r#"{"k":"v"}"#), [text("v")]);
    assert_eq!(found(r#"{"a":[{"k":"x"}],"k":"v","b":{"k":"x"}}"#), [text("v")]);
    assert!(found(r#"{"a":{"k":"x"}}"#).is_empty());
    assert!(found(r#"[{"k":"x"}]"#).is_empty());
    assert!(found(r#"{"K":"v","kk":"v"," k":"v"}"#).is_empty());
}

#[test]
fn the_usual_value_is_borrowed_from_the_body() {
    let Found::Once(Some(Cow::Borrowed(value))) = find(br#"{"k":"v"}"#, "k") else { panic!("not borrowed") };
    assert_eq!(value, "v");
}

#[test]
fn escapes_are_resolved_in_key_and_value() {
    assert_eq!(found(r#"{"\u006b":"a\/b\u002b\n"}"#), [text("a/b+\n")]);
}

#[test]
fn of_many_values_the_first_and_the_last_are_told() {
    assert_eq!(found(r#"{"k":"1","k":"2","\u006B":"3"}"#), [text("1"), text("3")]);
    assert_eq!(found(r#"{"k":null,"k":"2"}"#), [None, text("2")]);
    assert_eq!(found(r#"{"k":"1","k":{}}"#), [text("1"), None]);
}

#[test]
fn a_value_that_is_empty_or_no_string_is_none() {
    for value in [r#""""#, "1", "-1", "1.5", "true", "null", "[[1],{}]", r#"{"k":{"k":"v"}}"#] {
        assert_eq!(found(&format!("{{\"k\":{value},\"z\":1}}")), [None], "{value}");
    }
}

#[test]
fn nothing_is_found_in_what_is_not_one_json_object() {
    for body in [
        "",
        "{",
        r#"{"k":"v""#,
        r#"{"k":"v"}x"#,
        r#"{"k":"v",}"#,
        r#"{"k":"\ud800"}"#,
        r#"{"a":tru,"k":"v"}"#,
        "\u{feff}{\"k\":\"v\"}",
    ] {
        assert!(found(body).is_empty(), "{body}");
    }
    assert!(matches!(find(b"{\"a\":\"\xff\",\"k\":\"v\"}", "k"), Found::Nothing), "not UTF-8");
}

#[test]
fn deep_nesting_beside_the_key_does_no_harm() {
    let body = format!("{{\"a\":{}{},\"k\":\"v\"}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(found(&body), [text("v")]);
}
