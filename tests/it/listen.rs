//! `hooklatch listen`: a copy of each delivery that the gateway let in, for a handler on this machine.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::api::{Call, json};
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::postgres::Proxy;
use crate::support::process::{BINARY, Process, Stream, poll};
use crate::support::queued::Queued;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;
use crate::support::upstream::{Seen, Upstream};

/// The command, with a handler of its own.
struct Listener {
    process: Process,
    local: Upstream,
}

impl Listener {
    /// Starts it; returns once it listens. `path` goes on from the handler's address.
    fn start(admin: SocketAddr, path: &str, more: &[&str]) -> Self {
        let local = Upstream::bind();
        let to = format!("http://{}{path}", local.address);
        let mut process = Process::start("listen", &mut command(admin, &to, more), "");
        process.wait_for("that it listens", |_, line| line.contains("listening to hook").then_some(()));
        Self { process, local }
    }

    /// The next copy, which gets this status.
    fn takes(&self, status: &str) -> Seen {
        let mut peer = self.local.accept();
        let seen = peer.request();
        peer.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        seen
    }

    /// The next line without its time.
    fn line(&mut self) -> String {
        let line = self.process.wait_for("a line", |stream, line| (stream == Stream::Stdout).then(|| line.to_owned()));
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() == 8 && time.matches(':').count() == 2, "{line}");
        rest.to_owned()
    }

    /// The next line up to the time that the answer took.
    fn outcome(&mut self) -> String {
        let line = self.line();
        let (outcome, took) = line.rsplit_once(" in ").unwrap_or_else(|| panic!("{line}"));
        assert!(took.strip_suffix(" ms").is_some_and(|took| took.parse::<u64>().is_ok()), "{line}");
        outcome.to_owned()
    }
}

fn command(admin: SocketAddr, to: &str, more: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["listen", "hook", "--to", to, "--url", &format!("http://{admin}")]).args(more);
    command.env_remove("RUST_LOG");
    command
}

