//! `explain` for what people have in hand: exports of other programs and the outputs of curl, through the binary.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::support::process::BINARY;
use crate::support::tools::tool;

const SECRET: &str = "canary-canary-canary-1";
const BODY: &str = "{\"event\":\"instance.created\",\n  \"name\":\"caf\u{e9}\"}\r\n";

const CONFIGURATION: &str = r#"
routes:
  - { name: civo, path: /civo, scheme: civo, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1" }
  - { name: mailgun, path: /mailgun, scheme: mailgun, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1" }
  - { name: gitlab, path: /gitlab, scheme: gitlab, secrets: [{ env: SECRET }], upstream: "http://127.0.0.1:1" }
"#;

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    base16ct::lower::encode_string(&mac.finalize().into_bytes())
}

/// A folder with the configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.yaml"), CONFIGURATION).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// The exit status of `explain`, and what it prints.
    fn explain(&self, route: &str, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(BINARY);
        command.args(["explain", route]).args(arguments).current_dir(self.0.path()).env("SECRET", SECRET);
        let output = command.env_remove("RUST_LOG").stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains(SECRET), "{text}");
        (output.status.code().unwrap(), text)
    }

    /// The same for a file with this content.
    fn explain_file(&self, content: impl AsRef<[u8]>) -> (i32, String) {
        fs::write(self.path("file"), content).unwrap();
        self.explain("civo", &["--request", "file"])
    }
}

#[track_caller]
fn accepted((status, text): (i32, String), format: &str) {
    assert_eq!(status, 0, "{text}");
    assert!(text.starts_with("accepted: signed with the secret \"0\"\n"), "{text}");
    assert!(text.contains(&format!("\nnote: the file was read as {format}\n")), "{text}");
}

/// That the verdict is left open, with these words.
#[track_caller]
fn unclear((status, text): (i32, String), words: &[&str]) {
    assert_eq!(status, 1, "{text}");
    assert!(text.starts_with("unclear: as the file has it, it is refused: signature_mismatch (401): "), "{text}");
    assert!(text.contains("\nnote: the body may not be the one that came: "), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} in {text}");
    }
}

fn headers(body: &str) -> Value {
    json!({ "content-length": body.len().to_string(), "content-type": "application/json", "x-civo-signature": signature(body) })
}

fn har(body: &str, text: &str, url: &str) -> Value {
    let headers: Vec<Value> = headers(body)
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    json!({ "startedDateTime": "2026-01-31T12:00:00Z", "request": {
        "method": "POST", "url": url, "httpVersion": "HTTP/2", "headers": headers, "queryString": [],
        "postData": { "mimeType": "application/json", "text": text }, "bodySize": -1,
    }})
}

fn har_of(entries: &[Value]) -> String {
    json!({ "log": { "version": "1.2", "entries": entries } }).to_string()
}

#[test]
fn har_is_judged_by_its_newest_post_or_by_the_one_that_is_asked_for() {
    let folder = Folder::new();
    let url = "https://hooks.example/civo?a=b";
    accepted(folder.explain_file(har_of(&[har(BODY, BODY, url)])), "a HAR file");
    let mut wrong = har(BODY, BODY, "https://hooks.example/elsewhere");
    wrong["startedDateTime"] = "2026-01-31T11:59:59Z".into();
    let (status, text) = folder.explain_file(har_of(&[har(BODY, BODY, url), wrong]));
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("note: the file has 2 requests; the newest POST was taken, number 1: --entry N"), "{text}");
    let (status, text) = folder.explain("civo", &["--request", "file", "--entry", "2"]);
    assert!(status == 1 && text.starts_with("refused: no_route"), "{text}");
    assert!(text.contains("apart from that, the signature is right"), "{text}");
    let (status, text) = folder.explain("civo", &["--request", "file", "--entry", "3"]);
    assert!(status == 2 && text.contains("has 2 requests, and --entry asks for number 3"), "{text}");
}

#[test]
fn a_verdict_on_bytes_that_are_not_known_is_left_open() {
    let folder = Folder::new();
    let url = "https://hooks.example/civo";
    let changed = BODY.replace("\r\n", "\n");
    let left_open = folder.explain_file(har_of(&[har(BODY, &changed, url)]));
    assert!(!left_open.1.contains("wrong secret"), "{}", left_open.1);
    unclear(left_open, &["announced 48 bytes, and the file has 47"]);
    // What is wrong whatever the body is, is said as such.
    let mut unsigned = har(BODY, &changed, url);
    unsigned["request"]["headers"].as_array_mut().unwrap().pop();
    let (status, text) = folder.explain_file(har_of(&[unsigned]));
    assert!(status == 1 && text.starts_with("refused: missing_signature (401): "), "{text}");
    // The bytes are known: a wrong signature is one.
    let wrong = har_of(&[har(BODY, BODY, url)]).replace(&signature(BODY), &signature("another"));
    let (status, text) = folder.explain_file(wrong);
    assert!(status == 1 && text.starts_with("refused: signature_mismatch"), "{text}");
    assert!(!text.contains("may not be the one that came"), "{text}");
}

