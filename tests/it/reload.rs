//! Reloads: their triggers, their failures, the state that they keep, their log lines.

use std::fs;
use std::os::unix::fs::symlink;

use http::Request;
use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::http2::Client;
use crate::support::page::Page;
use crate::support::process::{Stream, poll};
use crate::support::sender::sha256;
use crate::support::served::{Served, delivery, replace, route};

const ONE: &[(&str, &str)] = &[("one", "secret-one\n"), ("two", "secret-two\n")];

fn hook(secrets: &str) -> String {
    route("hook", secrets, "")
}

fn with_one() -> Served {
    Served::start(&hook("[{ file: one, id: one }]"), ONE)
}

#[test]
fn a_signal_reloads_even_if_nothing_has_changed() {
    let mut served = with_one();
    assert_eq!(served.metric(r#"hooklatch_config_reloads_total{result="success"}"#), Some(0.0));
    served.reload_unchanged();
    assert_eq!(served.metric(r#"hooklatch_config_reloads_total{result="success"}"#), Some(1.0));
    assert_eq!(served.metric("hooklatch_config_last_reload_successful"), Some(1.0));
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
}

#[test]
fn a_changed_file_is_in_force_by_itself() {
    let mut served = with_one();
    let yaml = fs::read_to_string(served.path("gateway.yaml")).unwrap();
    served.write("gateway.yaml", &yaml.replace("[{ file: one, id: one }]", "[{ file: two, id: two }]"));
    served.reloaded();
    assert_eq!(served.deliver("/hook", "secret-two"), 200);
    assert_eq!(served.deliver("/hook", "secret-one"), 401);
}

#[test]
fn a_changed_secret_is_in_force_by_itself_also_by_rename() {
    let mut served = with_one();
    served.write("one", "written-over");
    let line = served.reloaded();
    assert_eq!(line["secrets"], "hook/one replaced", "{line}");
    assert_eq!(served.deliver("/hook", "written-over"), 200);
    replace(&served.path("one"), "renamed");
    served.reloaded();
    assert_eq!(served.deliver("/hook", "renamed"), 200);
    assert_eq!(served.deliver("/hook", "written-over"), 401);
}

#[test]
fn a_pipe_in_the_place_of_a_file_fails_the_reload_and_blocks_nothing() {
    let mut served = with_one();
    let secret = served.path("one");
    fs::remove_file(&secret).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &secret, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let errors = served.reload_failed();
    assert!(errors[0].ends_with("it is not a regular file"), "{errors:?}");
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    fs::remove_file(&secret).unwrap();
    served.write("one", "a-new-secret");
    served.reloaded();
    assert_eq!(served.deliver("/hook", "a-new-secret"), 200);
}

#[test]
fn an_optional_secret_is_in_force_when_it_appears() {
    let mut served = Served::start(&hook("[{ file: one }, { file: late, optional: true, id: late }]"), ONE);
    assert_eq!(served.deliver("/hook", "secret-late"), 401);
    served.write("late", "secret-late");
    let line = served.reloaded();
    assert_eq!(line["secrets"], "hook/late added", "{line}");
    assert_eq!(served.deliver("/hook", "secret-late"), 200);
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
}

#[test]
fn the_symlink_swap_of_a_kubernetes_mount_is_in_force_by_itself() {
    let mut served = with_one();
    let mount = served.path("mount");
    for (version, secret) in [("..2026_01", "first"), ("..2026_02", "second")] {
        fs::create_dir_all(mount.join(version)).unwrap();
        fs::write(mount.join(version).join("key"), secret).unwrap();
    }
    symlink("..2026_01", mount.join("..data")).unwrap();
    symlink("..data/key", mount.join("key")).unwrap();
    served.configure(&hook("[{ file: mount/key }]"));
    served.reload();
    assert_eq!(served.deliver("/hook", "first"), 200);

    symlink("..2026_02", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    served.reloaded();
    assert_eq!(served.deliver("/hook", "second"), 200);
    assert_eq!(served.deliver("/hook", "first"), 401);
}

#[test]
fn what_fails_to_load_is_told_in_full_and_leaves_everything_as_it_was() {
    let mut served = with_one();
    let before = served.admin("/config").body;
    let started = served.metric("hooklatch_config_last_reload_success_timestamp_seconds");
    served.configure("  - {");
    assert_eq!(served.reload_failed().len(), 1, "no YAML");

    let routes =
        hook("[{ file: two }, { file: missing }]") + &route("other", "[{ file: two }]", "timeout: 10, unknown: 1");
    served.configure(&routes);
    let errors = served.reload_failed();
    for at in ["routes[0].secrets[1].file: ", "routes[1].timeout: ", "routes[1].unknown: "] {
        assert!(errors.iter().any(|error| error.starts_with(at)), "{at}: {errors:#?}");
    }
    assert_eq!(errors.len(), 3, "{errors:#?}");

    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert_eq!(served.deliver("/hook", "secret-two"), 401);
    assert_eq!(served.deliver("/other", "secret-two"), 404);
    assert_eq!(served.admin("/config").body, before);
    assert_eq!(served.admin("/readyz").status, 200);
    assert_eq!(served.metric(r#"hooklatch_config_reloads_total{result="failure"}"#), Some(2.0));
    assert_eq!(served.metric(r#"hooklatch_config_reloads_total{result="success"}"#), Some(0.0));
    assert_eq!(served.metric("hooklatch_config_last_reload_successful"), Some(0.0));
    Page::of(served.admin("/ui/")).has("The last reload has failed: the former configuration runs.");
    assert_eq!(served.metric("hooklatch_config_last_reload_success_timestamp_seconds"), started);

    served.write("missing", "secret-three");
    served.reload_failed();
    served.configure(&hook("[{ file: two }, { file: missing }]"));
    served.reloaded();
    assert_eq!(served.deliver("/hook", "secret-three"), 200);
    assert_eq!(served.metric("hooklatch_config_last_reload_successful"), Some(1.0));
    assert!(served.metric("hooklatch_config_last_reload_success_timestamp_seconds") > started);
}

#[test]
fn a_configuration_that_is_gone_is_a_failed_reload() {
    let mut served = with_one();
    fs::remove_file(served.path("gateway.yaml")).unwrap();
    let errors = served.reload_failed();
    assert!(errors[0].contains("cannot read"), "{errors:?}");
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
}

#[test]
fn keys_that_only_a_restart_can_change_are_refused_by_name_and_nothing_else_of_the_file_is_taken() {
    let mut served = with_one();
    let routes = hook("[{ file: two }]");
    for (server, key) in
        [("listen: 127.0.0.2:0, threads: 2", "server.listen"), ("listen: 127.0.0.1:0, threads: 3", "server.threads")]
    {
        served.configure_with(server, &routes);
        assert_eq!(served.reload_failed(), [format!("{key}: cannot change without a restart")]);
    }
    let yaml = fs::read_to_string(served.path("gateway.yaml")).unwrap();
    let yaml = yaml
        .replace("threads: 3", "threads: 2")
        .replace("admin: { listen: 127.0.0.1:0 }", "admin: { listen: 127.0.0.2:0 }");
    served.write("gateway.yaml", &yaml);
    assert_eq!(served.reload_failed(), ["admin.listen: cannot change without a restart"]);
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert_eq!(served.deliver("/hook", "secret-two"), 401);
}

#[test]
fn a_secret_is_rotated_without_a_delivery_refused() {
    let mut served = with_one();
    let last_match = |served: &Served, id: &str| {
        served.metric(&format!(r#"hooklatch_secret_last_match_timestamp_seconds{{route="hook",secret="{id}"}}"#))
    };
    assert_eq!(served.deliver("/hook", "secret-one"), 200);

    served.configure(&hook("[{ file: two, id: two }, { file: one, id: one }]"));
    let line = served.reload();
    assert_eq!(line["secrets"], "hook/two added", "{line}");
    assert_eq!(last_match(&served, "two"), Some(0.0));
    assert!(last_match(&served, "one") > Some(0.0), "it is known when the old secret matched last");
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert_eq!(served.deliver("/hook", "secret-two"), 200);
    assert_eq!(served.upstream.entries().last().unwrap().header("hooklatch-secret-id"), Some("two"));

    served.configure(&hook("[{ file: two, id: two }]"));
    let line = served.reload();
    assert_eq!(line["secrets"], "hook/one removed", "{line}");
    assert_eq!(served.deliver("/hook", "secret-one"), 401);
    assert_eq!(served.deliver("/hook", "secret-two"), 200);
    assert_eq!(last_match(&served, "one"), None);
    assert!(last_match(&served, "two") > Some(0.0));
}

#[test]
fn a_secret_that_is_replaced_under_its_id_has_not_matched_yet() {
    let mut served = with_one();
    let series = r#"hooklatch_secret_last_match_timestamp_seconds{route="hook",secret="one"}"#;
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert!(served.metric(series) > Some(0.0));
    served.write("one", "another");
    served.reload();
    assert_eq!(served.metric(series), Some(0.0));
}

#[test]
fn a_connection_that_is_open_sees_the_new_routes() {
    let mut served = with_one();
    let mut open = served.connect();
    let mut deliver = |path: &str, secret: &str| {
        open.write(&delivery(path, secret, b"{}"));
        open.receive().status
    };
    assert_eq!(deliver("/hook", "secret-one"), 200);
    served.configure(&route("other", "[{ file: two }]", ""));
    served.reload();
    assert_eq!(deliver("/hook", "secret-one"), 404);
    assert_eq!(deliver("/other", "secret-two"), 200);
}

#[test]
fn a_delivery_under_way_ends_as_it_began() {
    let mut served = with_one();
    served.upstream.hold();
    let mut open = served.connect();
    open.write(&delivery("/hook", "secret-one", b"{}"));
    poll("in flight", || !served.upstream.entries().is_empty());
    served.configure(&route("other", "[{ file: two }]", ""));
    served.reload();
    served.upstream.release();
    assert_eq!(open.receive().status, 200);
    open.write(&delivery("/other", "secret-two", b"{}"));
    assert_eq!(open.receive().status, 200, "the connection was not dropped");
}

#[test]
fn connections_to_an_upstream_that_stays_are_kept() {
    let mut served = Served::start_with("listen: 127.0.0.1:0, threads: 1", &hook("[{ file: one }]"), ONE);
    let used = |served: &Served| served.upstream.entries().last().unwrap().connection;
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert_eq!(used(&served), 0);
    let other = route("other", "[{ file: two }]", "");
    served.configure_with("listen: 127.0.0.1:0, threads: 1", &other);
    served.reload();
    assert_eq!(served.deliver("/other", "secret-two"), 200);
    assert_eq!(used(&served), 0, "another route to the same upstream");
    let other = other.replace("upstream: UPSTREAM", "upstream: { url: UPSTREAM, connect_timeout: 2s }");
    served.configure_with("listen: 127.0.0.1:0, threads: 1", &other);
    served.reload();
    assert_eq!(served.deliver("/other", "secret-two"), 200);
    assert_eq!(used(&served), 1, "another way of connecting");
}

#[test]
fn series_stay_with_their_routes() {
    let mut served = Served::start(&(hook("[{ file: one }]") + &route("goes", "[{ file: one }]", "")), ONE);
    let forwarded = |served: &Served, route: &str| {
        let labels = format!(r#"{{outcome="forwarded",route="{route}",scheme="circleci"}}"#);
        served.metric(&format!("hooklatch_requests_total{labels}"))
    };
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert_eq!(served.deliver("/goes", "secret-one"), 200);
    served.configure(&(hook("[{ file: one }]") + &route("comes", "[{ file: one }]", "")));
    served.reload();
    assert_eq!(forwarded(&served, "hook"), Some(1.0));
    assert_eq!(forwarded(&served, "goes"), None);
    assert_eq!(forwarded(&served, "comes"), Some(0.0));
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    assert_eq!(forwarded(&served, "hook"), Some(2.0));
    let text = String::from_utf8(served.admin("/metrics").body).unwrap();
    assert!(!text.contains("goes"), "{text}");
}

#[test]
fn the_log_and_the_summary_tell_the_difference() {
    let mut served = Served::start(&(hook("[{ file: one }]") + &route("goes", "[{ file: one }]", "")), ONE);
    let routes =
        route("hook", "[{ file: one }]", "max_body: 2MiB, timeout: 2s") + &route("comes", "[{ file: two }]", "");
    served.configure_with("listen: 127.0.0.1:0, threads: 2, access_log: none", &routes);
    let line = served.reload();
    assert_eq!(line["routes_added"], "comes", "{line}");
    assert_eq!(line["routes_removed"], "goes", "{line}");
    assert_eq!(line["routes_changed"], "hook (max_body_bytes, timeout_seconds)", "{line}");
    assert_eq!(line["keys"], "server.access_log", "{line}");
    assert_eq!(line["secrets"], Value::Null, "{line}");
    assert_eq!(line["unchanged"], Value::Null, "{line}");
    let summary = served.admin("/config").json();
    let names: Vec<_> = summary["routes"].as_array().unwrap().iter().map(|route| route["name"].clone()).collect();
    assert_eq!(names, ["hook", "comes"]);
    assert_eq!(summary["routes"][0]["max_body_bytes"], 2 << 20);
    assert_eq!(summary["server"]["access_log"], "none");
}

#[test]
fn a_key_that_only_the_verification_reads_is_a_difference_too() {
    let mut served = with_one();
    served.configure(&route("hook", "[{ file: one, id: one }]", "tolerance: 7m"));
    let line = served.reload();
    assert_eq!(line["routes_changed"], "hook (tolerance_seconds)", "{line}");
    assert_eq!(line["unchanged"], Value::Null, "{line}");
    assert_eq!(served.admin("/config").json()["routes"][0]["tolerance_seconds"], 420.0);
}

#[test]
fn a_reload_while_draining_changes_nothing_and_says_so() {
    let mut served = with_one();
    served.upstream.hold();
    let mut open = served.connect();
    open.write(&delivery("/hook", "secret-one", b"{}"));
    poll("in flight", || !served.upstream.entries().is_empty());
    served.gateway.process.signal("TERM");
    poll("not ready", || served.admin("/readyz").status == 503);
    served.configure(&route("other", "[{ file: two }]", ""));
    served.gateway.process.signal("HUP");
    assert_eq!(served.reload_failed(), [": the gateway is shutting down"]);
    served.upstream.release();
    assert_eq!(open.receive().status, 200);
    drop(open);
    assert_eq!(served.gateway.process.wait().code(), Some(0));
    let log = served.gateway.process.printed(Stream::Stderr).join("\n");
    assert!(!log.contains("configuration reloaded"), "{log}");
}

#[test]
fn a_certificate_that_is_renewed_is_in_force_by_itself_and_an_open_connection_goes_on() {
    let renew = |served: &Served| {
        let authority = Authority::new();
        let identity = authority.issue("gateway.example");
        // Both in one file, so that the gateway cannot check the files between the two changes.
        replace(&served.path("tls.pem"), &(identity.certificate + &identity.key));
        authority.client(&["h2"])
    };
    let delivery = || {
        let signature = format!("v1={}", sha256("secret-one", b"{}"));
        let request = Request::post("https://gateway.example/hook").header("circleci-signature", signature);
        request.body(b"{}".to_vec()).unwrap()
    };
    let tls = "listen: 127.0.0.1:0, threads: 2, tls: { certificate: tls.pem, private_key: tls.pem }";
    let fingerprint = |served: &Served| served.admin("/config").json()["server"]["tls"]["certificate"].clone();

    let mut served = with_one();
    let first = renew(&served);
    served.configure_with(tls, &hook("[{ file: one, id: one }]"));
    let line = served.reload();
    assert_eq!(line["keys"], "server.tls", "from HTTP in the clear: {line}");
    let open = Client::connect(served.gateway.server, first);
    assert_eq!(open.start(delivery()).wait().status, 200);
    let before = fingerprint(&served);

    let second = renew(&served);
    let line = served.reloaded();
    assert_eq!(line["keys"], "server.tls", "{line}");
    assert_ne!(fingerprint(&served), before);
    assert_eq!(open.start(delivery()).wait().status, 200);
    assert_eq!(Client::connect(served.gateway.server, second).start(delivery()).wait().status, 200);

    // A key that is not the certificate's: the file is being written in two steps.
    let (ours, other) = (Authority::new().issue("gateway.example"), Authority::new().issue("gateway.example"));
    replace(&served.path("tls.pem"), &(ours.certificate + &other.key));
    let errors = served.reload_failed();
    assert!(errors[0].starts_with("server.tls.private_key: "), "{errors:?}");
    assert_eq!(open.start(delivery()).wait().status, 200);
}

#[test]
fn the_ends_of_certificates_and_the_bounds_are_shown_as_the_running_configuration_has_them() {
    let authority = Authority::new();
    let write = |served: &Served, name: &str, year| {
        let identity = authority.issue_until("gateway.example", year);
        replace(&served.path(name), &(identity.certificate + &identity.key));
    };
    let expiry = |served: &Served, side: &str, route: &str| {
        served
            .metric(&format!("hooklatch_tls_certificate_expiry_timestamp_seconds{{route=\"{route}\",side=\"{side}\"}}"))
    };
    let tls = "listen: 127.0.0.1:0, threads: 2, tls: { certificate: tls.pem, private_key: tls.pem }, \
               max_connections: 7, buffered_bytes: 3MiB";
    let upstream = "upstream: { url: \"https://127.0.0.1:1\", \
                    tls: { ca: up.pem, client_certificate: up.pem, client_key: up.pem } }";
    let client = hook("[{ file: one, id: one }]").replace("upstream: UPSTREAM", upstream);
    let (y2030, y2040, y2060) = (Some(1_893_456_000.0), Some(2_208_988_800.0), Some(2_840_140_800.0));

    let mut served = with_one();
    assert_eq!((expiry(&served, "server", "none"), expiry(&served, "upstream", "hook")), (None, None));
    write(&served, "tls.pem", 2030);
    write(&served, "up.pem", 2060);
    served.configure_with(tls, &client);
    served.reload();
    assert_eq!((expiry(&served, "server", "none"), expiry(&served, "upstream", "hook")), (y2030, y2060));
    assert_eq!(served.metric("hooklatch_max_connections"), Some(7.0));
    assert_eq!(served.metric("hooklatch_max_buffered_bytes"), Some(f64::from(3 << 20)));

    write(&served, "tls.pem", 2040);
    served.reload();
    assert_eq!(expiry(&served, "server", "none"), y2040);
    served.configure_with(&tls.replace("max_connections: 7", "max_connections: 0"), &client);
    served.gateway.process.signal("HUP");
    served.reload_failed();
    assert_eq!((expiry(&served, "server", "none"), expiry(&served, "upstream", "hook")), (y2040, y2060));
    assert_eq!(served.metric("hooklatch_max_connections"), Some(7.0));

    served.configure(&hook("[{ file: one, id: one }]"));
    served.reload();
    assert_eq!((expiry(&served, "server", "none"), expiry(&served, "upstream", "hook")), (None, None));
    assert_eq!(served.metric("hooklatch_max_connections"), Some(10_000.0));
}

#[test]
fn bounds_are_in_force_for_what_comes_later_and_count_what_is_on_its_way() {
    let with = |keys: &str| route("hook", "[{ file: one, id: one }]", keys);
    let mut served = Served::start(&with("max_in_flight: 5, body_timeout: 5m"), ONE);
    // Two that are still sending their bodies, since before the reload.
    let whole = delivery("/hook", "secret-one", b"{}");
    let (early, late) = whole.split_at(whole.len() - 1);
    let mut senders = [served.connect(), served.connect()];
    for sender in &mut senders {
        sender.write(early);
    }
    poll("both are in flight", || served.metric("hooklatch_in_flight_requests") == Some(2.0));
    served.configure_with(
        "listen: 127.0.0.1:0, threads: 2, max_connections: 3, max_header_bytes: 1KiB, buffered_bytes: 1MiB",
        &with("max_in_flight: 2, body_timeout: 5m, rate_limit: { per_second: 1000 }"),
    );
    served.reload();
    assert_eq!(served.deliver("/hook", "secret-one"), 503, "two are in flight");
    let connections = |served: &Served, number| {
        poll("the connections", || served.metric("hooklatch_connections") == Some(number));
    };
    connections(&served, 2.0);
    let third = served.connect();
    connections(&served, 3.0);
    assert_eq!(served.connect().receive().status, 503, "one too many");
    drop(third);
    connections(&served, 2.0);
    for sender in &mut senders {
        sender.write(late);
        assert_eq!(sender.receive().status, 200);
    }
    poll("none is in flight", || served.metric("hooklatch_in_flight_requests") == Some(0.0));
    assert_eq!(served.deliver("/hook", "secret-one"), 200);
    drop(senders);
    connections(&served, 0.0);
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1024));
    assert_eq!(crate::support::http::send(served.gateway.server, long.as_bytes()).status, 431);
}
