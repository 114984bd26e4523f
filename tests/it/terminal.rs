//! What `serve` and `demo` say to people, and where `ui` leads.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::docs::markdown::Document;
use crate::docs::pages::ON_TERMINAL;
use crate::support::gateway::{Gateway, SECRET};
use crate::support::http;
use crate::support::process::{BINARY, Process, Stream, poll};
use crate::support::rig::route;
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

/// A gateway on a terminal, its upstream, and where it listens.
struct OnTerminal {
    process: Process,
    upstream: Upstream,
    server: SocketAddr,
    folder: tempfile::TempDir,
}

/// An address of loopback with a free port.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl OnTerminal {
    /// With the route `hook` of CircleCI's scheme, and further flow-style keys of it.
    fn start(arguments: &[&str], stderr: bool, keys: &str) -> Self {
        Self::start_with(arguments, stderr, |upstream| {
            route("circleci", &format!("upstream: \"http://{upstream}/in\"{keys}"))
        })
    }

    /// With routes of the test's own, for the upstream at this address.
    fn start_with(arguments: &[&str], stderr: bool, routes: impl FnOnce(SocketAddr) -> String) -> Self {
        let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
        upstream.answer_always();
        let store = format!("store: {{ path: {:?}, min_free: 0MiB }}\n", folder.path().join("store"));
        let (server, admin) = (free(), free());
        let addresses = format!("server: {{ listen: \"{server}\", threads: 1 }}\nadmin: {{ listen: \"{admin}\" }}\n");
        let routes = routes(upstream.address);
        fs::write(folder.path().join("gateway.yaml"), format!("{addresses}{store}routes:\n{routes}")).unwrap();
        let mut command = Command::new(BINARY);
        command.arg("serve").args(arguments).current_dir(&folder).env("SECRET", SECRET).env_remove("RUST_LOG");
        let mut process = Process::start_on_terminal("serve", &mut command, stderr);
        process.wait_for("that it listens", |_, line| {
            (line.contains("admin") || line.contains("the page: ")).then_some(())
        });
        Self { process, upstream, server, folder }
    }

    fn send(&self, delivery: &Delivery) -> u16 {
        http::send(self.server, &delivery.bytes()).status
    }

    /// The next line that has these words, without the end that a terminal adds.
    fn line(&mut self, words: &str) -> String {
        let is_it = |_, line: &str| line.contains(words).then(|| line.trim_end().to_owned());
        self.process.wait_for(words, is_it)
    }
}

#[test]
fn on_a_terminal_serve_says_what_it_serves_and_what_becomes_of_each_delivery() {
    let mut on = OnTerminal::start(&[], true, "");
    let said: Vec<String> = on.process.printed(Stream::Stdout).iter().map(|line| line.trim_end().to_owned()).collect();
    let upstream = format!("http://{}/in", on.upstream.address);
    assert!(said[0].starts_with("hooklatch ") && said[0].ends_with(&format!(" on http://{}", on.server)), "{said:?}");
    assert_eq!(said[1], format!("  hook: /hook → {upstream}  circleci, 1 secret, proxy"));
    assert!(said[2].starts_with("  the page: http://127.0.0.1:") && said[2].ends_with("/ui/"), "{said:?}");

    let long = "e".repeat(300);
    let event = format!("\u{1b}[2J{long}").replace('\u{1b}', "\u{9b}");
    assert_eq!(on.send(&Delivery::circleci("{}").header("circleci-event-type", &event)), 200);
    let line = on.line(" → 200 in ");
    assert!(line.chars().count() <= 120 && line.ends_with(" ms"), "{line}");
    assert!(line.contains(" hook ") && line.contains("2 B → 200") && !line.contains('\u{9b}'), "{line}");
    assert_eq!(on.send(&Delivery::circleci_with("not-the-secret", "{}")), 401);
    let line = on.line(" → 401 signature_mismatch in ");
    assert!(line.chars().count() <= 120, "{line}");
    let hint = on.line("another secret");
    assert!(hint.starts_with("  ") && hint.chars().count() <= 120, "{hint}");
    assert!(on.process.terminate().success());
    let lines = on.process.printed(Stream::Stdout);
    assert!(!lines.iter().any(|line| line.contains("outcome")), "each delivery has its line once: {lines:?}");
}

#[test]
fn the_page_about_commands_shows_what_serve_prints() {
    let shown = Document::read("docs/commands.md").blocks(&["text"]);
    let shown = shown.iter().find(|block| block.text.starts_with(ON_TERMINAL)).unwrap();
    let mut on = OnTerminal::start_with(&[], true, |upstream| {
        let keys = format!("upstream: \"http://{upstream}/\"");
        route("civo", &keys).replace("hook", "civo").replace("path: /civo", "path: /webhooks/civo")
    });
    let created =
        Delivery::civo("{\"event\":\"instance.created\",\"resourceID\":\"84894d17-da88-45bb-8817-9b3b75cf61bf\"}");
    assert_eq!(on.send(&created.target("/webhooks/civo")), 200);
    on.line(" → 200 in ");
    let forged = Delivery::civo("{}").body([b' '; 80]).target("/webhooks/civo");
    assert_eq!(on.send(&forged), 401);
    on.line("another secret");
    let lines = on.process.printed(Stream::Stdout);
    let printed: Vec<String> =
        lines.iter().filter(|line| !line.contains("listening")).map(|line| without_numbers(line.trim_end())).collect();
    let shown: Vec<String> = shown.text.lines().map(without_numbers).collect();
    assert_eq!(printed, shown);
}

