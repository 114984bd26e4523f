//! The options of a scheme, and schemes that the file itself defines.

use super::*;

const ACME: &str = "schemes:
  in-house:
    signature: { at: { header: x-acme }, encoding: hex }
    algorithm: { hmac: sha256 }
    secret: utf8
    parameters: [{ name: app_key, description: the key of the app }]
    forms: [{ name: body, content: [{ parameter: app_key }, body] }]
";

fn with_own(own: &str, scheme: &str) -> String {
    one(&[&format!("scheme: {scheme}")]) + own
}

fn errors(own: &str, scheme: &str) -> Vec<String> {
    Made::new().errors(&with_own(own, scheme))
}

#[test]
fn a_scheme_of_ones_own_is_used_like_a_built_in_one() {
    let text = with_own(ACME, "{ name: in-house, app_key: a1 }");
    let route = Made::new().parse(&text).expect("valid").routes.remove(0);
    assert_eq!((route.scheme.name.as_str(), route.scheme.title.as_str()), ("in-house", "in-house"));
    let headers = route.verifier.sign_body(0, b"{}", Duration::ZERO).expect("signs");
    assert_eq!(headers[0].0, "x-acme");
}

#[test]
fn a_built_in_scheme_can_be_pasted_under_another_name() {
    for name in crate::schemes::names() {
        let source = crate::schemes::source(name).expect("is there");
        let body: String =
            source.lines().filter(|line| !line.starts_with("name:")).map(|line| format!("    {line}\n")).collect();
        let text = format!("{}schemes:\n  my-own:\n{body}", one(&[]));
        Made::new().parse(&text).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
    }
}

#[test]
fn a_parameter_is_asked_for_and_no_other_is_taken() {
    assert_eq!(errors(ACME, "in-house"), ["routes[0].scheme.app_key: is missing: in-house needs the key of the app"]);
    assert_eq!(
        errors(ACME, "{ name: in-house, app_kex: a1 }"),
        [
            "routes[0].scheme.app_kex: unknown key; did you mean \"app_key\"?",
            "routes[0].scheme.app_key: is missing: in-house needs the key of the app",
        ]
    );
    assert_eq!(
        errors("", "{ name: civo, public_url: 'https://a' }"),
        ["routes[0].scheme.public_url: the scheme civo has no option public_url"]
    );
}

#[test]
fn every_fault_of_an_own_scheme_is_told_at_its_path() {
    for (from, to, error) in [
        ("encoding: hex", "encoding: hax", "schemes.in-house.signature.encoding: unknown variant `hax`"),
        ("secret: utf8", "secrets: utf8", "schemes.in-house.secrets: unknown field `secrets`"),
        ("secret: utf8", "success: x", "schemes.in-house.secret: is missing"),
        (
            "{ parameter: app_key }, body",
            "{ parameter: app_key }",
            "schemes.in-house.forms[0].content: nothing ties the body",
        ),
        (
            "{ parameter: app_key }, body",
            "{ parametre: app_key }",
            "schemes.in-house.forms[0].content[0]: unknown variant",
        ),
        (
            "{ header: x-acme }",
            "{ header: 'x in-house' }",
            "schemes.in-house.signature.at.header: invalid HTTP header name",
        ),
        ("secret: utf8", "name: other\n    secret: utf8", "schemes.in-house.name: differs from the key"),
        ("  in-house:", "  civo:", "schemes.civo: is the name of a built-in scheme"),
        ("  in-house:", "  In-house:", "schemes.In-house.name: lower case letters"),
        ("secret: utf8", "secret: utf8\n    secret: hex", "schemes.in-house.secret: the key is repeated"),
    ] {
        let own = ACME.replace(from, to);
        let errors = errors(&own, "civo");
        assert!(errors.iter().any(|found| found.starts_with(error)), "{to}: {errors:#?}");
    }
    assert_eq!(errors("schemes: 1\n", "civo"), ["schemes: expected a map, found a number"]);
    assert_eq!(errors("schemes: { a: 1.5 }\n", "civo"), ["schemes.a: expected a scheme, found a number"]);
}

#[test]
fn a_scheme_that_cannot_be_verified_is_refused_with_the_reason() {
    let errors = errors("", "docker-hub");
    assert!(
        errors[0].starts_with("routes[0].scheme: docker-hub cannot be verified: Docker Hub signs nothing"),
        "{errors:?}"
    );
}

#[test]
fn the_public_url_is_asked_for_where_it_is_signed() {
    let error =
        "routes[0].scheme.public_url: is missing: square signs the URL that it sends to, so the route must state it";
    assert_eq!(errors("", "square"), [error]);
    let error = "routes[0].scheme.public_url: must begin with https://";
    assert_eq!(errors("", "{ name: square, public_url: hooks.example.com }"), [error]);
    only_route(&["scheme: { name: square, public_url: 'https://hooks.example.com/square' }"]);
}

#[test]
fn a_public_url_with_a_password_is_a_secret() {
    let why = "routes[0].scheme.public_url: has a user name or password, so it is a secret: give the whole URL by env or file";
    assert_eq!(errors("", "{ name: twilio, public_url: 'https://user:hunter2@a.example/t' }"), [why]);
    let made = Made::new().env("URL", "https://user:hunter2@a.example/t").env("BAD", "user:hunter2@a.example");
    let config = made.parse(&one(&["scheme: { name: twilio, public_url: { env: URL } }"])).expect("valid");
    assert!(!format!("{config:?}").contains("hunter2"));
    let errors = made.errors(&one(&["scheme: { name: twilio, public_url: { env: BAD } }"]));
    assert_eq!(errors, ["routes[0].scheme.public_url: must begin with https://"]);
    let errors = made.errors(&one(&["scheme: { name: civo, public_url: { env: URL } }"]));
    assert_eq!(errors, ["routes[0].scheme.public_url: the scheme civo has no option public_url"]);
}

#[test]
fn a_tolerance_is_taken_on_any_route() {
    for scheme in ["slack", "circleci"] {
        let route = only_route(&[&format!("scheme: {scheme}"), "tolerance: 7s"]);
        assert_eq!(route.scheme_options.tolerance, Some(Duration::from_secs(7)));
    }
    let mut errors = Made::new().errors(&one(&["tolerance: 0s"]));
    assert_eq!(errors.remove(0), "routes[0].tolerance: must not be zero");
}
