//! One error each, with its exact path; and all at once.

use super::*;

/// Exactly one error for a change to a good route.
pub fn refused(change: &str, error: &str) {
    assert_eq!(Made::new().errors(&one(&[change])), [error], "{change}");
}

/// Exactly one error for other sections before a good route.
fn refused_before(sections: &str, error: &str) {
    let text = with_routes(&[route(&[])]).replace(SERVER_AND_ADMIN, sections);
    assert_eq!(Made::new().errors(&text), [error], "{sections}");
}

fn refused_pair(first: &[&str], second: &[&str], error: &str) {
    assert_eq!(Made::new().errors(&with_routes(&[route(first), route(second)])), [error]);
}

#[test]
fn an_empty_file() {
    for text in ["", "\n", "# a comment\n", "~"] {
        assert_eq!(Made::new().errors(text), ["the file is empty: at least one route is needed"]);
    }
}

#[test]
fn a_file_that_is_no_map() {
    assert_eq!(Made::new().errors("hello"), ["expected a map with routes, found text"]);
    assert_eq!(Made::new().errors("[1]"), ["expected a map with routes, found a list"]);
}

#[test]
fn a_syntax_error_has_line_and_column() {
    let errors = Made::new().errors("routes:\n  - name: a\n path: b\n");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("line 3 column 2: not valid YAML: "), "{errors:?}");
}

#[test]
fn no_routes() {
    assert_eq!(Made::new().errors(SERVER_AND_ADMIN), ["routes: is missing"]);
    assert_eq!(Made::new().errors("routes: []"), ["routes: needs at least one entry"]);
    assert_eq!(Made::new().errors("routes:"), ["routes: has no value: expected a list"]);
    assert_eq!(
        Made::new().errors("routes: {a: b}"),
        ["routes: expected a list, found a map: begin each route with a hyphen and its name, as in `- name: civo`"]
    );
    assert_eq!(Made::new().errors("routes: [~]"), ["routes[0]: has no value: expected a map"]);
}

#[test]
fn missing_keys() {
    let missing = ["name", "path", "scheme", "secrets", "upstream"].map(|key| format!("routes[0].{key}: is missing"));
    assert_eq!(Made::new().errors("routes: [{}]"), missing);
    refused("upstream: {resend: true}", "routes[0].upstream.url: is missing");
    refused("scheme: {match_payload: true}", "routes[0].scheme.name: is missing");
}

#[test]
fn unknown_keys() {
    refused_before("servr: {}\n", "servr: unknown key; did you mean \"server\"?");
    refused_before("log: {}\n", "log: unknown key; known here: server, admin, telemetry, store, schemes, routes");
    refused_before(
        "server: {listen: 127.0.0.1:0, backlog: 5}\n",
        "server.backlog: unknown key; known here: name, listen, tls, trusted_proxies, proxy_protocol, threads, \
         max_connections, header_timeout, idle_timeout, max_header_bytes, buffered_bytes, shutdown_grace, access_log",
    );
    refused_before("admin: {lisen: x, listen: 127.0.0.1:0}\n", "admin.lisen: unknown key; did you mean \"listen\"?");
    refused("max-body: 1MiB", "routes[0].max-body: unknown key; did you mean \"max_body\"?");
    refused(
        "burst: 5",
        "routes[0].burst: unknown key; known here: name, path, host, scheme, secrets, upstream, delivery, methods, \
         enforce, reject_status, allowed_ips, max_body, body_timeout, max_in_flight, rate_limit, timeout, response, \
         retry, max_concurrent, max_rate, circuit, paused, dedupe, sign, record, record_body, tolerance",
    );
    refused(
        "upstream: {url: 'http://a', unix: {}}",
        "routes[0].upstream.unix: unknown key; known here: url, urls, connect_timeout, resend, host_header, tls",
    );
    refused(
        "scheme: {name: icr, public_url: x}",
        "routes[0].scheme.public_url: the scheme icr has no option public_url",
    );
}

#[test]
fn repeated_keys() {
    refused_before("admin: {listen: 127.0.0.1:0}\nadmin: {}\n", "admin: the key is repeated");
    refused("enforce: true\n    enforce: true", "routes[0].enforce: the key is repeated");
    refused("secrets: [{env: SET, env: SET}]", "routes[0].secrets[0].env: the key is repeated");
}