/// With 0 in place of each number: times, ports and durations differ.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for char in line.chars() {
        match char.is_ascii_digit() {
            true if text.ends_with('0') => {}
            true => text.push('0'),
            false => text.push(char),
        }
    }
    text
}

#[test]
fn a_reload_changes_nothing_about_it_and_a_queued_delivery_is_called_so() {
    let mut on = OnTerminal::start(&[], true, ", delivery: queue");
    assert!(on.process.has_printed("circleci, 1 secret, queue"));
    let file = on.folder.path().join("gateway.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("threads: 1", "threads: 1, max_connections: 99")).unwrap();
    on.process.signal("HUP");
    on.line("configuration reloaded");
    assert_eq!(on.send(&Delivery::circleci("{}")), 200);
    on.line(" → 200 queued in ");
}

#[test]
fn a_chosen_format_and_an_access_log_that_is_off_are_respected() {
    let mut on = OnTerminal::start(&["--log-format", "json"], true, "");
    assert!(on.process.printed(Stream::Stdout).iter().all(|line| line.starts_with('{')));
    assert_eq!(on.send(&Delivery::circleci("{}")), 200);
    assert_eq!(on.send(&Delivery::circleci_with("not-the-secret", "{}")), 401);
    let line = on.line("\"outcome\"");
    assert!(line.contains("signature_mismatch"), "the first line is of the refused one: {line}");
}

#[test]
fn the_lines_of_deliveries_are_no_lines_of_the_log_and_its_level_hides_none() {
    for (stderr, level) in [(true, "warn"), (true, "off"), (false, "error")] {
        let mut on = OnTerminal::start(&["--log-level", level], stderr, "");
        assert_eq!(on.send(&Delivery::circleci("{}")), 200);
        on.line(" hook 2 B → 200 in ");
        assert_eq!(on.send(&Delivery::circleci_with("not-the-secret", "{}")), 401);
        on.line(" → 401 signature_mismatch in ");
        assert!(on.process.terminate().success());
        let said = [Stream::Stdout, Stream::Stderr].map(|stream| on.process.printed(stream).join("\n")).concat();
        assert!(!said.contains("listening") && !said.contains("\"outcome\""), "{level}: {said}");
    }
}

#[test]
fn with_stderr_elsewhere_that_gets_json_as_ever() {
    let mut on = OnTerminal::start(&[], false, "");
    assert_eq!(on.send(&Delivery::circleci_with("not-the-secret", "{}")), 401);
    let (mut short, mut json) = (false, false);
    on.process.wait_for("both lines", |stream, line| {
        short |= stream == Stream::Stdout && line.contains("→ 401 signature_mismatch");
        json |= stream == Stream::Stderr && line.starts_with('{') && line.contains("\"signature_mismatch\"");
        (short && json).then_some(())
    });
    assert!(on.process.printed(Stream::Stderr).iter().all(|line| line.starts_with('{')));
}

#[test]
fn demo_stays_up_and_shows_its_nine_deliveries() {
    let mut command = Command::new(BINARY);
    let mut demo = Process::start("demo", command.arg("demo").env_remove("RUST_LOG"), "");
    let page = demo.wait_for("the page", |_, line| Some(line.split_once("refused: ")?.1.to_owned()));
    let admin = page.strip_suffix("/ui/").unwrap().to_owned();
    demo.wait_for("that it stays up", |_, line| line.contains("/metrics | grep").then_some(()));
    let list = || {
        let output = Command::new(BINARY).args(["deliveries", "--url", &admin]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // Records are written a moment after their deliveries are answered.
    poll("nine are recorded", || list().lines().count() == 9);
    let listed = list();
    let count = |word: &str| listed.lines().filter(|line| line.contains(word)).count();
    assert_eq!((count(" forwarded "), count(" refused ")), (3, 6), "{listed}");
    let last = ["explain", "civo", "--last", "--url", &admin];
    let told = Command::new(BINARY).args(last).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("refused: signature_mismatch (401)"), "{told}");
    let id = told.lines().next().unwrap().strip_prefix("delivery: ").unwrap();
    let body = Command::new(BINARY).args(["show", id, "--body", "--url", &admin]).output().unwrap();
    assert!(body.stdout.starts_with(b"{\"event\":\"uninstance"), "its body is there: {body:?}");
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn ui_prints_the_address_of_a_page_that_is_there() {
    let routes = route("circleci", "upstream: \"http://127.0.0.1:1\"");
    let ui = |url: &str| {
        let output = Command::new(BINARY).args(["ui", "--url", url]).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (admin, sections) in [("", ""), ("token: { env: SECRET }", "")] {
        let gateway = Gateway::start_admin(admin, sections, &routes);
        let url = format!("http://{}", gateway.admin);
        assert_eq!(ui(&url), (Some(0), format!("{url}/ui/\n"), String::new()));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, format!("admin: {{ listen: \"{}\" }}\n", gateway.admin).as_bytes())
            .unwrap();
        let output = Command::new(BINARY).arg("ui").arg("-c").arg(file.path()).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{url}/ui/\n"));
    }
    let gateway = Gateway::start_admin("page: false", "", &routes);
    let (status, said, why) = ui(&format!("http://{}", gateway.admin));
    assert_eq!((status, said.as_str(), why.contains("page: false")), (Some(1), "", true), "{why}");
    let (status, said, why) = ui(&format!("http://{}", free()));
    assert_eq!((status, said.as_str(), why.contains("is the gateway running?")), (Some(1), "", true), "{why}");
}
