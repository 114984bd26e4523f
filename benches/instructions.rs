//! Instructions per delivery, counted by callgrind: the same on every machine and in every mood of it.
//!
//! The release binary runs under `valgrind --tool=callgrind` twice, with few and with many deliveries on one
//! connection; the difference is what a delivery costs, the start excluded. User code only: system calls are the
//! kernel's. `cargo bench --bench instructions` prints the figures and fails if one is more than 3 % over
//! `benches/instructions.budget`; with `-- --record` it writes them there instead.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

#[allow(dead_code, reason = "shared with side_by_side")]
#[path = "side_by_side/load.rs"]
mod load;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hooklatch::schemes::{self, SchemeOptions, Secret};
use load::{Load, Plan};

/// A change by more than this fails.
const TOLERANCE: f64 = 1.03;
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.budget");
const SECRET: &str = "benchmark-secret-of-32-bytes-len";
const FEW: u64 = 100;
const MANY: u64 = 600;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--test") {
        return Ok(());
    }
    let record = args.iter().any(|arg| arg == "--record");
    let filler = "x".repeat(3 * 1024);
    let circleci = format!(r#"{{"type":"workflow-completed","id":"1","filler":"{filler}"}}"#);
    let icr = schemes::find("icr").unwrap().sample.body.clone();
    let cases = [
        ("circleci_3k_verified", "circleci", signed("circleci", &circleci), 200),
        ("icr_verified", "icr", signed("icr", &icr), 200),
        ("circleci_3k_missing_signature", "circleci", request("circleci", "", &circleci), 401),
    ];
    let mut figures = BTreeMap::new();
    for (name, scheme, request, status) in cases {
        let few = run(scheme, &request, status, FEW)?;
        let many = run(scheme, &request, status, MANY)?;
        figures.insert(name, (many - few) / (MANY - FEW));
    }
    if record {
        let text: String = figures.iter().map(|(name, figure)| format!("{name} {figure}\n")).collect();
        return fs::write(BUDGET, text);
    }
    let budget = fs::read_to_string(BUDGET)?;
    let mut over = false;
    for (name, figure) in figures {
        let line = budget.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        let allowed: f64 = line.trim().parse().map_err(io::Error::other)?;
        let ratio = figure as f64 / allowed;
        over |= ratio > TOLERANCE;
        println!("{name:<32} {figure:>8} instructions, {ratio:.3} of the budget");
    }
    if over { Err(io::Error::other("over the budget")) } else { Ok(()) }
}

/// User instructions of the whole process for this many deliveries.
fn run(scheme: &str, request: &[u8], status: u16, deliveries: u64) -> io::Result<u64> {
    let mut load = Load::new()?;
    let folder = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let upstream = load.upstream()?;
    let config = format!(
        "server:\n  listen: {address}\n  threads: 1\nadmin:\n  listen: 127.0.0.1:0\nroutes:\n  - name: {scheme}\n    \
         path: /in\n    scheme: {scheme}\n    secrets: [{{ file: secret }}]\n    upstream: http://{upstream}/out\n"
    );
    fs::write(folder.path().join("gateway.yaml"), config)?;
    fs::write(folder.path().join("secret"), SECRET)?;
    let mut valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=callgrind.out", env!("CARGO_BIN_EXE_hooklatch")])
        .args(["serve", "-c", "gateway.yaml"])
        .current_dir(folder.path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let sent = wait_for(address).and_then(|()| send(&mut load, address, request, status, deliveries));
    Command::new("kill").arg(valgrind.id().to_string()).status()?;
    valgrind.wait()?;
    sent?;
    total(&folder.path().join("callgrind.out"))
}

fn send(load: &mut Load, gateway: SocketAddr, request: &[u8], status: u16, deliveries: u64) -> io::Result<()> {
    let plan = Plan { gateway, request, status, connections: 1, time: Duration::MAX, rate: None };
    load.exactly(plan, deliveries)
}

fn wait_for(address: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the gateway does not start under valgrind"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// The `summary:` line of a callgrind file.
fn total(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    let line = line.ok_or_else(|| io::Error::other("callgrind wrote no summary"))?;
    line.trim().parse().map_err(io::Error::other)
}

fn signed(scheme: &str, body: &str) -> Vec<u8> {
    let secret = Secret::from(SECRET.as_bytes().to_vec());
    let verifier = schemes::find(scheme).unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap();
    let lines = verifier.sign_body(0, body.as_bytes(), Duration::ZERO).unwrap();
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
    request(scheme, &lines, body)
}

fn request(scheme: &str, signature: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /in HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: {scheme}-Webhook/1.0\r\n\
         Content-Type: application/json\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n{signature}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