#[test]
fn keys_that_are_not_text_and_tags() {
    refused("1: a", "routes[0]: a key must be text, found a number");
    refused("name: !x r", "routes[0].name: YAML tags are not supported; if this is text, put it in quotes");
}

#[test]
fn wrong_types() {
    refused("name: 5", "routes[0].name: expected text (put it in quotes), found a number");
    refused("path: true", "routes[0].path: expected text (put it in quotes), found true or false");
    refused("host: []", "routes[0].host: expected text, found a list");
    refused("scheme: []", "routes[0].scheme: expected a scheme's name, or a map of its name and options, found a list");
    refused("scheme:", "routes[0].scheme: has no value: expected a scheme's name, or a map of its name and options");
    refused("secrets: {env: SET}", "routes[0].secrets: expected a list, found a map");
    refused("secrets: [[]]", "routes[0].secrets[0]: expected a map, found a list");
    refused("upstream: 5", "routes[0].upstream: expected a URL, or a map with url or urls, found a number");
    refused("methods: POST", "routes[0].methods: expected a list, found text");
    refused("enforce: 'no'", "routes[0].enforce: expected true or false, found text");
    refused("enforce:", "routes[0].enforce: has no value: expected true or false");
    refused("reject_status: '401'", "routes[0].reject_status: expected a whole number, found text");
    refused_before("server: 5\n", "server: expected a map, found a number");
    refused_before("server: {listen: {}}\n", "server.listen: expected text, found a map");
}

#[test]
fn names() {
    let error = "routes[0].name: must be lower-case letters, digits, _ and -, and begin with a letter or digit";
    for name in ["name: ''", "name: A", "name: -a", "name: _a", "name: a.b", "name: a b", "name: ä"] {
        refused(name, error);
    }
    refused(
        "name: none",
        "routes[0].name: must not be \"none\": metrics use this name for requests that match no route",
    );
    refused_pair(&[], &["path: /s"], "routes[1].name: the name \"r\" is already used by routes[0].name");
}

#[test]
fn paths_and_hosts() {
    refused("path: r", "routes[0].path: must begin with /");
    refused(
        "path: /r?x",
        "routes[0].path: must have no query or fragment: only the path is matched, and the query is always forwarded",
    );
    refused("path: /r*", "routes[0].path: can have a * only at its end, after a slash: /hooks/*");
    refused("host: https://a", "routes[0].host: must be the name alone, without http:// or https://");
    refused("host: a:80", "routes[0].host: must have no port: a route's host matches on every port");
    refused_pair(&[], &["name: s"], "routes[1].path: routes[0] has the same path and host");
    refused_pair(
        &["host: a.example"],
        &["name: s", "host: A.example"],
        "routes[1].path: routes[0] has the same path and host",
    );
}

#[test]
fn schemes_and_their_options() {
    refused("scheme: nobody", "routes[0].scheme: unknown scheme: `hooklatch schemes` lists all schemes");
    refused(
        "scheme: {name: cvio}",
        "routes[0].scheme.name: unknown scheme: `hooklatch schemes` lists all schemes; did you mean \"civo\"?",
    );
    refused(
        "scheme: circlci",
        "routes[0].scheme: unknown scheme: `hooklatch schemes` lists all schemes; did you mean \"circleci\"?",
    );
    let both = Made::new().errors(&one(&["scheme: {name: civo, signed_content: auto, match_payload: true}"]));
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].starts_with("routes[0].scheme.signed_content: "), "{both:?}");
    assert!(both[1].starts_with("routes[0].scheme.match_payload: "), "{both:?}");
    let value = Made::new().errors(&one(&["scheme: {name: icr, signed_content: all}"]));
    assert_eq!(value.len(), 1, "{value:?}");
    assert!(value[0].starts_with("routes[0].scheme.signed_content: "), "{value:?}");
    refused(
        "scheme: {name: icr, match_payload: 'off'}",
        "routes[0].scheme.match_payload: expected true or false, found text",
    );
}

#[test]
fn methods() {
    refused("methods: []", "routes[0].methods: needs at least one entry");
    refused("methods: [POST, post]", "routes[0].methods[1]: methods are in upper case: write POST");
    refused("methods: [POST, PUT, POST]", "routes[0].methods[2]: POST is repeated");
    for method in ["methods: [CONNECT]", "methods: ['']", "methods: ['P T']", "methods: [BREW]"] {
        refused(method, "routes[0].methods[0]: must be one of: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");
    }
}

