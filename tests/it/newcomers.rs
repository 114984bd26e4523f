//! The mistakes of the first minutes: each is told, together with what to do next, to the person who can do it. What senders get
//! stays the constant text that it is.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, get, post, send};
use crate::support::process::{BINARY, GatewayProcess, Stream};
use crate::support::rig::route;
use crate::support::upstream::Nobody;

const SECRET: &str = "a secret of the first minutes";

fn hooklatch(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").env("SET", SECRET).output().unwrap()
}

/// The exit status, and the output.
fn told(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = hooklatch(folder, arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A configuration of one route, in a folder of its own.
fn folder(server: &str, scheme: &str, secret: &str, upstream: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "server: {{ listen: \"{server}\", access_log: all }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\nroutes:\n  \
         - {{ name: civo, path: /webhooks/civo, scheme: {scheme}, secrets: [{{ env: {secret} }}], upstream: \"{upstream}\" }}\n"
    );
    fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    folder
}

#[test]
fn without_a_configuration_there_is_one_to_begin_with_and_it_works() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["serve", "check"] {
        let (status, said) = told(folder.path(), &[command]);
        assert_eq!(status, 78);
        assert!(said.starts_with("hooklatch: cannot read gateway.yaml: there is no such file\n"), "{said}");
        for part in ["-c FILE", "hooklatch check", "hooklatch demo"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let (_, said) = told(folder.path(), &["serve"]);
    let example: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    fs::write(folder.path().join("gateway.yaml"), example.join("\n").replace("CIVO_WEBHOOK_SECRET", "SET")).unwrap();
    let checked = hooklatch(folder.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn a_secret_that_is_not_set_is_to_be_exported() {
    let folder = folder("127.0.0.1:0", "civo", "NOT_SET", "http://127.0.0.1:1");
    let (status, said) = told(folder.path(), &["serve"]);
    assert_eq!(status, 78);
    let expected =
        "routes[0].secrets[0].env: environment variable NOT_SET is not set: export it where hooklatch is started";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_secret_file_that_is_of_no_use_is_told_with_what_to_do() {
    let folder = folder("127.0.0.1:0", "civo", "SET", "http://127.0.0.1:1");
    let file = folder.path().join("gateway.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("env: SET", "file: secret");
    fs::write(&file, text).unwrap();
    let check = || {
        let (status, said) = told(folder.path(), &["check"]);
        assert_eq!(status, 78);
        said
    };
    let secret = folder.path().join("secret");
    assert!(check().contains("the file \"secret\" does not exist: write the secret into it, or correct its name"));
    fs::write(&secret, "\n").unwrap();
    assert!(check().contains("the file \"secret\" is empty: put the secret into it"));
    fs::remove_file(&secret).unwrap();
    fs::create_dir(&secret).unwrap();
    assert!(
        check().contains("cannot read the file \"secret\": Is a directory (os error 21): name a file in that folder")
    );
}

#[test]
fn what_the_user_may_not_read_is_told_with_who_must() {
    let folder = folder("127.0.0.1:0", "civo", "SET", "http://127.0.0.1:1");
    // No permissions. They do not apply to root, so a test that runs as root has to change its user.
    fs::set_permissions(folder.path().join("gateway.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(BINARY);
    command.arg("check").current_dir(folder.path());
    if fs::read(folder.path().join("gateway.yaml")).is_ok() {
        let copy = folder.path().join("hooklatch");
        fs::copy(BINARY, &copy).unwrap();
        command = Command::new(copy);
        command.arg("check").current_dir(folder.path()).uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "cannot read gateway.yaml: Permission denied (os error 13): the user that hooklatch runs as must be allowed to read it";
    assert!(output.status.code() == Some(78) && said.contains(expected), "{said}");
}

#[test]
fn a_configuration_that_is_named_in_the_wrong_way_is_told_with_the_right_one() {
    let folder = folder("127.0.0.1:0", "civo", "SET", "http://127.0.0.1:1");
    let (status, said) = told(folder.path(), &["serve", "gateway.yaml"]);
    assert!(status == 2 && said.contains("tip: '-c gateway.yaml' names a configuration"), "{said}");
    let (status, said) = told(folder.path(), &["check", "-c", "."]);
    assert_eq!(status, 78);
    assert_eq!(said, "hooklatch: cannot read .: Is a directory (os error 21): name a file in that folder\n");
    fs::write(folder.path().join("text"), "just text").unwrap();
    let (_, said) = told(folder.path(), &["check", "-c", "text"]);
    assert!(said.contains("expected a map with routes, found text"), "{said}");
    let (status, said) = told(folder.path(), &["explain", "civo", "--request", "nowhere"]);
    assert_eq!(
        (status, said.as_str()),
        (2, "hooklatch: cannot read nowhere: No such file or directory (os error 2)\n")
    );
}

#[test]
fn a_key_that_is_misspelt_brings_the_nearest_one() {
    let folder = folder("127.0.0.1:0", "civo", "SET", "http://127.0.0.1:1");
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("upstream:", "upsteam:")).unwrap();
    let (status, said) = told(folder.path(), &["check"]);
    assert!(status == 78 && said.contains("routes[0].upsteam: unknown key; did you mean \"upstream\"?"), "{said}");
}

#[test]
fn a_scheme_that_is_not_known_brings_the_nearest_names() {
    let folder = folder("127.0.0.1:0", "circle-ci", "SET", "http://127.0.0.1:1");
    let (status, said) = told(folder.path(), &["check"]);
    assert_eq!(status, 78);
    assert!(said.contains("`hooklatch schemes` lists all schemes; did you mean \"circleci\"?"), "{said}");
    // A name that the documentation's address has.
    let (status, said) = told(folder.path(), &["init", "carbon", "-c", "new.yaml"]);
    assert_eq!(status, 2);
    assert_eq!(said, "hooklatch: unknown scheme \"carbon\": `hooklatch schemes` lists all; did you mean \"icr\"?\n");
    for arguments in [&["schemes", "githb"][..], &["sign", "--scheme", "githb", "--secret-env", "SET"]] {
        let (status, said) = told(folder.path(), arguments);
        assert_eq!(status, 2);
        assert_eq!(
            said,
            "hooklatch: unknown scheme \"githb\": `hooklatch schemes` lists all; did you mean \"github\"?\n"
        );
    }
}

#[test]
fn sign_says_which_target_it_needs_and_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let body = "{\"a\":1}";
    fs::write(folder.path().join("body"), body).unwrap();
    let url = "public_url=https://hooks.example.com/x";
    let kind = "Content-Type: application/json";
    let sign =
        ["sign", "--scheme", "twilio", "--secret-env", "SET", "--body", "body", "--option", url, "--header", kind];
    let (status, said) = told(folder.path(), &[&sign[..], &["--target", "/x?a=1"]].concat());
    assert_eq!(status, 1);
    let (_, target) = said.trim_end().split_once("sign it with --target ").expect(&said);
    let target = target.trim_matches('\'');
    assert!(target.starts_with("/x?a=1&bodySHA256="), "{target}");
    let signed = hooklatch(folder.path(), &[&sign[..], &["--target", target]].concat());
    assert!(signed.status.success(), "{signed:?}");

    let keys =
        "upstream: \"http://127.0.0.1:1\", scheme: { name: twilio, public_url: \"https://hooks.example.com/x\" }";
    let configuration = format!("routes:\n  - {{ name: x, path: /x, secrets: [{{ env: SET }}], {keys} }}\n");
    fs::write(folder.path().join("gateway.yaml"), configuration).unwrap();
    let lines = String::from_utf8(signed.stdout).unwrap().replace('\n', "\r\n");
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {}\r\n{lines}\r\n", body.len());
    fs::write(folder.path().join("request"), head + body).unwrap();
    let explained = hooklatch(folder.path(), &["explain", "x", "--request", "request"]);
    assert!(explained.status.success(), "{explained:?}");
}

#[test]
fn a_low_limit_of_open_files_is_told_by_check_and_with_what_to_do_when_nothing_can_be_opened() {
    let folder = folder("127.0.0.1:0", "civo", "SET", "http://127.0.0.1:1");
    let limited = |files: u32, command: &str| {
        let script = format!("ulimit -n {files} && exec \"$0\" {command}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, BINARY]).current_dir(folder.path()).env_remove("RUST_LOG").env("SET", SECRET);
        let output = shell.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = limited(160, "check");
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains(
            "warning: server.max_connections: max_connections is more than the limit of open files allows: raise \
             LimitNOFILE or `ulimit -n`, or lower it (here 160 files, for 80 connections)\n"
        ),
        "{said}"
    );
    let text = fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    fs::write(folder.path().join("gateway.yaml"), text.replace("access_log", "threads: 64, access_log")).unwrap();
    let (status, said) = limited(48, "serve");
    assert_eq!(status, 1, "{said}");
    for part in ["hooklatch: cannot listen on 127.0.0.1:0 (server.listen): ", "LimitNOFILE", "server.threads"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_how_to_find_who_has_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let folder = folder(&taken.to_string(), "civo", "SET", "http://127.0.0.1:1");
    let (status, said) = told(folder.path(), &["serve"]);
    assert_eq!(status, 1);
    let hint = format!("another process has it (`ss -ltnp sport = :{}` shows which)", taken.port());
    assert!(said.contains(&hint) && said.contains("change server.listen"), "{said}");
}

#[test]
fn an_address_that_is_not_of_this_machine_is_told_with_what_stands_for_all() {
    // Of the documentation (RFC 5737).
    let folder = folder("192.0.2.1:8080", "civo", "SET", "http://127.0.0.1:1");
    let (status, said) = told(folder.path(), &["serve"]);
    assert_eq!(status, 1);
    assert!(said.contains("this machine has no such address: 0.0.0.0 in server.listen"), "{said}");
}

#[test]
fn who_sends_to_no_gateway_is_told_to_start_it_and_who_expects_tls_that_there_is_none() {
    let nobody = Nobody::bind();
    let folder = folder(&nobody.address.to_string(), "civo", "SET", "http://127.0.0.1:1");
    let gateway = Gateway::start(&route("civo", "upstream: \"http://127.0.0.1:1\""));
    let tls = format!("https://{}", gateway.server);
    for arguments in [&["send", "civo", "--url", &tls][..], &["health", "--url", &tls]] {
        let (status, said) = told(folder.path(), arguments);
        assert_eq!(status, 1);
        assert!(said.ends_with("; without server.tls, the URL of the gateway begins with http://\n"), "{said}");
    }
    for arguments in [&["send", "civo"][..], &["health", "--url", &format!("http://{}", nobody.address)]] {
        let (status, said) = told(folder.path(), arguments);
        assert_eq!(status, 1);
        assert!(said.ends_with("is the gateway running? `hooklatch serve -c FILE` starts it\n"), "{said}");
    }
}

#[test]
fn what_goes_wrong_with_the_first_deliveries_is_told_in_the_log_with_what_to_look_at() {
    let handler = Nobody::bind();
    let folder = folder("127.0.0.1:0", "civo", "SET", &format!("http://{}/in", handler.address));
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--log-format", "json"])
        .current_dir(folder.path())
        .env("SET", SECRET)
        .env_remove("RUST_LOG");
    let mut gateway = GatewayProcess::start_command(&mut command);
    let server = gateway.server;
    let mut hint = |reason: &str| {
        gateway.process.wait_for("the delivery's line", |stream, line| {
            let entry: serde_json::Value = serde_json::from_str(line).ok().filter(|_| stream == Stream::Stderr)?;
            let fields = &entry["fields"];
            let is_it = fields["message"] == "delivery" && fields["reason"] == reason;
            is_it.then(|| fields["hint"].as_str().unwrap().to_owned())
        })
    };

    assert_eq!(send(server, &post("/webhook/civo", [], b"{}")).status, 404);
    assert_eq!(hint("no_route"), "`hooklatch check` lists the routes with their hosts and paths");
    assert_eq!(send(server, &get("/webhooks/civo")).status, 405);
    assert!(hint("method_not_allowed").contains("a browser asks with GET, providers send POST"));
    // The beginning of a TLS handshake: https:// to a listener without TLS.
    let mut tls = Connection::open(server);
    tls.write(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03");
    assert!(hint("bad_request").contains("speaks TLS and the other does not"));
    let unsigned = send(server, &post("/webhooks/civo", [], b"{}"));
    assert_eq!(
        (unsigned.status, unsigned.json()["title"].as_str()),
        (401, Some("The signature header is missing or empty"))
    );
    assert!(hint("missing_signature").contains("`hooklatch send ROUTE` sends a signed delivery"));

    // `send` prints the same advice.
    let url = format!("http://{server}/webhooks/civo");
    let (status, said) = told(folder.path(), &["send", "civo", "--url", &url]);
    let expected = "does the handler run, and does `upstream` of the route lead to it?";
    assert_eq!((status, said), (1, format!("hooklatch: upstream_unreachable: {expected}\n")));
    assert_eq!(hint("upstream_unreachable"), expected);
}