fn fails(admin: SocketAddr, route: &str, status: i32, says: &str) {
    let url = format!("http://{admin}");
    let output =
        Command::new(BINARY).args(["listen", route, "--to", "http://127.0.0.1:1/", "--url", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(status) && said.contains(says) && output.stdout.is_empty(), "{said}");
}

#[test]
fn a_copy_is_what_the_upstream_gets_with_the_query_behind_that_of_the_url() {
    let mut rig = Rig::with("record: full");
    let mut listener = Listener::start(rig.gateway.admin, "/local?key=1", &[]);
    let delivery = Delivery::circleci(b"{\"a\":\"\0\xff\r\n\"}")
        .target("/hook?a=%20&b")
        .header("circleci-event-type", "workflow-completed")
        .header("X-Twice", "one")
        .header("X-Twice", "two")
        .header("Connection", "x-hop")
        .header("X-Hop", "1")
        .header("Hooklatch-Verified", "spoofed")
        .header("Authorization", "Basic c2VjcmV0");
    let sent = rig.forwards(&delivery);
    let copy = listener.takes("200 OK");
    assert_eq!((copy.line(), &copy.body), ("POST /local?key=1&a=%20&b HTTP/1.1".to_owned(), &sent.body));
    assert_eq!(copy.one("host"), listener.local.address.to_string());
    // The lines of the copy are those of the request to the upstream, in their order; but credentials are never recorded.
    let own = |seen: &Seen| {
        let lines = seen.headers().into_iter().map(|line| String::from_utf8_lossy(line).to_lowercase());
        let is_own =
            |line: &String| !["host:", "content-length:", "authorization:"].iter().any(|name| line.starts_with(name));
        lines.filter(is_own).collect::<Vec<_>>()
    };
    assert_eq!(own(&copy), own(&sent));
    assert!(own(&copy).iter().any(|line| line.starts_with("circleci-signature: v1=")), "{:?}", own(&copy));
    assert_eq!((copy.all("authorization").len(), copy.one("content-length")), (0, sent.body.len().to_string()));
    assert_eq!(listener.outcome(), format!("hook workflow-completed {} B → 200", sent.body.len()));
}

#[test]
fn refused_deliveries_are_not_sent_and_an_answer_is_shown_as_it_is() {
    let mut rig = Rig::with("record: full");
    let mut listener = Listener::start(rig.gateway.admin, "", &[]);
    assert_eq!(rig.send(&Delivery::circleci_with("not-the-secret", "{}").bytes()).status, 401);
    rig.forwards(&Delivery::circleci("{\"n\":1}"));
    let copy = listener.takes("503 Busy");
    assert_eq!((copy.line().as_str(), copy.body.as_slice()), ("POST / HTTP/1.1", &b"{\"n\":1}"[..]));
    assert_eq!(listener.outcome(), "hook 7 B → 503");
    listener.process.signal("TERM");
    assert_eq!(listener.process.wait().code(), Some(0));
    assert_eq!(listener.process.printed(Stream::Stdout).len(), 1);
}

#[test]
fn a_prefix_route_sends_the_rest_of_the_path_along() {
    let mut rig = Rig::of_routes("circleci", |address| {
        let upstream = format!("upstream: \"http://{address}/up\", record: full");
        route("circleci", &upstream).replace("path: /hook", "path: \"/hook/*\"")
    });
    let listener = Listener::start(rig.gateway.admin, "/local/", &[]);
    assert_eq!(rig.forwards(&Delivery::circleci("{}").target("/hook/a//b?x")).line(), "POST /up/a//b?x HTTP/1.1");
    assert_eq!(listener.takes("200 OK").line(), "POST /local/a//b?x HTTP/1.1");
}

#[test]
fn a_queued_delivery_is_sent_though_its_handler_has_taken_it_already() {
    for record in ["none", "metadata", "full"] {
        let queued = Queued::start(&format!("record: {record}"));
        queued.upstream.answer_always();
        let mut listener = Listener::start(queued.admin(), "/local", &[]);
        for number in 0..5 {
            let delivery = Delivery::circleci(format!("{{\"n\":{number}}}")).header("circleci-event-type", "job");
            queued.accepts(&delivery.header("Authorization", "Basic c2VjcmV0").header("X-Kept", "1"));
        }
        queued.wait_for_delivered(5.0);
        for number in 0..5 {
            let copy = listener.takes("200 OK");
            assert_eq!((copy.one("x-kept").as_str(), copy.all("authorization").len()), ("1", 0));
            assert_eq!(String::from_utf8(copy.body).unwrap(), format!("{{\"n\":{number}}}"));
            assert_eq!(listener.outcome(), "hook job 7 B → 200");
        }
        if record == "none" {
            let rows = json(queued.admin(), "/api/v1/deliveries");
            assert_eq!(rows["deliveries"].as_array().unwrap().len(), 0, "{rows}");
            continue;
        }
        let path = "/api/v1/deliveries?limit=1";
        let id = json(queued.admin(), path)["deliveries"][0]["id"].as_str().unwrap().to_owned();
        let body = Call::get(&format!("/api/v1/deliveries/{id}/body")).send(queued.admin());
        assert_eq!(body.status, if record == "full" { 200 } else { 404 }, "it is not recorded");
        let copy = format!("/api/v1/deliveries/{id}/http?upstream=true");
        assert_eq!(Call::get(&copy).send(queued.admin()).status, 200);
        assert_eq!(
            Call::post(&format!("/api/v1/deliveries/{id}/erase"), &serde_json::json!({})).send(queued.admin()).status,
            200
        );
        assert_eq!(Call::get(&copy).send(queued.admin()).status, 410);
    }
}

/// A way to the gateway on which the first so many requests for copies get no answer; each is counted.
fn way(gateway: SocketAddr, failures: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, asked) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicUsize::new(0)));
    let (address, counter) = (listener.local_addr().unwrap(), asked.clone());
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let counter = counter.clone();
            thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if (&near).read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                if String::from_utf8_lossy(&head).contains("/http?")
                    && counter.fetch_add(1, Ordering::SeqCst) < failures
                {
                    return;
                }
                let far = TcpStream::connect(gateway).unwrap();
                (&far).write_all(&head).unwrap();
                // Both ways end with errors when the listener or the gateway ends.
                let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut from, &mut to));
                let _ended = io::copy(&mut &far, &mut &near);
            });
        }
    });
    (address, asked)
}