#[test]
fn statuses() {
    for status in ["399", "600", "200", "-1", "4.5", "99999999999999999999"] {
        refused(&format!("reject_status: {status}"), "routes[0].reject_status: must be a whole number from 400 to 599");
    }
    for status in [400, 599] {
        assert_eq!(only_route(&[&format!("reject_status: {status}")]).reject_status.as_u16(), status);
    }
}

#[test]
fn numbers_of_connections_and_requests() {
    for number in ["0", "1000001", "-1", "1.5"] {
        let wanted = "must be a whole number from 1 to 1000000";
        refused_before(
            &format!("server: {{max_connections: {number}}}\n"),
            &format!("server.max_connections: {wanted}"),
        );
        refused(&format!("max_in_flight: {number}"), &format!("routes[0].max_in_flight: {wanted}"));
        refused(
            &format!("rate_limit: {{per_second: {number}}}"),
            &format!("routes[0].rate_limit.per_second: {wanted}"),
        );
        refused(
            &format!("rate_limit: {{per_second: 1, burst: {number}}}"),
            &format!("routes[0].rate_limit.burst: {wanted}"),
        );
    }
    refused("rate_limit: {burst: 1}", "routes[0].rate_limit.per_second: is missing");
    refused("rate_limit: 50", "routes[0].rate_limit: expected a map, found a number");
    refused(
        "rate_limit: {per_second: 1, per_minute: 1}",
        "routes[0].rate_limit.per_minute: unknown key; known here: per_second, burst",
    );
}

#[test]
fn durations_and_sizes() {
    refused(
        "timeout: 10",
        "routes[0].timeout: a duration needs a unit: write 10s for seconds or 10ms for milliseconds",
    );
    refused("timeout: 0ms", "routes[0].timeout: must not be zero");
    refused("body_timeout: 0s", "routes[0].body_timeout: must not be zero");
    refused(
        "body_timeout: soon",
        "routes[0].body_timeout: not a duration: write a whole number with a unit, such as 500ms, 10s, 5m, 24h or 30d",
    );
    refused(
        "max_body: 1048576",
        "routes[0].max_body: a size needs a unit: write 1048576B for bytes, or use KiB, MiB or GiB",
    );
    refused("max_body: 0B", "routes[0].max_body: must not be zero");
    refused(
        "max_body: 1mb",
        "routes[0].max_body: not a size: write a whole number with a unit (B, KB, KiB, MB, MiB, GB, GiB), such as \
         512KiB or 1MiB",
    );
    for key in ["header_timeout", "idle_timeout"] {
        refused_before(&format!("server: {{{key}: 0s}}\n"), &format!("server.{key}: must not be zero"));
    }
    refused_before("server: {buffered_bytes: 0B}\n", "server.buffered_bytes: must not be zero");
    for size in ["1023B", "1048577B", "5GiB"] {
        let wanted = "server.max_header_bytes: must be from 1KiB to 1MiB";
        refused_before(&format!("server: {{max_header_bytes: {size}}}\n"), wanted);
    }
    refused_before("server: {shutdown_grace: 9000h}\n", "server.shutdown_grace: longer than 365 days (8760h)");
}

#[test]
fn listeners() {
    let names = "not an IP address with a port: write for example 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080; names \
                 are not looked up";
    let no_address = "needs an IP address as well: write 0.0.0.0:8080 for all of IPv4, or [::]:8080";
    refused_before("server: {listen: 'localhost:8080'}\n", &format!("server.listen: {names}"));
    refused_before("server: {listen: ':8080'}\n", &format!("server.listen: {no_address}"));
    refused_before("server: {listen: 8080}\n", &format!("server.listen: {no_address}"));
    refused_before("server: {listen: []}\n", "server.listen: needs at least one entry");
    refused_before("server: {listen: [127.0.0.1:1, 127.0.0.1:1]}\n", "server.listen[1]: 127.0.0.1:1 is repeated");
    refused_before("server: {listen: [127.0.0.1:1, x]}\n", &format!("server.listen[1]: {names}"));
    refused_before("admin: {listen: 9797}\n", &format!("admin.listen: {}", no_address.replace("8080", "9797")));
    refused_before(
        "server: {listen: 127.0.0.1:1}\nadmin: {listen: 127.0.0.1:1}\n",
        "admin.listen: 127.0.0.1:1 is taken by server.listen",
    );
    refused_before("server: {listen: 0.0.0.0:9797}\n", "admin.listen: 127.0.0.1:9797 is taken by server.listen");
    let text = with_routes(&[route(&[])]).replace("listen: 127.0.0.1:0}", "listen: [127.0.0.1:0, 127.0.0.1:0]}");
    assert!(Made::new().parse(&text.replacen("admin: {listen: [127.0.0.1:0, 127.0.0.1:0]}", "", 1)).is_ok());
}

