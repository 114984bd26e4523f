//! What a field of a multipart body is, and what is none.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::schemes::spec::Pointer;

const TYPE: &str = "multipart/form-data; boundary=xYz";

fn headers(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    headers
}

fn field(name: &str) -> MultipartField {
    MultipartField { name: name.to_owned(), json: None }
}

/// What is found under a name: nothing, or the texts; `-` for what is no text.
fn found_in(content_type: &str, body: &[u8], field: &MultipartField) -> Vec<String> {
    let text = |value: Option<std::borrow::Cow<'_, [u8]>>| {
        value.map_or_else(|| "-".to_owned(), |value| String::from_utf8(value.into_owned()).unwrap())
    };
    match find(&headers(content_type), body, field) {
        Found::Nothing => Vec::new(),
        Found::Once(value) => vec![text(value)],
        Found::Repeated { first, last } => vec![text(first), text(last)],
    }
}

fn found(body: &str, name: &str) -> Vec<String> {
    found_in(TYPE, body.as_bytes(), &field(name))
}

/// A part with this disposition, further header lines and bytes.
fn part(disposition: &str, more: &str, bytes: &str) -> String {
    format!("--xYz\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n{bytes}\r\n")
}

const END: &str = "--xYz--\r\n";

#[test]
fn the_text_of_a_field_is_found_by_its_name() {
    let body = [
        part("name=\"a\"", "", "1"),
        part("name=b", "Content-Type: text/plain; charset=utf-8\r\n", "two\r\nlines"),
        part("name=\"file\"; filename=\"a.txt\"", "", "a=9&name=\"a\"\r\n--xY"),
        part("NAME=\"\"", "content-transfer-encoding: 8BIT\r\n", ""),
        END.to_owned(),
    ]
    .concat();
    for (name, value) in [("a", "1"), ("b", "two\r\nlines"), ("", ""), ("file", "-")] {
        assert_eq!(found(&body, name), [value], "{name}");
    }
    assert!(found(&body, "c").is_empty());
    assert_eq!(found(body.strip_suffix("\r\n").unwrap(), "a"), ["1"], "without the last line end");
    for content_type in ["Multipart/Form-Data;boundary=\"xYz\"", "multipart/form-data; charset=utf-8 ; Boundary=xYz"] {
        assert_eq!(found_in(content_type, body.as_bytes(), &field("a")), ["1"], "{content_type}");
    }
}