#[test]
fn a_copy_that_cannot_be_fetched_is_asked_for_again() {
    for record in ["none", "full"] {
        let queued = Queued::start(&format!("record: {record}"));
        queued.upstream.answer_always();
        let (way, asked) = way(queued.admin(), 2);
        let mut listener = Listener::start(way, "", &[]);
        queued.accepts(&Delivery::circleci("{\"n\":1}"));
        assert_eq!(listener.takes("200 OK").body, b"{\"n\":1}");
        assert_eq!(listener.outcome(), "hook 7 B → 200");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        listener.process.signal("INT");
        assert_eq!(listener.process.wait().code(), Some(0));
        assert!(!listener.process.has_printed("not sent"), "nothing was lost");
    }
}

#[test]
fn a_connection_that_is_lost_for_a_moment_loses_nothing_though_nothing_is_recorded() {
    let queued = Queued::start("record: none");
    queued.upstream.answer_always();
    let line = Proxy::to(queued.admin());
    let mut listener = Listener::start(line.address, "", &[]);
    let deliver = |number: u32| queued.accepts(&Delivery::circleci(format!("{{\"n\":{number}}}")));
    deliver(1);
    assert_eq!(listener.takes("200 OK").body, b"{\"n\":1}");
    assert_eq!(listener.outcome(), "hook 7 B → 200");
    line.cut();
    listener.process.wait_for("that it connects again", |_, line| line.contains("connecting again").then_some(()));
    deliver(2);
    deliver(3);
    queued.wait_for_delivered(3.0);
    line.restore();
    for number in [2, 3] {
        assert_eq!(listener.takes("200 OK").body, format!("{{\"n\":{number}}}").as_bytes());
    }
    listener.process.wait_for("that some may be missing", |_, line| line.contains("may be missing").then_some(()));
}

#[test]
fn without_a_handler_the_line_says_so_the_next_one_is_sent_and_both_are_counted_at_the_end() {
    let mut rig = Rig::with("record: full");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    let mut process = Process::start("listen", &mut command(rig.gateway.admin, &to, &[]), "");
    process.wait_for("that it listens", |_, line| line.contains("listening").then_some(()));
    for _ in 0..2 {
        rig.forwards(&Delivery::circleci("{}"));
        process.wait_for("the error", |_, line| line.contains("Connection refused").then_some(()));
    }
    process.signal("INT");
    process.wait_for("the number", |_, line| line.contains("deliveries that were not sent: 2").then_some(()));
}

#[test]
fn a_delivery_that_waits_is_sent() {
    let queued = Queued::start("paused: true");
    let listener = Listener::start(queued.admin(), "", &[]);
    queued.accepts(&Delivery::circleci("{}"));
    assert_eq!(listener.takes("200 OK").body, b"{}");
}