#[test]
fn threads_and_access_log() {
    for threads in ["0", "1025", "-1", "1.5"] {
        refused_before(
            &format!("server: {{threads: {threads}}}\n"),
            "server.threads: must be a whole number from 1 to 1024",
        );
    }
    refused_before("server: {access_log: some}\n", "server.access_log: must be one of: all, refused, none");
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = "
server: {listen: localhost:1, threads: 0, tls: {}}
admin: {listen: ':2'}
routes:
  - {name: A, path: x, host: 'a:1', scheme: nope, secrets: [abc], upstream: 'ftp://a#b', methods: [post]}
  - name: b
    path: /b
    scheme: {name: civo, match_payload: true}
    secrets: [{env: SET, id: x}, {env: UNSET, id: x}, {file: gone}]
    upstream: {url: http://a, connect_timeout: 5}
    timeout: 0s
    timeout: 1s
    max_body: 5
  - {name: b, path: /b, scheme: icr, secrets: [], upstream: 'http://a'}
extra: 1
";
    let errors = Made::new().parse(text).expect_err("must be refused");
    let mut paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "admin.listen",
        "extra",
        "routes[0].host",
        "routes[0].methods[0]",
        "routes[0].name",
        "routes[0].path",
        "routes[0].scheme",
        "routes[0].secrets[0]",
        "routes[0].upstream",
        "routes[0].upstream",
        "routes[1].max_body",
        "routes[1].scheme.match_payload",
        "routes[1].secrets[1].env",
        "routes[1].secrets[1].id",
        "routes[1].secrets[2].file",
        "routes[1].timeout",
        "routes[1].timeout",
        "routes[1].upstream.connect_timeout",
        "routes[2].name",
        "routes[2].path",
        "routes[2].secrets",
        "server.listen",
        "server.threads",
        "server.tls.certificate",
        "server.tls.private_key",
    ];
    assert_eq!(paths, expected);
    let shown = LoadError::Invalid { errors }.to_string();
    assert_eq!(shown.lines().count(), expected.len(), "one line each");
    assert!(shown.contains("routes[1].secrets[1].env: environment variable UNSET is not set"), "{shown}");
}

#[test]
fn the_admin_listener() {
    let needed = |listen: &str| {
        format!(
            "admin.token: is needed, because admin.listen ({listen}) is not a loopback address: set it, or set page: false \
             to have only metrics, health and /config there"
        )
    };
    refused_before("admin: {listen: 0.0.0.0:1}\n", &needed("0.0.0.0:1"));
    refused_before("admin: {listen: '[::]:1', page: true}\n", &needed("[::]:1"));
    refused_before(
        "admin: {token: secret}\n",
        "admin.token: a secret must not stand in this file: use env: NAME (an environment variable) or file: PATH (a file \
         that holds it)",
    );
    refused_before("admin: {hosts: [a, A]}\n", "admin.hosts[1]: a is repeated");
    refused_before("admin: {hosts: ['http://a']}\n", "admin.hosts[0]: must have a port from 1 to 65535, or none");
    refused_before("admin: {hosts: ['a:0']}\n", "admin.hosts[0]: must have a port from 1 to 65535, or none");
}

#[test]
fn the_admin_token() {
    let text = |token: &str| {
        let admin = format!("admin: {{listen: 0.0.0.0:1, token: {token}}}\n");
        with_routes(&[route(&[])]).replace(SERVER_AND_ADMIN, &admin)
    };
    let made =
        Made::new().env("SPACED", "a b").env("LONG", "0123456789abcdef").file("/etc/hl/token", b"0123456789abcdef\n");
    for source in ["{env: LONG}", "{file: token}"] {
        let config = made.parse(&text(source)).expect("valid");
        assert_eq!(config.admin.token.expect("a token").expose(), b"0123456789abcdef");
        assert!(config.warnings.iter().all(|warning| warning.path != "admin.token"), "{:?}", config.warnings);
    }
    let short = made.parse(&text("{env: SET}")).expect("valid");
    let warning = "the token has fewer than 16 characters: make one by openssl rand -hex 32";
    assert!(short.warnings.iter().any(|at| at.path == "admin.token" && at.message == warning), "{:?}", short.warnings);
    assert!(!format!("{short:?}").contains("s3cret"));
    let spaced = "admin.token: the token must be of visible ASCII characters, without spaces";
    assert_eq!(made.errors(&text("{env: SPACED}")), [spaced]);
    let absent = made.errors(&text("{env: ABSENT}"));
    assert!(absent[0].starts_with("admin.token.env: environment variable ABSENT is not set"), "{absent:?}");
}

