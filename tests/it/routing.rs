//! Which of several routes a request takes.

use std::net::SocketAddr;

use crate::support::rig::Rig;
use crate::support::sender::Delivery;

/// Routes by name, path and other keys, all with the same upstream.
fn rig(routes: &'static [(&'static str, &'static str, &'static str)]) -> Rig {
    let yaml = |upstream: SocketAddr| {
        let item = |(name, path, keys): &(&str, &str, &str)| {
            format!(
                "  - {{ name: {name}, path: \"{path}\", scheme: circleci, secrets: [{{ env: SECRET }}], \
                 upstream: \"http://{upstream}\", {keys} }}\n"
            )
        };
        routes.iter().map(item).collect()
    };
    Rig::of_routes("circleci", yaml)
}

/// The route that a request takes.
fn taken(rig: &mut Rig, host: &str, target: &str) -> String {
    rig.forwards(&Delivery::circleci("{}").host(host).target(target)).one("hooklatch-route")
}

#[test]
fn an_exact_path_beats_a_prefix_and_a_longer_prefix_a_shorter() {
    let mut rig = rig(&[
        ("all", "/*", ""),
        ("short", "/a/*", ""),
        ("long", "/a/b/*", ""),
        ("exact", "/a/b/c", ""),
        ("slash", "/a/b/c/", ""),
    ]);
    for (target, route) in [
        ("/a/b/c", "exact"),
        ("/a/b/c?x", "exact"),
        ("/a/b/c/", "slash"),
        ("/a/b/c/d", "long"),
        ("/a/b/", "long"),
        ("/a/b", "short"),
        ("/a/bc", "short"),
        ("/a/", "short"),
        ("/a", "all"),
        ("/", "all"),
        ("/A/b/c", "all"),
        ("/a/%62/c", "short"),
        ("/x/../a/b/c", "all"),
    ] {
        assert_eq!(taken(&mut rig, "any.example", target), route, "{target}");
    }
}

#[test]
fn a_route_with_the_requests_host_beats_one_without() {
    let mut rig = rig(&[
        ("any", "/hook", ""),
        ("one", "/hook", "host: one.example"),
        ("two", "/hook", "host: two.example"),
        ("six", "/hook", "host: \"[2001:db8::1]\""),
    ]);
    for (host, route) in [
        ("one.example", "one"),
        ("ONE.example:8080", "one"),
        ("one.example.", "one"),
        ("two.example", "two"),
        ("three.example", "any"),
        ("one.example.evil", "any"),
        ("[2001:DB8::1]:443", "six"),
        ("", "any"),
    ] {
        assert_eq!(taken(&mut rig, host, "/hook"), route, "{host}");
    }
}

#[test]
fn the_path_decides_before_the_host() {
    let mut rig = rig(&[
        ("exact", "/a/b", ""),
        ("prefix", "/a/*", "host: one.example"),
        ("other", "/c", "host: one.example"),
        ("rest", "/*", ""),
    ]);
    assert_eq!(taken(&mut rig, "one.example", "/a/b"), "exact");
    assert_eq!(taken(&mut rig, "one.example", "/a/c"), "prefix");
    // An exact path for another host is none for this one.
    assert_eq!(taken(&mut rig, "two.example", "/a/c"), "rest");
    assert_eq!(taken(&mut rig, "two.example", "/c"), "rest");
}

#[test]
fn the_host_of_a_target_in_absolute_form_decides() {
    let mut rig = rig(&[("one", "/hook", "host: one.example"), ("any", "/hook", "")]);
    assert_eq!(taken(&mut rig, "two.example", "http://one.example/hook"), "one");
    assert_eq!(taken(&mut rig, "one.example", "http://two.example/hook"), "any");
}

#[test]
fn a_sender_without_a_host_takes_the_route_for_any() {
    let mut rig = rig(&[("one", "/hook", "host: one.example"), ("any", "/hook", "")]);
    let delivery = Delivery::circleci("{}").version("HTTP/1.0").without("host");
    assert_eq!(rig.forwards(&delivery).one("hooklatch-route"), "any");
}

#[test]
fn each_route_has_its_own_secret_and_method() {
    let rig = rig(&[("one", "/one", "methods: [PUT]"), ("two", "/two", "")]);
    let request = Delivery::circleci("{}").target("/one").bytes();
    assert_eq!(rig.send(&request).status, 405);
    let request = Delivery::circleci_with("other", "{}").target("/two").bytes();
    assert_eq!(rig.send(&request).status, 401);
}
