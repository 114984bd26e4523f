//! The commands that ask a running gateway, each as a process of the binary.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use hooklatch::store::{self, RequestId, State, StoredDetails};
use serde_json::Value;

use crate::support::gateway::{Gateway, SECRET};
use crate::support::process::{BINARY, Process, Stream, poll};
use crate::support::queued::Queued;
use crate::support::rig::route;
use crate::support::sender::Delivery;

/// What a command came to.
#[derive(Debug)]
struct Done {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Done {
    #[track_caller]
    fn lines(&self) -> Vec<&str> {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout.lines().collect()
    }

    /// The first words of the lines, which are ids.
    #[track_caller]
    fn ids(&self) -> Vec<&str> {
        self.lines().into_iter().map(|line| line.split_whitespace().next().unwrap()).collect()
    }

    #[track_caller]
    fn fails(&self, status: i32, says: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.stderr.contains(says) && self.stdout.is_empty(), "{self:?}");
    }
}

fn command(admin: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).args(["--url", &format!("http://{admin}")]).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

fn run(admin: SocketAddr, arguments: &[&str]) -> Done {
    done(&mut command(admin, arguments))
}

fn done(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A gateway with three dead deliveries, whose ids come newest first.
fn three_dead(keys: &str) -> (Queued, Vec<String>) {
    let mut queued = Queued::start(&format!("retry: {{ give_up_on: [410] }}, {keys}"));
    for number in 0..3 {
        queued.accepts(&Delivery::circleci(format!("{{\"number\":{number}}}")));
        queued.fails("410 Gone");
    }
    queued.wait_for_state("dead", 3.0);
    let ids = run(queued.admin(), &["deliveries"]).ids().into_iter().map(str::to_owned).collect();
    (queued, ids)
}

#[test]
fn deliveries_prints_a_line_each_newest_first_and_pages_by_itself() {
    let (queued, ids) = three_dead("");
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    let admin = queued.admin();
    let first = run(admin, &["deliveries", "state:dead", "--limit", "1"]);
    let [line] = first.lines()[..] else { panic!("{first:?}") };
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..4], [&ids[0], "hook", "dead", words[3]], "{line}");
    assert!(words[5].starts_with("20") && words[5].ends_with('Z'), "{line}");
    assert_eq!(run(admin, &["deliveries", "state:delivered"]).stdout, "");
    assert_eq!(run(admin, &["deliveries", "-state:dead"]).stdout, "");
    assert_eq!(run(admin, &["deliveries", "-state:delivered", "--limit", "600"]).ids(), ids);

    let json = run(admin, &["deliveries", "--limit", "2", "--json"]);
    let json: Value = serde_json::from_str(json.lines()[0]).unwrap();
    assert_eq!((json["deliveries"].as_array().unwrap().len(), &json["next"]), (2, &ids[1].as_str().into()));
    assert_eq!(json["deliveries"][0].as_object().unwrap().len(), 17);
}

#[test]
fn a_wrong_search_is_wrong_usage_and_no_gateway_is_a_failure() {
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    run(gateway.admin, &["deliveries", "state:deed"]).fails(2, "did you mean \"dead\"");
    run(gateway.admin, &["tail", "foo:bar"]).fails(2, "there is no key \"foo\"");
    for id in ["0190c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b", "x", "../..", "a b"] {
        for arguments in [&["show", id][..], &["replay", id], &["erase", id], &["explain", "--id", id]] {
            run(gateway.admin, arguments).fails(1, "hooklatch: ");
        }
    }
    run(gateway.admin, &["explain", "hook", "--last"]).fails(1, "no refused delivery");
    run(gateway.admin, &["pause", "nobody"]).fails(1, "hooklatch: ");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    for arguments in [&["deliveries"][..], &["tail"], &["show", "x"], &["replay", "x"], &["pause", "a"]] {
        run(nobody, arguments).fails(1, "is the gateway running?");
    }
}

/// What the manual page of a command says of an exit status.
fn meaning(command: &str, status: i32) -> String {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(done(Command::new(BINARY).arg("man").arg(folder.path())).status, 0);
    let page = fs::read_to_string(folder.path().join(format!("hooklatch-{command}.1"))).unwrap();
    let (_, after) = page.split_once(".SH \"EXIT STATUS\"\n").unwrap();
    let (statuses, _) = after.split_once(".SH").unwrap();
    let (_, after) = statuses.split_once(&format!("\\fB{status}\\fR\n")).unwrap();
    after.lines().next().unwrap().to_owned()
}

