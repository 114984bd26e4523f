//! Equality on its own, against that of parsed values.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn equal(body: &str, signed: &str) -> bool {
    equal_but_for(body.as_bytes(), "omitted", signed.as_bytes())
}

#[test]
fn equal_values_are_equal() {
    for value in [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":[],"b":[1,[2,{"c":null}],true,false,-1.5e+10],"d":{"e":{}},"":""}"#,
        r#"{"a":"}],{\"\\","b":"é\u0000"}"#,
        r#"{"a":"\ud800"}"#,
    ] {
        assert!(equal(value, value), "{value}");
    }
}

#[test]
fn strings_and_keys_are_equal_by_their_characters() {
    assert!(equal(r#"{"\u00e9":"\/\ud83d\ude00"}"#, r#"{"é":"/😀"}"#));
    assert!(!equal(r#"{"a":"é"}"#, "{\"a\":\"e\u{301}\"}"), "no normalisation");
    assert!(!equal(r#"{"a":"\ud800"}"#, r#"{"a":"\uD800"}"#), "a lone surrogate is no character");
    assert!(!equal(r#"{"\ud800":1}"#, r#"{"\ud800":1}"#), "nor in a key");
}

#[test]
fn different_values_differ_both_ways() {
    for (one, other) in [
        ("{}", r#"{"a":1}"#),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":1}"#, r#"{"a":[1]}"#),
        (r#"{"a":[]}"#, r#"{"a":{}}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[1]}"#),
        (r#"{"a":[[],1]}"#, r#"{"a":[[1]]}"#),
        (r#"{"a":12}"#, r#"{"a":1}"#),
        (r#"{"a":true}"#, r#"{"a":false}"#),
        (r#"{"a":null}"#, r#"{"a":"null"}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#),
        (r#"{"a":"a"}"#, r#"{"a":"A"}"#),
    ] {
        assert!(!equal(one, other) && !equal(other, one), "{one} {other}");
    }
}

#[test]
fn the_omitted_key_is_left_out_at_the_root_of_the_body_alone() {
    assert!(equal(r#"{"a":1,"omitted":[1,2]}"#, r#"{"a":1}"#));
    assert!(equal(r#"{"\u006fmitted":"x"}"#, "{}"));
    assert!(!equal(r#"{"a":1}"#, r#"{"a":1,"omitted":1}"#));
    assert!(!equal(r#"{"a":{"omitted":1}}"#, r#"{"a":{}}"#));
    assert!(equal(r#"{"a":{"omitted":1}}"#, r#"{"a":{"omitted":1}}"#));
}

#[test]
fn a_key_twice_is_never_equal_at_any_depth_on_either_side() {
    for (one, other) in [
        (r#"{"a":1,"a":1}"#, r#"{"a":1,"a":1}"#),
        (r#"{"a":1,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"a":1}"#, r#"{"a":1,"b":1}"#),
        (r#"{"x":[{"a":1,"\u0061":1}]}"#, r#"{"x":[{"a":1,"a":1}]}"#),
        (r#"{"x":[{"a":1,"b":2,"a":1}]}"#, r#"{"x":[{"a":1,"b":2}]}"#),
    ] {
        assert!(!equal(one, other) && !equal(other, one), "{one} {other}");
    }
}

#[test]
fn no_more_members_are_looked_at_than_the_signed_side_has() {
    let members = |at_most| {
        let mut cursor = Cursor { rest: br#"{"a":1,"b":2,"omitted":3,"c":4,"d":5}"# };
        let found = cursor.members(Some(b"omitted"), at_most).map(|members| members.len());
        (found, std::str::from_utf8(cursor.rest).unwrap())
    };
    assert_eq!(members(2), (None, r#","d":5}"#));
    assert_eq!(members(3), (None, "}"));
    assert_eq!(members(4), (Some(4), ""));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab\"\\\\/é]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec(("[ab]{1,2}", inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_verdict_is_that_of_parsed_values(one in json(), other in json()) {
        let wrapped = |value: &Value| serde_json::json!({ "v": value });
        let (one, other) = (wrapped(&one), wrapped(&other));
        prop_assert!(equal(&one.to_string(), &serde_json::to_string_pretty(&one).unwrap()));
        prop_assert_eq!(equal(&one.to_string(), &other.to_string()), one == other);
    }

    #[test]
    fn texts_that_are_no_json_give_no_panic(one in "[{}\\[\\]\",:a1\\\\ ]{0,30}", other in "[{}\\[\\]\",:a1\\\\ ]{0,30}") {
        equal(&one, &other);
        equal(&format!("{{\"a\":{one}}}"), &format!("{{\"a\":{other}}}"));
    }
}