#[test]
fn what_came_before_is_sent_first_in_its_order() {
    let mut rig = Rig::with("record: full");
    for number in 0..3 {
        rig.forwards(&Delivery::circleci(format!("{{\"n\":{number}}}")));
    }
    poll("recorded", || json(rig.gateway.admin, "/api/v1/deliveries")["deliveries"].as_array().unwrap().len() == 3);
    let listener = Listener::start(rig.gateway.admin, "", &["--since", "10m"]);
    for number in 0..3 {
        assert_eq!(listener.takes("200 OK").body, format!("{{\"n\":{number}}}").as_bytes());
    }
    rig.forwards(&Delivery::circleci("{\"n\":3}"));
    assert_eq!(listener.takes("200 OK").body, b"{\"n\":3}");
    let output = command(rig.gateway.admin, "http://127.0.0.1:1/", &["--since", "soon"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_body_that_is_recorded_in_part_is_sent_whole_unless_it_came_before() {
    for keys in ["record: full, record_body: 4B", "delivery: queue, record: full, record_body: 4B"] {
        let queued = Queued::of("circleci", keys);
        queued.upstream.answer_always();
        queued.accepts(&Delivery::circleci("{\"n\":1}"));
        let settled = "/api/v1/deliveries?state=forwarded&state=delivered";
        poll("recorded", || json(queued.admin(), settled)["deliveries"].as_array().unwrap().len() == 1);
        let mut listener = Listener::start(queued.admin(), "", &["--since", "10m"]);
        assert_eq!(listener.line(), "hook 7 B → not sent: its body is recorded in part (record_body)");
        queued.accepts(&Delivery::circleci("{\"n\":2}"));
        assert_eq!(listener.takes("200 OK").body, b"{\"n\":2}");
        assert_eq!(listener.outcome(), "hook 7 B → 200");
    }
}

#[test]
fn a_route_that_keeps_no_bodies_and_one_that_is_not_there_are_refused() {
    for record in ["", ", record: none"] {
        let gateway = Gateway::start(&route("circleci", &format!("upstream: \"http://127.0.0.1:1\"{record}")));
        fails(gateway.admin, "hook", 1, "record: full");
        fails(gateway.admin, "hok", 1, "did you mean \"hook\"?");
    }
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\", record: full"));
    let to = |to: &str| command(gateway.admin, to, &[]).output().unwrap().status.code();
    assert_eq!([to("localhost:3000"), to("ftp://a/")], [Some(2); 2]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(free, "hook", 1, "is the gateway running?");
}

#[test]
fn it_connects_again_by_itself_and_misses_nothing_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::bind();
    upstream.answer_always();
    let free = |address: &str| TcpListener::bind(address).unwrap().local_addr().unwrap();
    let admin = free("127.0.0.1:0");
    let file = folder.path().join("gateway.yaml");
    let routes = route("circleci", &format!("upstream: \"http://{}\", record: full", upstream.address));
    let store = format!("store: {{ path: {:?}, min_free: 0MiB }}\n", folder.path().join("store"));
    fs::write(
        &file,
        format!(
            "server: {{ listen: 127.0.0.1:0, threads: 1 }}\nadmin: {{ listen: \"{admin}\" }}\n{store}routes:\n{routes}"
        ),
    )
    .unwrap();
    let start = || {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--log-format", "json", "-c"]).arg(&file);
        command.env_remove("RUST_LOG").env("SECRET", crate::support::gateway::SECRET);
        crate::support::process::GatewayProcess::start_command(&mut command)
    };
    let deliver = |server, body: &str| assert_eq!(http::send(server, &Delivery::circleci(body).bytes()).status, 200);
    let mut gateway = start();
    let mut listener = Listener::start(admin, "", &[]);
    deliver(gateway.server, "{\"n\":1}");
    assert_eq!(listener.takes("200 OK").body, b"{\"n\":1}");
    assert_eq!(listener.outcome(), "hook 7 B → 200");
    assert!(gateway.process.terminate().success());
    listener.process.wait_for("that it connects again", |_, line| line.contains("connecting again").then_some(()));
    let gateway = start();
    deliver(gateway.server, "{\"n\":2}");
    assert_eq!(listener.takes("200 OK").body, b"{\"n\":2}", "the one before is not sent again");
    assert_eq!(listener.outcome(), "hook 7 B → 200");
    listener.process.signal("INT");
    assert_eq!(listener.process.wait().code(), Some(0));
    let said = listener.process.printed(Stream::Stderr);
    assert_eq!(said.iter().filter(|line| line.contains("connecting again")).count(), 1, "{said:?}");
}
