//! Situations that people who receive webhooks were in, from public reports and documentation: one JSON file each in
//! `tests/cases`, whose README says what the keys mean.
//!
//! A case sends one request to a running gateway with a recorder behind it, or runs a command to its end. A case that is not
//! met says why under `unmet`; it fails here as soon as it holds.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::support::http::{Connection, Response};
use crate::support::process::{BINARY, GatewayProcess, Stream};
use crate::support::tools::{pass_over, tool};
use crate::support::upstream::{Seen, Upstream};

/// How many cases run at once.
const AT_ONCE: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    area: String,
    situation: String,
    source: String,
    why: String,
    #[serde(default)]
    wish: bool,
    /// Why it does not hold yet.
    unmet: Option<String>,
    config: String,
    #[serde(default)]
    config_prefix_hex: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, Option<Content>>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    upstream: Behind,
    request: Option<String>,
    request_hex: Option<String>,
    then: Option<Then>,
    #[serde(default)]
    reads_no_answer: bool,
    command: Option<Vec<String>>,
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Bytes { hex: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    text: String,
    times: usize,
}

/// What is behind the gateway.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    listen: Option<IpAddr>,
    answer: Option<String>,
    #[serde(default)]
    closes: bool,
    silent: Option<IpAddr>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Expected {
    status: Option<Vec<u16>>,
    reason: Option<String>,
    forwarded: Option<usize>,
    body: Option<String>,
    target: Option<String>,
    header_lines: Vec<String>,
    headers_absent: Vec<String>,
    answer_headers: BTreeMap<String, String>,
    answer_body: Option<String>,
    answer_without: Vec<String>,
    log_has: Vec<String>,
    log_has_not: Vec<String>,
    exit: Option<Vec<i32>>,
    output_has: Vec<String>,
    output_has_not: Vec<String>,
}

/// What a case has come to: what is not as it should be.
type Faults = Vec<String>;

#[test]
fn every_situation_is_handled_as_its_source_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    assert!(files.len() >= 46, "{} cases", files.len());
    files.sort();
    let left = Mutex::new(files);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(path) = left.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                    let text = fs::read_to_string(&path).unwrap();
                    let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                    assert_eq!(path.file_stem().unwrap().to_str().unwrap(), case.id);
                    wrong.lock().unwrap_or_else(PoisonError::into_inner).extend(verdict(&case));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} cases:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What is wrong with a case, in words.
fn verdict(case: &Case) -> Option<String> {
    let faults = catch_unwind(AssertUnwindSafe(|| case.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        vec![text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()]
    });
    let Case { id, area, situation, source, why, wish, unmet, .. } = case;
    let wish = if *wish { ", a wish" } else { "" };
    let about = format!("{id} ({area}{wish}): {situation}\n  source: {source}\n  why: {why}");
    match (unmet, faults.is_empty()) {
        (None, false) => Some(format!("{about}\n  but: {}", faults.join("\n  and: "))),
        (Some(unmet), true) => Some(format!("{about}\n  it holds now; take out of its file: unmet: {unmet}")),
        _ => None,
    }
}

impl Case {
    fn run(&self) -> Faults {
        let folder = tempfile::tempdir().unwrap();
        let listen = self.upstream.listen.unwrap_or_else(|| IpAddr::from([127, 0, 0, 1]));
        let upstream = Upstream::bind_at(SocketAddr::new(listen, 0), 128);
        let port = upstream.address.port();
        let answer = self.upstream.answer.as_ref().map(|answer| self.filled(answer, &upstream, folder.path()));
        let seen = record(&upstream, answer, self.upstream.closes);
        // With a full backlog, the kernel answers no other connection.
        let silent = self.upstream.silent.map(|address| Upstream::bind_at(SocketAddr::new(address, port), 0));
        let _waiting = silent.as_ref().map(|full| TcpStream::connect(full.address).unwrap());
        let config = self.filled(&self.config, &upstream, folder.path());
        let prefix = bytes_of_hex(&self.config_prefix_hex);
        fs::write(folder.path().join("gateway.yaml"), [prefix, config.into_bytes()].concat()).unwrap();
        for (name, content) in &self.files {
            let path = folder.path().join(name);
            match content {
                None => fs::create_dir(path).unwrap(),
                Some(Content::Text(text)) => fs::write(path, text).unwrap(),
                Some(Content::Bytes { hex }) => fs::write(path, bytes_of_hex(hex)).unwrap(),
            }
        }
        let faults = match &self.command {
            Some(arguments) => self.command(arguments, folder.path()),
            None => self.request(folder.path(), &upstream, &seen),
        };
        if let Some(full) = silent {
            drop(full.accept());
        }
        faults
    }