#[test]
fn exports_of_services_are_judged() {
    let folder = Folder::new();
    let raw = format!(
        "POST /civo HTTP/1.1\r\nHost: a.example\r\nX-Civo-Signature: {}\r\nContent-Length: {}\r\n\r\n{BODY}",
        signature(BODY),
        BODY.len()
    );
    let ngrok = |raw: &str| {
        let request = json!({ "method": "POST", "proto": "HTTP/1.1", "uri": "/civo", "raw": STANDARD.encode(raw) });
        json!({ "uri": "/api/requests/http", "requests": [{ "start": "2026-01-31T12:00:00Z", "request": request }] })
    };
    accepted(folder.explain_file(ngrok(&raw).to_string()), "JSON of ngrok's agent");
    accepted(folder.explain_file(ngrok(&raw)["requests"][0].to_string()), "JSON of ngrok's agent");
    let cut = ngrok(&raw[..raw.len() - 9]).to_string();
    unclear(folder.explain_file(cut), &["ngrok keeps only the beginning of a long body"]);

    let webhook_site = json!({ "uuid": "1", "type": "web", "token_id": "2", "method": "POST", "content": BODY,
        "headers": headers(BODY), "url": "https://webhook.site/2?a=b", "size": BODY.len(), "query": { "a": "b" },
        "created_at": "2026-01-31 12:00:00" });
    accepted(folder.explain_file(webhook_site.to_string()), "JSON of webhook.site");
    accepted(
        folder.explain_file(json!({ "data": [webhook_site], "per_page": 50 }).to_string()),
        "JSON of webhook.site",
    );

    let plain = r#"{"event":"instance.created","price":10.00}"#;
    let hookdeck = |body: Value, signed: &str| {
        let data = json!({ "path": "/", "query": "a=b", "parsed_query": {}, "headers": headers(signed), "body": body });
        json!({ "models": [{ "id": "evt_1", "team_id": "tm_1", "created_at": "2026-01-31T12:00:00Z", "data": data }] })
    };
    accepted(folder.explain_file(hookdeck(BODY.into(), BODY).to_string()), "JSON of Hookdeck");
    let parsed = hookdeck("BODY".into(), plain).to_string().replace("\"BODY\"", plain);
    accepted(folder.explain_file(parsed), "JSON of Hookdeck");
    let spaced = "{\n  \"event\": \"instance.created\"\n}";
    let parsed = hookdeck(json!({ "event": "instance.created" }), spaced).to_string();
    unclear(folder.explain_file(parsed), &["cause: the body was changed", "Hookdeck keeps JSON parsed"]);
}

#[test]
fn a_head_in_the_words_of_http_2_or_from_a_page_is_judged() {
    let folder = Folder::new();
    let signature = signature(BODY);
    for head in [
        format!("POST /civo HTTP/2\r\nhost: a.example\r\nx-civo-signature: {signature}\r\n"),
        format!(":method: POST\n:authority: a.example\n:scheme: https\n:path: /civo\nx-civo-signature: {signature}\n"),
        format!("Request URL: https://a.example/civo\nRequest method: POST\nX-Civo-Signature: {signature}\n"),
        format!("Content-Type: application/json\nX-Civo-Signature: {signature}\n"),
    ] {
        accepted(folder.explain_file(format!("{head}\r\n{BODY}")), "raw HTTP");
        fs::write(folder.path("head"), &head).unwrap();
        fs::write(folder.path("body"), BODY).unwrap();
        accepted(folder.explain("civo", &["--request", "head", "--body", "body"]), "raw HTTP");
    }
    let (status, text) = folder.explain("civo", &["--request", "file", "--body", "body"]);
    assert!(status == 2 && text.contains("leave out --body"), "{text}");
    for option in [&["--body", "body"], &["--entry", "1"], &["--at", "1"]] {
        let (status, text) = folder.explain("civo", &[&option[..], &["--last"]].concat());
        assert!(status == 2 && text.contains("cannot be used with"), "{text}");
    }
}

/// A server that answers everything, and curl: its program and the URL to send to.
fn curl() -> Option<(String, String)> {
    let program = tool("curl")?.get_program().to_str().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/civo", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap())));
    Some((program, url))
}

