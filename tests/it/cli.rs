//! The commands and their exit statuses.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{CommandFactory, Parser};
use hooklatch::cli::Cli;

use crate::support::gateway::SECRET;
use crate::support::process::BINARY;
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;
use crate::support::upstream::Nobody;

/// The result of a command.
#[derive(Debug)]
struct Done {
    status: i32,
    stdout: String,
    stderr: String,
}

/// A command's own folder and environment.
struct Shell {
    folder: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes `gateway.yaml` with the route `hook` of this scheme; `server` is where it says that deliveries come in.
    fn configure(&self, server: &str, scheme: &str, keys: &str) {
        let routes = route(scheme, keys);
        let text =
            format!("server: {{ listen: \"{server}\" }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\nroutes:\n{routes}");
        self.write("gateway.yaml", text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.folder.path()).env("SECRET", SECRET).env_remove("RUST_LOG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let done =
            Done { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!format!("{done:?}").contains(SECRET), "{done:?}");
        done
    }
}

#[test]
fn check_prints_a_line_for_each_route() {
    let shell = Shell::new();
    shell.write("old", "the-secret-of-last-year\n");
    shell.write(
        "gateway.yaml",
        "routes:\n\
         - { name: one, path: /hooks/one, scheme: circleci, secrets: [{ env: SECRET }, { file: old }], \
             upstream: \"http://127.0.0.1:1337/x\" }\n\
         - { name: two, path: /two/*, host: a.example, scheme: icr, secrets: [{ env: SECRET }], \
             upstream: \"https://b.example\" }\n",
    );
    let done = shell.run(&["check"]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{done:?}");
    for (line, parts) in lines.iter().zip([
        ["one", "/hooks/one", "circleci", "2", "http://127.0.0.1:1337/x"],
        ["two", "/two/*", "icr", "1", "https://b.example"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    assert!(!done.stdout.contains("the-secret-of-last-year"));
}

#[test]
fn check_tells_which_routes_answer_challenges() {
    let shell = Shell::new();
    let route = |name: &str, scheme: &str| {
        format!(
            "- {{ name: {name}, path: /{name}, scheme: {scheme}, secrets: [{{ env: SECRET }}], upstream: \"http://a\" }}\n"
        )
    };
    let routes = [("answers", "slack"), ("does-not", "{ name: slack, challenge: false }"), ("has-none", "civo")];
    shell.write("gateway.yaml", format!("routes:\n{}", routes.map(|(name, scheme)| route(name, scheme)).concat()));
    let done = shell.run(&["check"]);
    assert_eq!(done.status, 0, "{done:?}");
    let told: Vec<&str> = done.stdout.lines().map(|line| line.split_once("http://a").unwrap().1).collect();
    assert_eq!(told, ["/  answers challenges", "/", "/"], "{done:?}");
}

#[test]
fn check_warns_of_weak_secrets_with_their_places_and_ends_with_0() {
    let shell = Shell::new();
    shell.write("short", "k3jd93kd02ka9s8\n");
    shell.write("sample", "changeme\n");
    let keys = "upstream: \"http://a\", secrets: [{ env: SECRET }, { file: short }, { file: sample, id: old }]";
    shell.configure("127.0.0.1:0", "civo", keys);
    let done = shell.run(&["check"]);
    assert_eq!((done.status, done.stdout.lines().count()), (0, 1), "{done:?}");
    let warnings: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{done:?}");
    assert!(warnings[0].starts_with("warning: routes[0].secrets[1].file: the secret is 15 bytes long"), "{done:?}");
    assert!(warnings[1].starts_with("warning: routes[0].secrets[2].file: the secret is a well-known"), "{done:?}");
    assert!(!done.stderr.contains("k3jd93kd02ka9s8") && !done.stderr.contains("changeme"), "{done:?}");
}

#[test]
fn check_binds_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let shell = Shell::new();
    shell.configure(&taken.local_addr().unwrap().to_string(), "civo", "upstream: \"http://a\"");
    assert_eq!(shell.run(&["check"]).status, 0);
}

#[test]
fn a_configuration_that_is_missing_unreadable_or_invalid_ends_every_command_with_78() {
    let shell = Shell::new();
    for arguments in [&["check"][..], &["serve"], &["send", "hook"]] {
        let done = shell.run(arguments);
        assert_eq!((done.status, done.stdout.as_str()), (78, ""), "{done:?}");
        assert!(done.stderr.contains("gateway.yaml"), "{done:?}");
        let elsewhere = shell.run(&[arguments, &["-c", "/nowhere/file.yaml"]].concat());
        assert_eq!(elsewhere.status, 78);
        assert!(elsewhere.stderr.contains("/nowhere/file.yaml"), "{elsewhere:?}");
        let folder = shell.run(&[arguments, &["--config", "."]].concat());
        assert_eq!(folder.status, 78, "{folder:?}");
    }
    shell.write("gateway.yaml", "routes: [");
    for command in ["check", "serve"] {
        assert_eq!(shell.run(&[command]).status, 78);
    }
}

#[test]
fn every_error_of_a_configuration_is_told_with_its_path() {
    let shell = Shell::new();
    shell.write(
        "gateway.yaml",
        "server: { listen: nonsense, invented: 1 }\n\
         routes:\n\
         - { name: one, path: nowhere, scheme: unheard-of, secrets: [{ env: NOT_SET }], \
             upstream: \"http://a/#q\", timeout: 10 }\n\
         - { name: one, path: /x, scheme: civo, secrets: [{ value: in-the-file }], \
             upstream: \"http://a\", invented: 5m }\n",
    );
    for command in ["check", "serve"] {
        let done = shell.run(&[command]);
        assert_eq!((done.status, done.stdout.as_str()), (78, ""));
        for path in [
            "server.listen",
            "server.invented",
            "routes[0].path",
            "routes[0].scheme",
            "routes[0].secrets[0].env",
            "routes[0].upstream",
            "routes[0].timeout",
            "routes[1].name",
            "routes[1].secrets[0].value",
            "routes[1].invented",
        ] {
            assert!(done.stderr.lines().any(|line| line.trim().starts_with(&format!("{path}: "))), "{path}: {done:?}");
        }
        assert!(!done.stderr.contains("in-the-file"), "{done:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let shell = Shell::new();
    shell.configure("127.0.0.1:0", "civo", "upstream: \"http://a\"");
    for arguments in [
        &["unheard-of"][..],
        &[],
        &["check", "--unheard-of"],
        &["check", "more"],
        &["--log-format", "xml", "check"],
        &["--log-level", "x=y=z", "check"],
        &["send", "no-such-route"],
        &["send"],
        &["schemes", "unheard-of"],
        &["sign", "--scheme", "civo"],
        &["sign", "--scheme", "unheard-of", "--secret-env", "SECRET"],
        &["sign", "--scheme", "civo", "--secret-env", "SECRET", "--secret-file", "x"],
    ] {
        let done = shell.run(arguments);
        assert_eq!((done.status, done.stdout.as_str()), (2, ""), "{arguments:?}: {done:?}");
        assert!(!done.stderr.is_empty());
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let shell = Shell::new();
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        let done = shell.run(arguments);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(done.stdout.contains("hooklatch"));
    }
    let revision = hooklatch::REVISION.replace("unknown", "revision unknown");
    assert_eq!(shell.run(&["--version"]).stdout, format!("hooklatch {} ({revision})\n", hooklatch::VERSION));
}

#[test]
fn a_listener_that_is_taken_ends_serve_with_1() {
    let shell = Shell::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let routes = route("civo", "upstream: \"http://a\"");
    for threads in [1, 2] {
        for (server, admin, key) in
            [(taken.as_str(), "127.0.0.1:0", "server.listen"), ("127.0.0.1:0", taken.as_str(), "admin.listen")]
        {
            let server = format!("server: {{ listen: \"{server}\", threads: {threads} }}");
            let text = format!("{server}\nadmin: {{ listen: \"{admin}\" }}\nroutes:\n{routes}");
            shell.write("gateway.yaml", text);
            let done = shell.run(&["serve"]);
            assert_eq!(done.status, 1, "{done:?}");
            assert!(done.stderr.contains(&taken) && done.stderr.contains(key), "{done:?}");
        }
    }
}

#[test]
fn what_sign_prints_makes_a_valid_delivery() {
    let shell = Shell::new();
    let body = r#"{"event":"installed","n":1.0}"#;
    let file = shell.write("body", body);
    let secret = shell.write("secret", format!("{SECRET}\r\n"));
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    for scheme in ["circleci", "civo", "icr"] {
        let by = ["sign", "--scheme", scheme];
        let all = [
            shell.run_with(&[&by[..], &["--secret-env", "SECRET"]].concat(), body),
            shell.run(&[&by[..], &["--secret-env", "SECRET", "--body", file]].concat()),
            shell.run(&[&by[..], &["--secret-file", secret, "--body", file]].concat()),
        ];
        let mut rig = Rig::of(scheme, "");
        for done in all {
            assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{done:?}");
            let delivery = done.stdout.lines().fold(Delivery::unsigned(body), Delivery::line);
            rig.forwards(&delivery);
        }
    }
}

#[test]
fn sign_fails_when_there_is_nothing_to_sign_with_or_nothing_that_can_be_signed() {
    let shell = Shell::new();
    let empty = shell.write("empty", "\n");
    for (arguments, body) in [
        (&["sign", "--scheme", "civo", "--secret-env", "NOT_SET"][..], "{}"),
        (&["sign", "--scheme", "civo", "--secret-file", empty.to_str().unwrap()], "{}"),
        (&["sign", "--scheme", "civo", "--secret-file", "/nowhere"], "{}"),
        (&["sign", "--scheme", "civo", "--secret-env", "SECRET", "--body", "/nowhere"], "{}"),
        (&["sign", "--scheme", "icr", "--secret-env", "SECRET"], "no JSON"),
    ] {
        let done = shell.run_with(arguments, body);
        assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{done:?}");
        assert!(!done.stderr.is_empty());
    }
}

/// Runs `send` against a rig whose upstream gives this response. Returns the result, and the body that the upstream got.
fn send(rig: &mut Rig, shell: &Shell, arguments: &[&str], answer: &str) -> (Done, Vec<u8>) {
    let mut command = shell.command(&[&["send", "hook"], arguments].concat());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let seen = rig.request();
    rig.peer().write(answer);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let done = Done { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
    (done, seen.body)
}

#[test]
fn send_delivers_a_sample_or_a_body_to_the_configured_listener() {
    let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nthank you";
    let shell = Shell::new();
    let body = shell.write("body", r#"{"my":"own"}"#);
    for scheme in ["circleci", "civo", "icr"] {
        let mut rig = Rig::of(scheme, "");
        shell.configure(&rig.gateway.server.to_string(), scheme, "upstream: \"http://a\"");
        let (done, seen) = send(&mut rig, &shell, &[], accepted);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{done:?}");
        assert!(done.stdout.contains("202") && done.stdout.contains("thank you"), "{done:?}");
        assert_eq!(seen, hooklatch::schemes::find(scheme).unwrap().sample.body.as_bytes());
        let (done, seen) = send(&mut rig, &shell, &["--body", body.to_str().unwrap()], accepted);
        assert_eq!((done.status, seen.as_slice()), (0, &br#"{"my":"own"}"#[..]));
    }
}

#[test]
fn send_ends_with_1_unless_the_answer_is_a_2xx() {
    let shell = Shell::new();
    let mut rig = Rig::start();
    shell.configure(&rig.gateway.server.to_string(), "circleci", "upstream: \"http://a\"");
    for status in [199 + 1, 299, 300, 404, 500] {
        let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
        let (done, _) = send(&mut rig, &shell, &[], &answer);
        assert_eq!(done.status, i32::from(status >= 300), "{done:?}");
        assert!(done.stdout.contains(&status.to_string()), "{done:?}");
    }
    // Refused: the configuration that send has names another secret.
    let other = Rig::with("secrets: [{ env: OLD_SECRET }]");
    shell.configure(&other.gateway.server.to_string(), "circleci", "upstream: \"http://a\"");
    let done = shell.run(&["send", "hook"]);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stdout.contains("401") && done.stdout.contains("signature_mismatch"), "{done:?}");
    other.upstream.expect_nothing();
}

#[test]
fn send_takes_any_address() {
    let shell = Shell::new();
    let mut rig = Rig::start();
    shell.configure("127.0.0.1:0", "circleci", "upstream: \"http://a\"");
    let done = shell.run(&["send", "hook"]);
    assert_eq!(done.status, 2, "port 0 is no address: {done:?}");
    let url = format!("http://{}/hook?by=hand", rig.gateway.server);
    let (done, _) = send(&mut rig, &shell, &["--url", &url], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(done.status, 0, "{done:?}");
    let nobody = Nobody::bind();
    let done = shell.run(&["send", "hook", "--url", &format!("http://{}/hook", nobody.address)]);
    assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{done:?}");
}

#[test]
fn demo_once_shows_nine_deliveries_and_what_became_of_them() {
    let done = Shell::new().run(&["demo", "--once"]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{done:?}");
    let lines: Vec<Vec<&str>> = done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    for scheme in ["icr", "civo", "circleci"] {
        for (kind, status) in [("signed", "200"), ("unsigned", "401"), ("tampered", "401")] {
            let matching = lines.iter().filter(|line| line.get(..3) == Some(&[scheme, kind, status]));
            assert_eq!(matching.count(), 1, "{scheme} {kind}: {done:?}");
        }
    }
}

#[test]
fn schemes_lists_all_and_tells_the_facts_of_one() {
    let shell = Shell::new();
    let done = shell.run(&["schemes"]);
    assert_eq!(done.status, 0);
    let names: Vec<&str> = done.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in ["circleci", "civo", "icr"] {
        assert!(names.contains(&name), "{done:?}");
        let done = shell.run(&["schemes", name]);
        assert_eq!(done.status, 0);
        assert!(done.stdout.contains("https://") && done.stdout.contains("signature"), "{done:?}");
    }
}

#[test]
fn schemes_searches_names_titles_and_documentation_hosts() {
    let shell = Shell::new();
    for word in ["carbon", "Carbon", "icr", "carbonregistry.com"] {
        let done = shell.run(&["schemes", word]);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{word}: {done:?}");
        assert!(done.stdout.contains("International Carbon Registry (ICR)"), "{word}: {done:?}");
    }
    let done = shell.run(&["schemes", "unheard-of"]);
    assert_eq!((done.status, done.stdout.as_str()), (2, ""), "{done:?}");
}

#[test]
fn every_help_ends_with_global_options_and_examples_that_parse() {
    let mut command = Cli::command();
    command.build();
    for mut command in command.get_subcommands().filter(|command| command.get_name() != "help").cloned() {
        let help = command.render_help().to_string();
        let (_, end) = help.split_once("\nGlobal options:\n").expect(&help);
        let (global, examples) = end.split_once("\nExamples:\n").expect(&help);
        assert!(global.contains("--log-format") && global.contains("--log-level"), "{help}");
        // Exit statuses and more follow.
        for example in examples.lines().take_while(|line| !line.is_empty()) {
            // Between quotes there is one word.
            let words = example.split('\'').enumerate().flat_map(|(part, text)| match part % 2 {
                0 => text.split_whitespace().collect(),
                _ => vec![text],
            });
            let words = words.take_while(|word| *word != ">");
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
        assert!(examples.contains(&format!("  hooklatch {}", command.get_name())), "{help}");
    }
}

#[test]
fn the_annotated_reference_is_checked_as_it_stands() {
    let shell = Shell::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.yaml");
    let mut command = shell.command(&["check", "-c"]);
    let variables = ["CIRCLECI", "CIVO", "ICR"].map(|name| (format!("{name}_WEBHOOK_SECRET"), SECRET));
    let output = command.arg(file).envs(variables).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
}

#[test]
fn conformance_prints_a_line_for_each_provider_and_ends_with_0_if_all_went_as_they_must() {
    let shell = Shell::new();
    let done = shell.run(&["conformance", "circleci", "civo", "docker-hub"]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{done:?}");
    let lines: Vec<Vec<&str>> = done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(matches!(lines[0][..], ["circleci", _, "pass"]), "{done:?}");
    assert!(matches!(lines[1][..], ["civo", _, "pass"]), "{done:?}");
    assert!(matches!(lines[2][..3], ["docker-hub", "0/0", "cannot"]), "{done:?}");
    assert!(matches!(lines[3][..], ["2", "providers,", _, "vectors,", "0", "failed"]), "{done:?}");

    let all = shell.run(&["conformance"]);
    assert_eq!(all.status, 0, "{all:?}");
    let names: Vec<&str> = all.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let known: Vec<&str> = hooklatch::schemes::names().collect();
    assert_eq!(names[..names.len() - 1], known);
}

#[test]
fn conformance_refuses_a_provider_that_is_not_there() {
    let done = Shell::new().run(&["conformance", "civo", "nobody"]);
    assert_eq!((done.status, done.stdout.as_str()), (2, ""), "{done:?}");
    assert!(done.stderr.contains("nobody"), "{done:?}");
}

#[test]
fn conformance_runs_the_vectors_of_a_file_and_ends_with_1_if_one_of_them_went_wrong() {
    let shell = Shell::new();
    let body = "hello world";
    let signature = "v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a";
    let vector = |provider: &str, secret: serde_json::Value, headers: serde_json::Value, accept: bool, reason: &str| {
        let reason = (!reason.is_empty()).then_some(reason);
        serde_json::json!({ "provider": provider, "secret": secret, "headers": headers, "body": body,
                            "url": "https://a.example?q=1", "accept": accept, "reason": reason, "other": 1 })
    };
    let circleci = |accept, reason| {
        vector("circleci", "secret".into(), serde_json::json!({ "circleci-signature": signature }), accept, reason)
    };
    let file = |vectors: &[serde_json::Value]| shell.write("vectors.json", serde_json::to_string(vectors).unwrap());
    let basic = serde_json::json!({ "authorization": "Basic dXNlcjpwYXNzOndvcmQ=" });
    let user = serde_json::json!({ "username": "user", "password": "pass:word" });
    let twice = serde_json::json!({ "circleci-signature": [signature, signature] });
    file(&[
        circleci(true, ""),
        vector("basic-auth", user, basic, true, ""),
        vector("circleci", "secret".into(), twice, false, "ambiguous_signature"),
        vector("circleci", "other".into(), serde_json::json!({ "circleci-signature": signature }), false, ""),
    ]);
    let done = shell.run(&["conformance", "--vectors", "vectors.json"]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{done:?}");
    assert!(done.stdout.contains("2 providers, 4 vectors, 0 failed"), "{done:?}");

    for (wrong, told) in [
        (circleci(false, ""), "was accepted, must be refused"),
        (
            vector("circleci", "other".into(), serde_json::json!({ "circleci-signature": signature }), true, ""),
            "was refused as signature_mismatch, must be accepted",
        ),
        (
            vector("circleci", "secret".into(), serde_json::json!({}), false, "signature_mismatch"),
            "was refused as missing_signature, must be refused as signature_mismatch",
        ),
        (vector("nobody", "secret".into(), serde_json::json!({}), false, ""), "there is no such scheme"),
        (vector("adyen-platform", "zz".into(), serde_json::json!({}), false, ""), "no route can have this"),
    ] {
        file(&[wrong]);
        let done = shell.run(&["conformance", "--vectors", "vectors.json"]);
        assert_eq!(done.status, 1, "{done:?}");
        assert!(done.stdout.contains(told) && done.stdout.contains("FAIL"), "{done:?}");
    }
    for text in ["", "{}", "[]", "[{}]"] {
        shell.write("vectors.json", text);
        assert_eq!(shell.run(&["conformance", "--vectors", "vectors.json"]).status, 2, "{text}");
    }
}