#[test]
fn a_value_in_the_json_of_a_field_is_found_by_its_pointer() {
    let body = part("name=json", "", r#"{"event":{"time":7,"type":"x"},"event2":0}"#) + END;
    let at = |pointer: &str| MultipartField {
        name: "json".to_owned(),
        json: Some(Pointer::try_from(pointer.to_owned()).unwrap()),
    };
    assert_eq!(found_in(TYPE, body.as_bytes(), &at("/event/time")), ["7"]);
    assert_eq!(found_in(TYPE, body.as_bytes(), &at("/event/type")), ["x"]);
    assert_eq!(found_in(TYPE, body.as_bytes(), &at("/event/hash")), ["-"]);
    let twice = part("name=json", "", r#"{"event":{"type":"x","type":"y"}}"#) + END;
    assert_eq!(found_in(TYPE, twice.as_bytes(), &at("/event/type")), ["x", "y"]);
}

#[test]
fn a_field_that_is_there_twice_is_told_as_such() {
    let twice =
        [part("name=a", "", "1"), part("name=b", "", "2"), part("name=\"a\"", "", "3"), END.to_owned()].concat();
    assert_eq!(found(&twice, "a"), ["1", "3"]);
    let with_file = [part("name=a", "", "1"), part("name=a; filename=f", "", "3"), END.to_owned()].concat();
    assert_eq!(found(&with_file, "a"), ["1", "-"]);
}

#[test]
fn what_is_encoded_or_a_file_is_no_text() {
    for (disposition, more) in [
        ("name=a; filename=\"\"", ""),
        ("name=a; filename*=utf-8''x", ""),
        ("name=a", "Content-Transfer-Encoding: base64\r\n"),
        ("name=a", "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: quoted-printable\r\n"),
    ] {
        assert_eq!(found(&(part(disposition, more, "MQ==") + END), "a"), ["-"], "{disposition} {more}");
    }
}

#[test]
fn a_body_that_parsers_read_differently_has_no_fields() {
    let good = part("name=a", "", "1") + END;
    for content_type in [
        "multipart/form-data",
        "multipart/mixed; boundary=xYz",
        "multipart/form-data; boundary=xYz; boundary=xYz",
        "multipart/form-data; boundary=xYz;",
        "multipart/form-data; boundary=\"xYz",
        "multipart/form-data; boundary=xY",
        "multipart/form-data; boundary=\"xYz \"",
        "multipart/form-data; boundary=",
        "multipart/form-data; xYz; boundary=xYz",
        "multipart/form-data; boundary=xYz; boundary*=utf-8''other",
        "multipart/form-data; boundary=xYz; boundary*0=other",
        "multipart/form-data; xboundary=other; boundary=xYz",
        "multipart/form-data; charset=boundary=other; boundary=xYz",
        "multipart/form-data; boundary=\"xYz,\"",
    ] {
        assert!(found_in(content_type, good.as_bytes(), &field("a")).is_empty(), "{content_type}");
    }
    let mut twice = headers(TYPE);
    twice.append(CONTENT_TYPE, HeaderValue::from_static(TYPE));
    assert!(matches!(find(&twice, good.as_bytes(), &field("a")), Found::Nothing));
    for (body, why) in [
        (format!("\r\n{good}"), "a line before it"),
        (format!("preamble\r\n{good}"), "a preamble"),
        (format!("{good}more"), "an epilogue"),
        (good.replace("\r\n", "\n"), "bare line feeds"),
        (good.replace(END, "--xYz--\n"), "a bare line feed at its end"),
        (good.replace(END, ""), "no end"),
        (good.replace(END, "--xYz"), "a delimiter cut short"),
        (good.replace("--xYz\r\n", "--xYz \r\n"), "white space behind the delimiter"),
        (
            part("name=a", "", "1\n--xYz\nContent-Disposition: form-data; name=b\n\n2") + END,
            "a delimiter after a line feed",
        ),
        (part("name=a", "", "1--xYz") + END, "the boundary in a part"),
        (part("name=a", "", "1\r\n--xYzz\r\n") + END, "a longer boundary in a part"),
        (format!("--xYz\r\n\r\n1\r\n{good}"), "a part without headers"),
        (format!("--xYz\r\n{good}"), "an empty part"),
        (part("name=a", "Content-Disposition: form-data; name=b\r\n", "1") + END, "two dispositions"),
        (part("name=a; name=b", "", "1") + END, "two names"),
        (part("name=a; name*=utf-8''b", "", "1") + END, "a name in another form"),
        (part("name =a", "", "1") + END, "white space before the equals sign"),
        (part("name= a", "", "1") + END, "white space behind the equals sign"),
        (part("name= \"a\"", "", "1") + END, "white space before a quote"),
        (part("name=a; name*0=\"b\"", "", "1") + END, "a name in parts"),
        (part("name=a; filename*0=\"b\"", "", "1") + END, "a file's name in parts"),
        (part("name=\" a\"", "", "1") + &good, "a name with a blank before it"),
        (part("filename=a", "", "1") + END, "no name"),
        (part("name=\"a", "", "1") + END, "an open quote"),
        (part("name=\"a\" b", "", "1") + END, "something behind a quote"),
        (part("name=a b", "", "1") + END, "a name with a space and no quotes"),
        (part("name=\"a\\\"b\"", "", "1") + END, "a backslash in a name"),
        (part("filename=\"\\\"; name=b; x=\\\"\"; name=a", "", "1") + END, "a name in or out of quotes"),
        (part("name=a", " folded\r\n", "1") + END, "a folded line"),
        (part("name=a", "X: a\nY: b\r\n", "1") + END, "a bare line feed in a header"),
        (part("name=a", "no colon\r\n", "1") + END, "a line without a colon"),
        (good.replace("form-data; name", "attachment; name"), "another disposition"),
        (part("name=a", &format!("X: {}\r\n", "x".repeat(LONGEST_HEAD)), "1") + END, "a long head"),
        (part("name=b", "", "2").repeat(MOST_PARTS) + &good, "many parts"),
    ] {
        assert!(found(&body, "a").is_empty(), "{why}");
    }
    assert_eq!(found(&(part("name=b", "", "2").repeat(MOST_PARTS - 1) + &good), "a"), ["1"]);
    assert_eq!(
        found(&(part("name=a; filename=\"a\\\"b.txt\"", "", "1") + END), "a"),
        ["-"],
        "a quote in a file's name"
    );
}

/// The parts of a body, as the simplest reading of RFC 7578 has them.
fn naive(body: &str) -> Vec<(String, String)> {
    let parts = body.split("--xYz").filter_map(|part| part.strip_prefix("\r\n")?.strip_suffix("\r\n"));
    let parts = parts.filter_map(|part| part.split_once("\r\n\r\n"));
    parts
        .map(|(head, value)| {
            let name = head.split_once("name=\"").unwrap().1.split_once('"').unwrap().0;
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_found_and_the_rest_stays(
        fields in proptest::collection::vec(("[a-c]", "[ -~\r\n]{0,20}"), 0..6),
        name in "[a-d]",
        value in "[ -~\r\n]{0,20}",
    ) {
        prop_assume!(fields.iter().all(|(_, text)| !text.contains("--xYz")) && !value.contains("--xYz"));
        let parts = fields.iter().map(|(name, text)| part(&format!("name=\"{name}\""), "", text));
        let body = parts.collect::<String>() + END;
        prop_assert_eq!(naive(&body), fields.clone());
        let changed = with(&headers(TYPE), body.as_bytes(), &name, |_| Some(value.clone().into_bytes()));
        let is_twice = fields.iter().filter(|(other, _)| *other == name).count() > 1;
        prop_assert_eq!(changed.is_none(), is_twice);
        let Some(changed) = changed else { return Ok(()) };
        let changed = String::from_utf8(changed).unwrap();
        let texts: Vec<String> = found(&changed, &name);
        prop_assert_eq!(texts, [value]);
        for other in ["a", "b", "c"].into_iter().filter(|other| *other != name) {
            prop_assert_eq!(found(&changed, other), found(&body, other));
        }
    }

    #[test]
    fn no_bytes_break_it(body in proptest::collection::vec(any::<u8>(), 0..200), at in 0..100_usize) {
        let good = part("name=a", "", "1") + END;
        let mut changed = good.into_bytes();
        let at = at.min(changed.len());
        changed.splice(at..at, body);
        drop(find(&headers(TYPE), &changed, &field("a")));
    }
}