/// Reads a request, whose body has a length or is in chunks, and answers it.
fn answer(mut stream: TcpStream) {
    let (mut bytes, mut piece, mut continued) = (Vec::new(), [0; 4096], false);
    loop {
        let count = stream.read(&mut piece).unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if head.contains("Expect: 100-continue") && !std::mem::replace(&mut continued, true) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        let is_whole = length.map_or(body.ends_with("0\r\n\r\n"), |length| body.len() >= length);
        if is_whole || count == 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            return;
        }
    }
}

fn run(program: &str, folder: &Path, arguments: &[&str], url: &str, body: &str) -> Vec<u8> {
    let signature = format!("X-Civo-Signature: {}", signature(body));
    let common = ["--silent", "--show-error", "--noproxy", "*", "--max-time", "30", "-o", "out", "-H", &signature, url];
    let output = Command::new(program).args(arguments).args(common).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stderr
}

#[test]
fn what_curl_writes_of_a_request_is_judged() {
    let Some((program, url)) = curl() else { return };
    let folder = Folder::new();
    fs::write(folder.path("body"), BODY).unwrap();
    let send =
        |options: &[&str]| run(&program, folder.0.path(), &[options, &["--data-binary", "@body"]].concat(), &url, BODY);
    for more in [&[][..], &["--trace-time"], &["-H", "Transfer-Encoding: chunked"], &["-H", "Expect: 100-continue"]] {
        send(&[&["--trace", "trace"], more].concat());
        accepted(folder.explain("civo", &["--request", "trace"]), "the output of curl --trace");
        send(&[&["--trace-ascii", "ascii"], more].concat());
        unclear(folder.explain("civo", &["--request", "ascii"]), &["curl --trace-ascii", "--trace keeps the bytes"]);
        let verbose = send(&[&["--verbose"], more].concat());
        fs::write(folder.path("verbose"), verbose).unwrap();
        let words = ["the output of curl -v", "curl -v does not print the body: name its file with --body"];
        unclear(folder.explain("civo", &["--request", "verbose"]), &words);
        let (_, text) = folder.explain("civo", &["--request", "verbose"]);
        assert!(!text.contains("hint: ") && !text.contains("cause: "), "{text}");
        accepted(folder.explain("civo", &["--request", "verbose", "--body", "body"]), "the output of curl -v");
    }
    // Without a full stop and a byte that is none, nothing is lost.
    let printable = "[\"a long text, of more than the sixty-four characters that stand in a line of the output\"]\r\nx";
    fs::write(folder.path("body"), printable).unwrap();
    run(&program, folder.0.path(), &["--trace-ascii", "ascii", "--data-binary", "@body"], &url, printable);
    accepted(folder.explain("civo", &["--request", "ascii"]), "the output of curl --trace-ascii");
}

#[test]
fn a_curl_command_is_judged_by_what_curl_sends_for_it() {
    let Some((program, url)) = curl() else { return };
    let folder = Folder::new();
    fs::write(folder.path("body"), BODY).unwrap();
    let escaped = BODY.replace('\r', "\\r").replace('\n', "\\n");
    for data in
        [format!("--data-raw $'{escaped}'"), format!("--data-binary '{BODY}'"), "--data-binary @body".to_owned()]
    {
        let command = format!(
            "curl '{url}' \\\n  -X POST \\\n  -H 'x-civo-signature: {}' \\\n  {data} --compressed",
            signature(BODY)
        );
        accepted(folder.explain_file(&command), "a curl command");
        // What curl does send for it.
        let script = format!("{} --silent --noproxy '*' -o out --trace trace", command.replacen("curl", &program, 1));
        let status = Command::new("bash").args(["-c", &script]).current_dir(folder.0.path()).status().unwrap();
        assert!(status.success());
        accepted(folder.explain("civo", &["--request", "trace"]), "the output of curl --trace");
    }
    // -d drops the newlines of a file, which is a change of the body and not of the format.
    let command = format!("curl -d @body -H 'x-civo-signature: {}' {url}", signature(BODY));
    let (status, text) = folder.explain_file(&command);
    assert!(status == 1 && text.starts_with("refused: signature_mismatch"), "{text}");
    let (status, text) = folder.explain_file(command.replace("@body", "@/dev/zero"));
    assert!(status == 2 && text.contains("more than 64 MiB"), "{text}");
    let (status, text) = folder.explain("civo", &["--request", "/dev/zero"]);
    assert!(status == 2 && text.contains("/dev/zero has more than 64 MiB"), "{text}");
}

#[test]
fn bytes_that_a_command_does_not_show_as_they_are_leave_the_verdict_open() {
    let folder = Folder::new();
    let command = |data: &str| {
        format!("curl -H 'x-civo-signature: {}' --data-raw {data} https://a.example/civo", signature(BODY))
    };
    unclear(folder.explain_file(command("$'\\xff{}'")), &["that are not read as the shell reads them"]);
    unclear(folder.explain_file(command("$'a\\0b'")), &["a NUL"]);
    let (status, text) = folder.explain_file(command("$'\\xc3\\xa9'"));
    assert!(status == 1 && text.starts_with("refused: signature_mismatch"), "{text}");
}

