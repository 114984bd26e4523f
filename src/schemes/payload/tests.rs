//! The search for the signed key.

use std::borrow::Cow;

use super::*;
use crate::schemes::fields::Found;
use crate::schemes::spec::Pointer;

fn look(body: &str, pointer: &str, kind: Kind) -> Vec<Option<String>> {
    let owned = |value: Option<Cow<'_, [u8]>>| value.map(|value| String::from_utf8(value.into_owned()).unwrap());
    match find(body.as_bytes(), &Pointer::try_from(pointer.to_owned()).unwrap(), kind) {
        Found::Nothing => vec![],
        Found::Once(value) => vec![owned(value)],
        Found::Repeated { first, last } => vec![owned(first), owned(last)],
    }
}

fn found(body: &str) -> Vec<Option<String>> {
    look(body, "/k", Kind::Text)
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
    let pointer = Pointer::try_from("/k".to_owned()).unwrap();
    let found = find(br#"{"k":"v"}"#, &pointer, Kind::Text);
    let Found::Once(Some(Cow::Borrowed(value))) = found else { panic!("not borrowed") };
    assert_eq!(value, b"v");
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
    let pointer = Pointer::try_from("/k".to_owned()).unwrap();
    let found = find(b"{\"a\":\"\xff\",\"k\":\"v\"}", &pointer, Kind::Text);
    assert!(matches!(found, Found::Nothing), "not UTF-8");
}

#[test]
fn deep_nesting_beside_the_key_does_no_harm() {
    let body = format!("{{\"a\":{}{},\"k\":\"v\"}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(found(&body), [text("v")]);
}

#[test]
fn a_pointer_goes_down_objects_and_arrays() {
    let body = r#"{"a":{"b":[{"c":"1"},{"c":"2","d":{"c":"3"}}],"1":"x"},"c":"4"}"#;
    assert_eq!(look(body, "/a/b/0/c", Kind::Text), [text("1")]);
    assert_eq!(look(body, "/a/b/1/d/c", Kind::Text), [text("3")]);
    assert_eq!(look(body, "/a/1", Kind::Text), [text("x")]);
    assert_eq!(look(body, "/a/b/2/c", Kind::Text), [None; 1]);
    assert_eq!(look(body, "/a/b/c", Kind::Text), [None; 1]);
    assert!(look(body, "/b/c", Kind::Text).is_empty());
    assert!(look(body, "/a/b/*/c", Kind::Text).is_empty(), "two elements, where there must be one");
    assert_eq!(look(r#"{"a":[{"c":"1"}]}"#, "/a/*/c", Kind::Text), [text("1")]);
}

#[test]
fn a_key_that_is_there_twice_anywhere_on_the_way_is_told_as_such() {
    assert_eq!(look(r#"{"a":{"b":"1"},"a":{"b":"2"}}"#, "/a/b", Kind::Text), [text("1"), text("2")]);
    assert_eq!(look(r#"{"a":{"b":"1","b":"2"}}"#, "/a/b", Kind::Text), [text("1"), text("2")]);
    assert_eq!(look(r#"{"a":{"b":"1"},"a":7}"#, "/a/b", Kind::Text), [text("1"), None]);
    assert_eq!(look(r#"{"a":{"b":"1","x":1,"x":2}}"#, "/a/b", Kind::Text), [text("1")]);
}

#[test]
fn numbers_and_truth_values_are_taken_by_their_text_where_they_are_wanted() {
    for value in ["1", "-1.50", "1e3", "12345678901234567890123", "true"] {
        let body = format!(r#"{{"k": {value} }}"#);
        assert_eq!(look(&body, "/k", Kind::Text), [None]);
        assert_eq!(look(&body, "/k", Kind::Scalar), [text(value)]);
        assert_eq!(look(&body, "/k", Kind::ScalarOrEmpty), [text(value)]);
    }
    for value in ["null", "\"\""] {
        let body = format!(r#"{{"k":{value}}}"#);
        assert_eq!(look(&body, "/k", Kind::Scalar), [None]);
        assert_eq!(look(&body, "/k", Kind::ScalarOrEmpty), [text("")]);
    }
    assert_eq!(look(r#"{"k":[1]}"#, "/k", Kind::ScalarOrEmpty), [None]);
}

#[test]
fn every_element_must_have_the_value_that_is_looked_for_in_all() {
    let every = |body: &'static str| find_every(body.as_bytes(), &Pointer::try_from("/v/*/s".to_owned()).unwrap());
    assert_eq!(every(r#"{"v":[{"s":"a"},{"s":"b"}]}"#).unwrap(), [b"a".as_slice(), b"b"]);
    assert_eq!(every(r#"{"v":[]}"#).unwrap(), [b""; 0]);
    for body in [r#"{"v":[{"s":"a"},{}]}"#, r#"{"v":[{"s":"a"},1]}"#, r#"{"v":[{"s":"a","s":"a"}]}"#, r#"{"v":{"s":"a"}"#] {
        assert!(every(body).is_none(), "{body}");
    }
}
