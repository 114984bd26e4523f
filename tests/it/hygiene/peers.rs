//! What other servers do with requests that the gateway refuses: the table in src/http1/README.md.
//!
//! `UPDATE_DOCS=1 cargo test --test it what_other_servers_do` writes the table anew. The columns of nginx and HAProxy depend on
//! their installed versions, so only those of the gateway and of hyper are compared without it.

use std::convert::Infallible;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::{rig, written};
use crate::in_front::own_address;
use crate::support::process::{Process, poll};
use crate::support::tools::tool;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http1/README.md");
/// The first cell of the table.
const CORNER: &str = "| Request |";
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests with one fault each.
const REQUESTS: &[(&str, &str)] = &[
    (
        "`Content-Length` beside `Transfer-Encoding` (RFC 9112 section 6.1)",
        "HEADContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("`Content-Length: 5` twice (6.3)", "HEADContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("`Content-Length: 5, 5` (6.3)", "HEADContent-Length: 5, 5\r\n\r\nhello"),
    ("`Content-Length: +5` (6.2)", "HEADContent-Length: +5\r\n\r\nhello"),
    (
        "`chunked` with HTTP/1.0 (6.1)",
        "POST /hook/x HTTP/1.0\r\nHost: a\r\nSIG\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("`Transfer-Encoding: gzip, chunked` (6.1)", "HEADTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (
        "`Transfer-Encoding: chunked, chunked` (6.1)",
        "HEADTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("a bare LF after a field line (2.2)", "HEADX: y\nContent-Length: 5\r\n\r\nhello"),
    ("a bare LF after a chunk size (7.1)", "HEADTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    ("a bare LF after a chunk's data (7.1)", "HEADTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    ("a bare CR in a value (2.2)", "HEADX: y\rz\r\nContent-Length: 5\r\n\r\nhello"),
    ("a NUL in a value (RFC 9110 section 5.5)", "HEADX: y\0z\r\nContent-Length: 5\r\n\r\nhello"),
    ("a space before the colon (5.1)", "HEADX : y\r\nContent-Length: 5\r\n\r\nhello"),
    ("obsolete line folding (5.2)", "HEADX: y\r\n z\r\nContent-Length: 5\r\n\r\nhello"),
    ("a space in the target (3.2)", "POST /hook/x y HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    ("a `#` in the target (3.2)", "POST /hook/x#y HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "a non-ASCII byte in the target (3.2)",
        "POST /hook/<ff> HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("a request line of 70 kB (3)", "POST /hook/LONG HTTP/1.1\r\nHost: a\r\nSIG\r\nContent-Length: 5\r\n\r\nhello"),
];

/// A server, if it is installed, and what keeps it alive.
struct Peer {
    name: String,
    address: SocketAddr,
    _process: Option<(Process, tempfile::TempDir)>,
}

#[test]
fn what_other_servers_do_with_refused_requests_stands_in_the_readme() {
    let rig = rig();
    let gateway = Peer { name: "hooklatch".to_owned(), address: rig.gateway.server, _process: None };
    let hyper = Peer { name: format!("hyper {}", hyper_version()), address: hyper(), _process: None };
    let is_update = std::env::var_os("UPDATE_DOCS").is_some();
    let mut peers = vec![gateway, hyper];
    if is_update {
        let upstream = peers[1].address;
        peers.extend([nginx(upstream), haproxy(upstream)].into_iter().flatten());
    }
    let cells = |peer: &Peer| -> Vec<String> {
        let outcomes = REQUESTS.iter().map(|(_, text)| outcome(peer.address, &written(text)));
        [peer.name.clone(), "---".to_owned()].into_iter().chain(outcomes).collect()
    };
    let columns: Vec<Vec<String>> = peers.iter().map(cells).collect();
    let names = ["Request", "---"].into_iter().chain(REQUESTS.iter().map(|(name, _)| *name));
    let rows: Vec<String> = names
        .enumerate()
        .map(|(at, name)| {
            let cells: String = columns.iter().map(|column| format!(" {} |", column[at])).collect();
            format!("| {name} |{cells}")
        })
        .collect();
    rig.upstream.expect_nothing();
    let readme = fs::read_to_string(README).unwrap();
    let start = readme.find(CORNER).unwrap();
    let end = start + readme[start..].find("\n\n").unwrap_or(readme.len() - start);
    if is_update {
        fs::write(README, [&readme[..start], &rows.join("\n"), &readme[end..]].concat()).unwrap();
        return;
    }
    let documented: Vec<&str> = readme[start..end].trim_end().lines().collect();
    assert_eq!(documented.len(), rows.len());
    for (documented, row) in documented.iter().zip(&rows) {
        assert!(documented.starts_with(row.as_str()), "UPDATE_DOCS=1 writes it anew:\n{documented}\n{row}");
    }
}

/// The status of a refusal, or `accepts`.
fn outcome(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut response = Vec::new();
    let mut piece = [0; 4096];
    while !response.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) if response.is_empty() => return "closes".to_owned(),
            Ok(0) | Err(_) => break,
            Ok(read) => response.extend_from_slice(&piece[..read]),
        }
    }
    let text = String::from_utf8_lossy(&response).to_ascii_lowercase();
    match text.find("\r\nx-body: ") {
        Some(_) => "accepts".to_owned(),
        None => text.split(' ').nth(1).unwrap_or_default().to_owned(),
    }
}

/// hyper's server with its default options, which tells the length of each body it has read.
fn hyper() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(tell)));
            }
        });
    });
    address
}

async fn tell(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.into_body().collect().await {
        Ok(body) => Response::builder().header("x-body", body.to_bytes().len()).body(Full::default()).unwrap(),
        Err(_) => Response::builder().status(400).body(Full::default()).unwrap(),
    })
}

/// The version in the lock file.
fn hyper_version() -> String {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let (_, after) = lock.split_once("name = \"hyper\"\nversion = \"").unwrap();
    after.split('"').next().unwrap().to_owned()
}

/// nginx as a reverse proxy, with its default options.
fn nginx(upstream: SocketAddr) -> Option<Peer> {
    let version = version(tool("nginx")?.arg("-v"));
    run("nginx", version, |command, folder, listen| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{temporary}\
             server {{ listen {listen}; location / {{ proxy_pass http://{upstream}; }} }} }}\n",
            folder.display()
        );
        fs::write(folder.join("conf"), text).unwrap();
        command.args(["-e", "stderr", "-c"]).arg(folder.join("conf"));
    })
}

/// HAProxy as a reverse proxy, with its default options.
fn haproxy(upstream: SocketAddr) -> Option<Peer> {
    let version = version(tool("haproxy")?.arg("-v"));
    run("haproxy", version, |command, folder, listen| {
        let text = format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nfrontend f\n bind {listen}\n \
             default_backend b\nbackend b\n server s {upstream}\n"
        );
        fs::write(folder.join("conf"), text).unwrap();
        command.arg("-db").arg("-f").arg(folder.join("conf"));
    })
}

fn version(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let digits = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    digits.into_iter().find(|word| word.contains('.')).unwrap_or_default().to_owned()
}

/// Starts a server that `configure` has told where to listen, and waits until it does.
fn run(name: &str, version: String, configure: impl Fn(&mut Command, &Path, SocketAddr)) -> Option<Peer> {
    let (mut command, folder, address) = (tool(name)?, tempfile::tempdir().unwrap(), own_address());
    configure(&mut command, folder.path(), address);
    let process = Process::start(name, &mut command, "");
    poll(name, || TcpStream::connect(address).is_ok());
    Some(Peer { name: format!("{name} {version}"), address, _process: Some((process, folder)) })
}