    /// The text with its places filled.
    fn filled(&self, text: &str, upstream: &Upstream, folder: &Path) -> String {
        let text = text.replace("{upstream}", &format!("http://{}", upstream.address));
        let text = text.replace("{upstream_port}", &upstream.address.port().to_string());
        // The system chooses the ports of the listeners.
        text.replace("{port}", "0").replace("{admin}", "0").replace("{folder}", folder.to_str().unwrap())
    }

    /// The bytes that are sent.
    fn bytes(&self) -> Vec<u8> {
        let own = self.request.clone().map(String::into_bytes);
        own.or_else(|| self.request_hex.as_deref().map(bytes_of_hex)).unwrap_or_default()
    }

    fn command(&self, arguments: &[String], folder: &Path) -> Faults {
        fs::write(folder.join("request.http"), self.bytes()).unwrap();
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(folder).envs(&self.env).env_remove("RUST_LOG").stdin(Stdio::null());
        let output = command.output().unwrap();
        let (exit, expected) = (output.status.code().unwrap(), &self.expected);
        let mut faults = Faults::new();
        if expected.exit.as_ref().is_some_and(|right| !right.contains(&exit)) {
            faults.push(format!("the exit status is {exit}"));
        }
        let text = [output.stdout, output.stderr].concat();
        search("the output", &text, &expected.output_has, &expected.output_has_not, &mut faults);
        faults
    }

    fn request(&self, folder: &Path, upstream: &Upstream, seen: &Mutex<Vec<Seen>>) -> Faults {
        let Some(mut command) = self.serve(folder) else { return Faults::new() };
        let mut gateway = GatewayProcess::start_command(&mut command);
        let mut bytes = self.bytes();
        let mut connection = Connection::open(gateway.server);
        if let Some(Then { text, times }) = &self.then {
            bytes.extend(text.repeat(*times).into_bytes());
        }
        let sent = connection.try_write(&bytes);
        let answer = (!self.reads_no_answer).then(|| connection.receive());
        drop(connection);
        assert!(sent.is_ok() || answer.is_some(), "{sent:?}");
        gateway.process.terminate();
        let log = gateway.process.printed(Stream::Stderr).join("\n");
        let mut faults = Faults::new();
        if let Some(answer) = &answer {
            self.judge_answer(answer, &|text| self.filled(text, upstream, folder), &mut faults);
        }
        self.judge_forwarded(&seen.lock().unwrap(), &bytes, &mut faults);
        search("the log", log.as_bytes(), &self.expected.log_has, &self.expected.log_has_not, &mut faults);
        faults.is_empty().then(Faults::new).unwrap_or_else(|| {
            faults.push(format!("the log: {log}"));
            faults
        })
    }

    /// The command that serves, with its own names of hosts if the case has some; `None` where it cannot have them.
    fn serve(&self, folder: &Path) -> Option<Command> {
        let mut command = match self.hosts.is_empty() {
            true => Command::new(BINARY),
            false => {
                let hosts = folder.join("hosts");
                fs::write(&hosts, self.hosts.join("\n") + "\n").unwrap();
                let in_namespace = |program: &str| {
                    let mut command = tool("unshare")?;
                    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
                    command.arg(&hosts).arg(program);
                    Some(command)
                };
                if !in_namespace("true")?.output().unwrap().status.success() {
                    eprintln!("{} is passed over: nothing can be mounted", self.id);
                    pass_over("unshare");
                    return None;
                }
                in_namespace(BINARY)?
            }
        };
        command.args(["serve", "--log-format", "json", "--log-level", "info", "-c", "gateway.yaml"]);
        command.current_dir(folder).envs(&self.env).env_remove("RUST_LOG");
        Some(command)
    }