#[test]
fn the_manual_pages_say_which_exit_status_a_failure_has() {
    let gateway = Gateway::start(&route("circleci", "upstream: \"http://127.0.0.1:1\""));
    // A gateway that has no such route answers so; a configuration that has none is wrong usage.
    for command in ["pause", "resume", "listen"] {
        let to = ["--to", "http://127.0.0.1:1"];
        let more = if command == "listen" { &to[..] } else { &[] };
        run(gateway.admin, &[&[command, "nobody"], more].concat()).fails(1, "hooklatch: ");
        assert!(meaning(command, 1).contains("it has no such route"), "{command}");
        assert!(!meaning(command, 2).contains("route"), "{command}");
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("secret", SECRET);
    let route =
        "{ name: hook, path: /hook, scheme: circleci, secrets: [{ file: secret }], upstream: \"http://127.0.0.1:1\" }";
    let address = "postgresql://nobody@127.0.0.1:1/none";
    let configuration = format!("store: {{ postgres: {{ url: {{ file: address }} }} }}\nroutes:\n  - {route}\n");
    write("address", address);
    write("gateway.yaml", &configuration);
    write("request", "no request");
    let in_folder = |arguments: &[&str]| {
        done(Command::new(BINARY).args(arguments).current_dir(&folder).stdin(Stdio::null()).env_remove("RUST_LOG"))
    };
    let none = "has no such route";
    for (arguments, status, words) in [
        (&["send", "nobody"][..], 2, none),
        (&["send", "hook", "--url", "http://127.0.0.1:1"], 1, "no gateway answered"),
        (&["explain", "nobody", "--request", "request"], 2, none),
        (&["explain", "hook", "--request", "request"], 2, "the request cannot be read"),
        (&["explain", "hook", "--request", "missing"], 2, "the request cannot be read"),
        (&["store", "check"], 1, "store.path names no folder"),
    ] {
        in_folder(arguments).fails(status, "");
        assert!(meaning(arguments[0], status).contains(words), "{arguments:?}");
    }
    assert!(!meaning("explain", 1).contains("read"));
    assert_eq!(meaning("send", 1), "the answer was not a 2xx, or no gateway answered");
    for command in ["tail", "listen"] {
        assert_eq!(meaning(command, 0), "ended by Ctrl\\-C (INT) or TERM");
    }
}

#[test]
fn the_configuration_names_the_address_and_the_token() {
    let gateway =
        Gateway::start_admin("token: { env: SECRET }", "", &route("circleci", "upstream: \"http://127.0.0.1:1\""));
    run(gateway.admin, &["deliveries"]).fails(1, "--token-file");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("token", &format!("{SECRET}\n"));
    write("wrong", "not-the-token");
    write("empty", "\n");
    write(
        "gateway.yaml",
        &format!("admin: {{ listen: \"{}\", token: {{ file: token }} }}\nroutes: 7\n", gateway.admin),
    );
    write("bad.yaml", "admin: { listen: 7 }\n");
    let in_folder = |arguments: &[&str]| {
        done(Command::new(BINARY).args(arguments).current_dir(&folder).stdin(Stdio::null()).env_remove("RUST_LOG"))
    };
    assert_eq!(in_folder(&["deliveries"]).lines(), [""; 0]);
    assert_eq!(in_folder(&["deliveries", "-c", "gateway.yaml", "--token-file", "token"]).status, 0);
    let url = format!("http://{}/", gateway.admin);
    assert_eq!(in_folder(&["deliveries", "--url", &url, "--token-file", "token"]).status, 0);
    let wrong = in_folder(&["deliveries", "--url", &url, "--token-file", "wrong"]);
    wrong.fails(1, "hooklatch: ");
    assert!(!wrong.stderr.contains("not-the-token"), "{wrong:?}");
    in_folder(&["deliveries", "--token-file", "empty"]).fails(2, "has no token");
    in_folder(&["deliveries", "--token-file", "missing"]).fails(1, "cannot read missing");
    in_folder(&["deliveries", "-c", "bad.yaml"]).fails(78, "admin.listen");
    in_folder(&["deliveries", "-c", "missing.yaml"]).fails(78, "there is no such file");
    in_folder(&["deliveries", "--url", "localhost"]).fails(2, "complete URL");
    in_folder(&["deliveries", "--url", &url, "-c", "gateway.yaml"]).fails(2, "cannot be used with");
}

#[test]
fn show_has_everything_and_each_form() {
    let mut queued = Queued::start("record: full, retry: { min_backoff: 1h }");
    let body = b"{\"a\":\"\x1b[2J\xe2\x80\xae\xff\"}";
    queued.accepts(&Delivery::circleci(body).header("X-Note", "a\u{9b}b"));
    queued.fails("500 Oops");
    queued.wait_for_state("retrying", 1.0);
    let admin = queued.admin();
    let listed = run(admin, &["deliveries"]);
    let id = listed.ids()[0];
    let shown = run(admin, &["show", id]);
    let text = shown.lines().join("\n");
    for part in
        [&format!("id            {id}")[..], "state         retrying", "X-Note: ", "\\u{1b}[2J\\u{202e}\\xff", "5xx"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text}");

    let json = run(admin, &["show", id, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["id"], id);
    assert!(!json.stdout.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{json:?}");

    let raw = |form: &str| command(admin, &["show", id, form]).output().unwrap().stdout;
    assert_eq!(raw("--body"), body);
    assert!(raw("--http").ends_with(body) && raw("--http").starts_with(b"POST /hook HTTP/1.1\r\n"));
    assert!(raw("--curl").starts_with(b"curl") || raw("--curl").windows(5).any(|part| part == b"curl "));
}

#[test]
fn what_senders_chose_cannot_act_on_a_terminal() {
    let mut queued = Queued::start("");
    queued.stop();
    let delivery = store::Delivery {
        id: uuid::Uuid::now_v7(),
        received_at: 1_700_000_000_000,
        route: "hook".into(),
        scheme: "circleci".into(),
        state: State::Forwarded,
        reason: None,
        status: Some(200),
        event_type: Some("\u{1b}]0;x\u{7}\u{202e}\n".into()),
        event_id: Some("\u{9b}".into()),
        request_id: RequestId::Unknown,
        peer: "192.0.2.1".into(),
        method: "POST".into(),
        path: "/\u{2066}".into(),
        request_bytes: 0,
        duration_ms: None,
        head: bytes::Bytes::new(),
        body: None,
        details: StoredDetails::default(),
    };
    let id = delivery.id.to_string();
    queued.record(delivery);
    queued.restart("");
    for arguments in [&["deliveries"][..], &["deliveries", "--json"], &["show", &id], &["show", &id, "--json"]] {
        let done = run(queued.admin(), arguments);
        assert_eq!(done.lines().len(), if arguments == ["show", &id] { done.lines().len() } else { 1 }, "{done:?}");
        let acts = |char: char| (char.is_control() && char != '\n') || matches!(char, '\u{202e}' | '\u{2066}');
        assert!(!done.stdout.contains(acts), "{done:?}");
        assert!(done.stdout.contains("202e"), "{done:?}");
    }
}

#[test]
fn tail_prints_what_comes_and_goes_on_after_a_restart_of_the_connection() {
    let queued = Queued::start("");
    queued.upstream.answer_always();
    let mut tail = Process::start("tail", &mut command(queued.admin(), &["tail", "state:delivered", "--json"]), "");
    // It has no way to say that it listens: a delivery that comes before is not printed.
    let line = {
        let mut sent = 0;
        let mut printed = None;
        poll("a delivery is printed", || {
            queued.accepts(&Delivery::circleci("{}"));
            sent += 1;
            queued.wait_for_delivered(f64::from(sent));
            printed = tail.try_line();
            printed.is_some()
        });
        printed.unwrap()
    };
    let delivery: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&delivery["state"], &delivery["route"]), (&"delivered".into(), &"hook".into()));
    tail.signal("TERM");
    assert_eq!(tail.wait().code(), Some(0));
    assert!(tail.printed(Stream::Stderr).is_empty());
}

#[test]
fn replay_of_one_sends_it_again_and_of_more_asks() {
    let (mut queued, ids) = three_dead("");
    let admin = queued.admin();
    let [newest, _, oldest] = &ids[..] else { panic!("{ids:?}") };
    run(admin, &["replay", newest, oldest]).fails(1, "Nothing was sent");
    run(admin, &["replay", "--query", "state:dead"]).fails(1, "Replay 3 deliveries?");
    assert_eq!(run(admin, &["replay", newest, "--dry-run"]).lines(), ["1 deliveries are named"]);
    assert_eq!(run(admin, &["replay", "--query", "state:dead", "--dry-run"]).lines(), ["3 deliveries match"]);
    assert_eq!(run(admin, &["replay", "--query", "state:delivered"]).lines(), ["0 deliveries match"]);
    queued.wait_for_state("dead", 3.0);

    assert_eq!(run(admin, &["replay", newest]).lines(), [format!("{newest}  attempt 2")]);
    let seen = queued.takes();
    assert_eq!((seen.one("hooklatch-delivery-id"), seen.one("hooklatch-replay")), (newest.clone(), "true".to_owned()));
    queued.wait_for_state("dead", 2.0);

    queued.answer_always();
    let many = run(admin, &["replay", "--query", "state:dead", "--per-second", "100", "--yes"]);
    assert_eq!(many.lines(), ["2 sent again, 0 could not be, 0 left"]);
    queued.wait_for_delivered(3.0);
}

#[test]
fn one_that_fails_does_not_hold_back_the_others() {
    let (mut queued, ids) = three_dead("");
    queued.answer_always();
    let done = run(queued.admin(), &["replay", &ids[0], "nothing", &ids[1], "--yes"]);
    assert_eq!((done.status, done.stdout.lines().count()), (1, 2), "{done:?}");
    assert!(done.stderr.contains("hooklatch: nothing: "), "{done:?}");
    queued.wait_for_delivered(2.0);
}

#[test]
fn discard_and_erase_do_what_they_say() {
    let (queued, ids) = three_dead("");
    let admin = queued.admin();
    run(admin, &["discard", "--query", "route:hook"]).fails(1, "Discard 3 deliveries?");
    run(admin, &["erase", &ids[0], &ids[1]]).fails(1, "Erase 2 deliveries?");
    assert_eq!(run(admin, &["discard", &ids[0]]).lines(), [format!("{}  discarded", ids[0])]);
    run(admin, &["discard", &ids[0]]).fails(1, "hooklatch: ");
    // The one that is discarded already is not among them.
    assert_eq!(run(admin, &["discard", "--query", "route:hook", "--yes"]).ids(), ids[1..]);
    assert_eq!(run(admin, &["discard", "--query", "route:hook"]).lines(), ["0 deliveries match"]);
    assert_eq!(run(admin, &["erase", &ids[1], &ids[2], "--yes"]).ids(), ids[1..]);
    assert_eq!(run(admin, &["deliveries", "state:erased"]).ids(), ids[1..]);
    run(admin, &["show", &ids[1], "--body"]).fails(1, "hooklatch: ");
}

#[test]
fn a_paused_route_waits_until_it_is_resumed() {
    let mut queued = Queued::start("");
    let admin = queued.admin();
    assert!(run(admin, &["pause", "hook"]).lines()[0].contains("hook is paused"));
    queued.accepts(&Delivery::circleci("{}"));
    assert_eq!(run(admin, &["deliveries", "state:pending"]).ids().len(), 1);
    assert!(run(admin, &["resume", "hook"]).lines()[0].contains("hook is resumed"));
    queued.takes();
    queued.wait_for_delivered(1.0);
}

#[test]
fn a_recorded_delivery_is_explained() {
    let queued = Queued::of("circleci", "record: full");
    let admin = queued.admin();
    let forged = Delivery::circleci_with("not-the-secret", "{\"a\":1}");
    assert_eq!(queued.send(&forged).status, 401);
    poll("the refusal is recorded", || !run(admin, &["deliveries", "is:refused"]).lines().is_empty());
    let listed = run(admin, &["deliveries"]);
    let id = listed.ids()[0];
    for arguments in [&["explain", "--id", id][..], &["explain", "hook", "--last"]] {
        let told = run(admin, arguments);
        assert_eq!(told.status, 1, "{told:?}");
        assert!(told.stdout.starts_with(&format!("delivery: {id}\nrefused: signature_mismatch (401)")), "{told:?}");
        assert!(told.stderr.is_empty(), "{told:?}");
    }
}
