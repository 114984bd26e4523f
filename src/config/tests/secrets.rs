//! Where secrets come from, and that they never get out.

use std::time::Duration;

use super::*;

const LITERAL: &str = "a secret must not stand in this file: use env: NAME (an environment variable) or file: PATH (a \
                       file that holds it)";

fn error(made: &Made, secrets: &str) -> String {
    let mut errors = made.errors(&one(&[&format!("secrets: {secrets}")]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// The signature that the route's first secret gives, to tell secrets apart.
fn signed(made: &Made, secrets: &str) -> String {
    let config = made.parse(&one(&[&format!("secrets: {secrets}")])).expect("valid");
    let headers = config.routes[0].verifier.sign_body(0, b"body", Duration::ZERO).expect("signs");
    headers[0].1.to_str().expect("ASCII").to_owned()
}

#[test]
fn a_variable_counts_as_it_is() {
    let made = Made::new().env("A", "key").env("B", "key\n");
    assert_ne!(signed(&made, "[{env: A}]"), signed(&made, "[{env: B}]"));
}

#[test]
fn one_line_end_of_a_file_is_dropped_and_nothing_else() {
    let made = Made::new()
        .env("KEY", "key")
        .env("KEY_LF", "key\n")
        .env("KEY_CR", "key\r")
        .env("SPACED", " key ")
        .file("/etc/hl/plain", b"key")
        .file("/etc/hl/lf", b"key\n")
        .file("/etc/hl/crlf", b"key\r\n")
        .file("/etc/hl/lflf", b"key\n\n")
        .file("/etc/hl/cr", b"key\r")
        .file("/etc/hl/spaced", b" key \n");
    for (file, env) in
        [("plain", "KEY"), ("lf", "KEY"), ("crlf", "KEY"), ("lflf", "KEY_LF"), ("cr", "KEY_CR"), ("spaced", "SPACED")]
    {
        assert_eq!(
            signed(&made, &format!("[{{file: {file}}}]")),
            signed(&made, &format!("[{{env: {env}}}]")),
            "{file}"
        );
    }
}

#[test]
fn relative_files_are_relative_to_the_configuration_and_absolute_ones_are_not() {
    let made = Made::new().file("/etc/hl/sub/key", b"a").file("/run/key", b"a");
    assert_eq!(signed(&made, "[{file: sub/key}]"), signed(&made, "[{file: /run/key}]"));
}

#[test]
fn ids_default_to_the_position_as_written() {
    let config = Made::new()
        .parse(&one(&["secrets: [{env: UNSET, optional: true}, {env: SET}, {env: SET, id: old}, {env: SET}]"]))
        .expect("valid");
    assert_eq!(config.routes[0].secret_ids, ["1", "old", "3"]);
}

#[test]
fn an_absent_secret_is_an_error() {
    let made = Made::new();
    assert_eq!(
        error(&made, "[{env: SET}, {env: UNSET}]"),
        "routes[0].secrets[1].env: environment variable UNSET is not set: \
         export it where hooklatch is started (sudo and systemd do not pass it on by themselves)"
    );
    assert_eq!(
        error(&made, "[{file: gone}]"),
        "routes[0].secrets[0].file: the file \"/etc/hl/gone\" does not exist: write the secret into it, or correct its name"
    );
}

#[test]
fn an_optional_secret_may_be_absent_but_not_wrong() {
    let made = Made::new().env("EMPTY", "").file("/etc/hl/empty", b"\n").broken("/etc/hl/broken");
    for absent in ["env: UNSET", "file: gone"] {
        let text = one(&[&format!("secrets: [{{{absent}, optional: true}}, {{env: SET}}]")]);
        assert_eq!(made.parse(&text).expect("valid").routes[0].secret_ids, ["1"]);
    }
    assert_eq!(
        error(&made, "[{env: EMPTY, optional: true}]"),
        "routes[0].secrets[0].env: environment variable EMPTY is empty: put the secret into it"
    );
    assert_eq!(
        error(&made, "[{file: empty, optional: true}]"),
        "routes[0].secrets[0].file: the file \"/etc/hl/empty\" is empty: put the secret into it"
    );
    assert_eq!(
        error(&made, "[{file: broken, optional: true}]"),
        "routes[0].secrets[0].file: cannot read the file \"/etc/hl/broken\": permission denied: the user that hooklatch runs as must be allowed to read it"
    );
}

#[test]
fn a_route_without_any_secret_is_refused() {
    let made = Made::new();
    assert_eq!(error(&made, "[]"), "routes[0].secrets: needs at least one entry");
    assert_eq!(error(&made, ""), "routes[0].secrets: has no value: expected a list");
    assert_eq!(
        error(&made, "[{env: UNSET, optional: true}, {file: gone, optional: true}]"),
        "routes[0].secrets: no secret is present: all of them are optional and absent"
    );
}

#[test]
fn an_entry_has_exactly_one_source() {
    let made = Made::new();
    assert_eq!(error(&made, "[{id: a}]"), "routes[0].secrets[0]: needs env: NAME or file: PATH");
    assert_eq!(error(&made, "[{env: SET, file: x}]"), "routes[0].secrets[0]: has both env and file: give one of them");
    assert_eq!(
        error(&made, "[{env: SET, optional: 1}]"),
        "routes[0].secrets[0].optional: expected true or false, found a number"
    );
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let made = Made::new().file("/etc/hl/most", &[b'x'; 65_536]).file("/etc/hl/more", &[b'x'; 65_537]);
    assert!(made.parse(&one(&["secrets: [{file: most}]"])).is_ok());
    assert_eq!(
        error(&made, "[{file: more}]"),
        "routes[0].secrets[0].file: the file \"/etc/hl/more\" is longer than 64KiB"
    );
}

#[test]
fn what_the_scheme_cannot_decode_is_refused() {
    let made = Made::new().file("/etc/hl/binary", b"\xff\xfe");
    let error = error(&made, "[{file: binary}]");
    assert!(error.starts_with("routes[0].secrets[0].file: the secret is not "), "{error}");
}

#[cfg(unix)]
#[test]
fn a_variable_need_not_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let made = Made::new().env("BINARY", OsString::from_vec(vec![0xff]));
    let error = error(&made, "[{env: BINARY}]");
    assert!(error.starts_with("routes[0].secrets[0].env: the secret is not "), "the scheme has judged it: {error}");
}

#[test]
fn ids_are_plain_and_unique() {
    let made = Made::new();
    let error_of = |id: &str| error(&made, &format!("[{{env: SET, id: '{id}'}}]"));
    for id in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
        assert_eq!(error_of(id), "routes[0].secrets[0].id: must be 1 to 64 letters, digits, ., _ or -");
    }
    assert_eq!(
        error(&made, "[{env: SET, id: a}, {env: SET, id: a}]"),
        "routes[0].secrets[1].id: the id \"a\" is already used by routes[0].secrets[0]"
    );
    assert_eq!(
        error(&made, "[{env: SET, id: '1'}, {env: SET}]"),
        "routes[0].secrets[1]: the id \"1\" is already used by routes[0].secrets[0]"
    );
}

#[test]
fn a_variable_has_a_plain_name() {
    for name in ["$A", "${A}"] {
        assert_eq!(
            error(&Made::new(), &format!("[{{env: '{name}'}}]")),
            "routes[0].secrets[0].env: must be the name of an environment variable, without $ and braces: NAME, not ${NAME}"
        );
    }
    for name in ["''", "'a b'", "a=b"] {
        assert_eq!(
            error(&Made::new(), &format!("[{{env: '{}'}}]", name.trim_matches('\''))),
            "routes[0].secrets[0].env: must be the name of an environment variable: letters, digits, _, . and -"
        );
    }
}

#[test]
fn a_literal_secret_is_refused_with_what_to_write() {
    let made = Made::new();
    assert_eq!(error(&made, "hunter2"), format!("routes[0].secrets: {LITERAL}"));
    assert_eq!(error(&made, "[hunter2]"), format!("routes[0].secrets[0]: {LITERAL}"));
    assert_eq!(error(&made, "[12345]"), format!("routes[0].secrets[0]: {LITERAL}"));
    assert_eq!(error(&made, "[{value: hunter2}]"), format!("routes[0].secrets[0].value: {LITERAL}"));
    assert_eq!(error(&made, "[{literal: hunter2, id: a}]"), format!("routes[0].secrets[0].literal: {LITERAL}"));
    assert_eq!(
        made.errors(&one(&["secret: hunter2"])),
        [format!("routes[0].secret: unknown key; secrets are a list under \"secrets\" of the route, and {LITERAL}")]
    );
}

#[test]
fn no_secret_shows_in_errors_or_debug_output() {
    const CANARY: &str = "hunter2canary";
    let made = Made::new()
        .env("CANARY", CANARY)
        .file("/etc/hl/canary", CANARY.as_bytes())
        .file("/etc/hl/undecodable", &[CANARY.as_bytes(), b"\xff"].concat());
    let good = made.parse(&one(&["secrets: [{env: CANARY}, {file: canary}]"])).expect("valid");
    assert!(!format!("{good:?} {good:#?}").contains(CANARY));
    let good = made.parse(&one(&[&format!("upstream: 'http://a/?key={CANARY}'")])).expect("valid");
    assert!(!format!("{good:?} {good:#?}").contains(CANARY));

    let bad = [
        "secrets: C",
        "secrets: [C]",
        "secrets: {C: x}",
        "secrets: {env: C}",
        "secrets: {C}",
        "secrets: [[C]]",
        "secrets: [{value: C}]",
        "secrets: [{literal: C}]",
        "secrets: [{C: x}]",
        "secrets: [{C}]",
        "secrets: [{C: x, C: y}]",
        "secrets: [{env: SET, C: x}]",
        "secrets: [{env: SET, value: {C: x, C: y}}]",
        "secrets: [{env: SET, id: 'C/'}]",
        "secrets: [{env: SET, optional: C}]",
        "secrets: [{env: 'C='}]",
        "secrets: [{env: [C]}]",
        "secrets: [!C]",
        "secrets: [!C x]",
        "secrets: [*C]",
        "secrets: [{value: !!int C}]",
        "secrets: [{value: !!bool 'C'}]",
        "secrets: [{value: 'C]",
        "secrets: [{value: \"C\\q\"}]",
        "secrets: [%C]",
        "secrets: [@C]",
        "secrets: [C: [}]",
        "secrets: [{file: undecodable}]",
        "secrets: [{env: CANARY, id: a}, {env: CANARY, id: a}]",
        "secret: C",
        "secret: {C: x, C: y}",
        "signing_secret: C",
        "token: C",
        "token: {C: x, C: y}",
        "scheme: {name: civo, secret: C}",
        "upstream: http://user:C@a/",
        "upstream: http://a/?key=C#",
        "upstream: {url: 'http://C@a/'}",
        "upstream: C",
    ];
    for change in bad {
        let text = one(&[&change.replace("CANARY", "\0").replace('C', CANARY).replace('\0', "CANARY")]);
        let errors = made.parse(&text).expect_err(change);
        let shown = format!("{errors:?} {}", LoadError::Invalid { errors: errors.clone() });
        assert!(!shown.contains(CANARY), "{change}: {shown}");
    }
}