    fn judge_answer(&self, answer: &Response, filled: &dyn Fn(&str) -> String, faults: &mut Faults) {
        let expected = &self.expected;
        if expected.status.as_ref().is_some_and(|right| !right.contains(&answer.status)) {
            faults.push(format!("the answer is {}: {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        if let Some(reason) = &expected.reason
            && answer.json()["reason"] != *reason
        {
            faults.push(format!("the reason is {}", answer.json()["reason"]));
        }
        for (name, value) in &expected.answer_headers {
            let found = answer.header(&name.to_ascii_lowercase());
            if found != Some(value) {
                faults.push(format!("the answer's {name} is {found:?}"));
            }
        }
        if expected.answer_body.as_ref().is_some_and(|body| answer.body != filled(body).as_bytes()) {
            faults.push(format!("the answer's body is {:?}", String::from_utf8_lossy(&answer.body)));
        }
        let whole = [answer.head.as_slice(), &answer.body].concat();
        for text in expected.answer_without.iter().map(|text| filled(text)) {
            if String::from_utf8_lossy(&whole).contains(&text) {
                faults.push(format!("the answer has {text:?}: {}", String::from_utf8_lossy(&whole)));
            }
        }
    }

    fn judge_forwarded(&self, seen: &[Seen], sent: &[u8], faults: &mut Faults) {
        let expected = &self.expected;
        if expected.forwarded.is_some_and(|count| count != seen.len()) {
            faults.push(format!("the upstream got {} requests", seen.len()));
        }
        let wants = expected.body.is_some() || expected.target.is_some() || !expected.header_lines.is_empty();
        let Some(first) = seen.first() else {
            if wants {
                faults.push("the upstream got nothing".to_owned());
            }
            return;
        };
        if let Some(body) = &expected.body {
            assert_eq!(body, "same");
            let end = sent.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
            if end.map(|end| &sent[end..]) != Some(&first.body) {
                faults.push(format!("the upstream got another body: {:?}", String::from_utf8_lossy(&first.body)));
            }
        }
        let line = first.line();
        if let Some(target) = &expected.target
            && line.split(' ').nth(1) != Some(target)
        {
            faults.push(format!("the upstream got {line}"));
        }
        for line in &expected.header_lines {
            if !first.headers().contains(&line.as_bytes()) {
                faults.push(format!("the upstream did not get the line {line}"));
            }
        }
        for name in &expected.headers_absent {
            if !first.all(name).is_empty() {
                faults.push(format!("the upstream got {name}"));
            }
        }
    }
}

/// From now on answers each request, with 200 and `ok` unless the case has another answer, and keeps it. With `closes`, the
/// connection ends after the answer.
fn record(upstream: &Upstream, answer: Option<String>, closes: bool) -> Arc<Mutex<Vec<Seen>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answer = answer.unwrap_or_else(|| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned());
    // A few bytes for each case, which live as long as the test's process.
    let answer: &'static str = answer.leak();
    let all = seen.clone();
    let take = move |request: &Seen| {
        let copy = Seen { head: request.head.clone(), body: request.body.clone() };
        all.lock().unwrap().push(copy);
        answer
    };
    match closes {
        true => upstream.answer_by_and_close(take),
        false => upstream.answer_by(take),
    }
    seen
}

/// Looks for patterns, case ignored.
fn search(what: &str, text: &[u8], has: &[String], has_not: &[String], faults: &mut Faults) {
    let regex = |pattern: &String| -> Regex {
        RegexBuilder::new(pattern).case_insensitive(true).unicode(false).build().unwrap()
    };
    let shown = String::from_utf8_lossy(text);
    let missing = has.iter().filter(|pattern| !regex(pattern).is_match(text));
    faults.extend(missing.map(|pattern| format!("{what} lacks {pattern}: {shown}")));
    let unwanted = has_not.iter().filter(|pattern| regex(pattern).is_match(text));
    faults.extend(unwanted.map(|pattern| format!("{what} has {pattern}: {shown}")));
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    base16ct::mixed::decode_vec(hex).unwrap()
}