#[test]
fn a_form_of_curl_is_judged_by_its_fields_and_left_open_where_the_bytes_count() {
    let folder = Folder::new();
    let signed = format!("curl -F a=b -H 'x-civo-signature: {}' https://a.example/civo", signature(BODY));
    unclear(folder.explain_file(signed), &["makes up the boundary", "--trace keeps them"]);
    let token = format!("curl -F a=b -F c=@file -H 'X-Gitlab-Token: {SECRET}' https://a.example/gitlab");
    fs::write(folder.path("form"), token).unwrap();
    accepted(folder.explain("gitlab", &["--request", "form"]), "a curl command");
    // What curl sends has the same fields: only the boundary is another.
    let Some((program, url)) = curl() else { return };
    fs::write(folder.path("a.txt"), "text\r\n").unwrap();
    let fields = ["-F", "a=b;type=text/x", "-F", "f=@a.txt", "-F", "g=<a.txt", "--form-string", "h=@x;y"];
    run(&program, folder.0.path(), &[&["--trace-ascii", "ascii"], &fields[..]].concat(), &url, BODY);
    let sent = fs::read_to_string(folder.path("ascii")).unwrap();
    for line in
        ["name=\"a\"", "Content-Type: text/x", "name=\"f\"; filename=\"a.txt\"", "Content-Type: text/plain", "@x;y"]
    {
        assert!(sent.contains(line), "{line} in {sent}");
    }
}

#[test]
fn a_file_of_windows_powershell_is_read() {
    let folder = Folder::new();
    let utf16 = |text: &str, to_bytes: fn(u16) -> [u8; 2]| {
        ["\u{feff}", text].concat().encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>()
    };
    let url = "https://hooks.example/civo";
    let file = har_of(&[har(BODY, BODY, url)]);
    for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let (status, text) = folder.explain_file(utf16(&file, to_bytes));
        assert!(status == 0 && text.contains("note: the file is UTF-16"), "{text}");
    }
    let raw =
        |body: &str| format!("POST /civo HTTP/1.1\r\nHost: a\r\nX-Civo-Signature: {}\r\n\r\n{body}", signature(BODY));
    unclear(folder.explain_file(utf16(&raw("{\"é\":1}"), u16::to_le_bytes)), &["may have changed line ends"]);
    let (status, text) = folder.explain_file([utf16(&file, u16::to_le_bytes), vec![0]].concat());
    assert!(status == 2 && text.contains("begins as UTF-16, but is none"), "{text}");
}

#[test]
fn a_head_that_no_server_may_read_is_said_to_be_one() {
    let folder = Folder::new();
    let mut both = har(BODY, BODY, "https://hooks.example/civo");
    both["request"]["headers"].as_array_mut().unwrap().push(json!({ "name": "Transfer-Encoding", "value": "chunked" }));
    let (status, text) = folder.explain_file(har_of(&[both]));
    assert!(status == 1 && text.starts_with("refused: bad_request (400)"), "{text}");
    assert!(text.contains("note: the head has Content-Length and Transfer-Encoding"), "{text}");
}

#[test]
fn a_verdict_that_needs_no_body_needs_none() {
    let folder = Folder::new();
    let head = format!("> POST /gitlab HTTP/1.1\n> Host: a\n> X-Gitlab-Token: {SECRET}\n> Content-Length: 9\n>\n");
    fs::write(folder.path("verbose"), &head).unwrap();
    accepted(folder.explain("gitlab", &["--request", "verbose"]), "the output of curl -v");
    fs::write(folder.path("verbose"), head.replace("/gitlab", "/x")).unwrap();
    let (status, text) = folder.explain("gitlab", &["--request", "verbose"]);
    assert!(status == 1 && text.starts_with("refused: no_route"), "{text}");
    assert!(text.contains("apart from that, the signature is right\n"), "{text}");
    // A wrong token is wrong whatever the body is; a signature that would stand in the body is not missing.
    fs::write(folder.path("verbose"), head.replace(SECRET, "another-token-of-this-length")).unwrap();
    let (status, text) = folder.explain("gitlab", &["--request", "verbose"]);
    assert!(status == 1 && text.starts_with("refused: signature_mismatch"), "{text}");
    fs::write(folder.path("verbose"), head.replace("/gitlab", "/mailgun")).unwrap();
    let (status, text) = folder.explain("mailgun", &["--request", "verbose"]);
    assert!(status == 1 && text.starts_with("unclear: as the file has it, it is refused: missing_signature"), "{text}");
}