#[test]
fn the_admin_listener_without_a_page_or_on_loopback_needs_no_token() {
    for admin in ["{listen: 0.0.0.0:1, page: false}", "{listen: '[::1]:1'}", "{listen: 127.3.2.1:1}", "{hosts: []}"] {
        let text = with_routes(&[route(&[])]).replace(SERVER_AND_ADMIN, &format!("admin: {admin}\n"));
        assert!(Made::new().parse(&text).expect(admin).admin.token.is_none());
    }
}

#[test]
fn an_error_has_its_line_its_route_and_the_value_that_is_wrong() {
    let told = |text: &str| {
        let errors = Made::new().parse(text).expect_err("must be refused");
        errors.iter().map(ConfigError::with_place).collect::<Vec<_>>()
    };
    let good = "routes:\n  - name: civo\n    path: /civo\n    scheme: civo\n    secrets: [{ env: SET }]\n    upstream: http://a\n";
    for (from, to, error) in [
        (
            "scheme: civo",
            "scheme: cvio",
            "routes[0].scheme: unknown scheme: `hooklatch schemes` lists all schemes; did you mean \"civo\"? (line 4, route \
             civo, found \"cvio\")",
        ),
        (
            "upstream: http://a",
            "upstream: http://a\n    timeout: 10 seconds",
            "routes[0].timeout: not a duration: write a whole number with a unit, such as 500ms, 10s, 5m, 24h or 30d (line \
             7, route civo, found \"10 seconds\")",
        ),
        (
            "upstream: http://a",
            "upsteam: http://a",
            "routes[0].upsteam: unknown key; did you mean \"upstream\"? (line 6, route civo)",
        ),
        (
            "path: /civo",
            "path: https://a/civo",
            "routes[0].path: must begin with /, without the host: that goes under host (line 3, route civo, found \
             \"https://a/civo\")",
        ),
        ("path: /civo", "path: /civo\n    <<: *x", "line 4 column 9: not valid YAML: unknown anchor"),
        (
            "path: /civo",
            "path: /civo\n    allowed_ips: [github.com]",
            "routes[0].allowed_ips[0]: not a network or an IP address: write for example 10.0.0.0/8, 192.0.2.1 or \
             2001:db8::/32; names are not resolved (line 4, route civo, found \"github.com\")",
        ),
        (
            "env: SET",
            "env: sk_live_1234",
            "routes[0].secrets[0].env: environment variable of this name (not shown, it could be a secret) is not set: ",
        ),
        (
            "env: SET",
            "env: circleci_secret",
            "routes[0].secrets[0].env: environment variable circleci_secret is not set: ",
        ),
        (
            "upstream: http://a",
            "upstream: [http://a]",
            "routes[0].upstream: expected a URL, or a map with url or urls, found a list",
        ),
    ] {
        let errors = told(&good.replace(from, to));
        let error = errors.iter().find(|one| one.starts_with(error));
        assert!(error.is_some(), "{errors:?}");
    }
    let merged = told(&good.replace("  - name", "  - <<: {scheme: civo}\n    name"));
    assert!(merged.iter().any(|error| error.contains("merge keys are not read")), "{merged:?}");
    // A value at a key of secrets, or with what a password has, is not quoted.
    for (from, to) in [
        ("{ env: SET }", "{ env: SET, optional: hunter2 }"),
        ("{ env: SET }", "{ env: hunter2VeryLongAndSecret }"),
        ("http://a", "http://user:hunter2@a"),
        ("path: /civo", "path: /civo\n    timeout: whsec_hunter2"),
    ] {
        let errors = told(&good.replace(from, to));
        assert!(errors.iter().all(|error| !error.contains("hunter2")), "{errors:?}");
    }
}
