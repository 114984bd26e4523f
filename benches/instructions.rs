//! Instructions per delivery, counted by callgrind: the same on every machine and in every mood of it.
//!
//! The release binary runs under `valgrind --tool=callgrind` twice, with few and with many deliveries on one
//! connection; the difference is what a delivery costs, the start excluded. Nothing is recorded, except in the case whose
//! name says so: that one has the record of a route by default, kept in memory. User code only: system calls are the
//! kernel's. Valgrind has no SHA instructions, so that hashing in software would drown the rest: each case has two
//! figures, all of it and all but the hashes' compression. `cargo bench --bench instructions` prints them and fails if
//! one is more than 3 % over `benches/instructions.budget`; with `-- --record` it writes them there instead. Once it is
//! built, that takes half a minute; a run that hangs is ended after two.

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

/// What the deliveries of a run may take; they take a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// A change by more than this fails.
const TOLERANCE: f64 = 1.03;
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.budget");
const SECRET: &str = "benchmark-secret-of-32-bytes-len";
/// The crates whose functions are compression, everything else in them being inlined elsewhere.
const HASHES: [&str; 2] = ["sha1::", "sha2::"];
const FEW: u64 = 100;
const MANY: u64 = 600;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` asks only whether it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let record = args.iter().any(|arg| arg == "--record");
    let filler = "x".repeat(3 * 1024);
    let circleci = format!(r#"{{"type":"workflow-completed","id":"1","filler":"{filler}"}}"#);
    let icr = schemes::find("icr").unwrap().sample.body.clone();
    let cases = [
        ("circleci_3k_verified", "circleci", "none", signed("circleci", &circleci), 200),
        ("circleci_3k_verified_recorded", "circleci", "metadata", signed("circleci", &circleci), 200),
        ("icr_verified", "icr", "none", signed("icr", &icr), 200),
        ("circleci_3k_missing_signature", "circleci", "none", request("circleci", "", &circleci), 401),
    ];
    let mut figures = BTreeMap::new();
    for (name, scheme, record, request, status) in cases {
        let few = run(scheme, record, &request, status, FEW)?;
        let many = run(scheme, record, &request, status, MANY)?;
        let each = |many: u64, few: u64| (many - few) / (MANY - FEW);
        figures.insert(name.to_owned(), each(many.all, few.all));
        figures.insert(format!("{name}_but_hashing"), each(many.but_hashing, few.but_hashing));
    }
    if record {
        let text: String = figures.iter().map(|(name, figure)| format!("{name} {figure}\n")).collect();
        return fs::write(BUDGET, text);
    }
    let budget = fs::read_to_string(BUDGET)?;
    let budget: BTreeMap<&str, &str> = budget.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut over = false;
    for (name, figure) in figures {
        let allowed = budget.get(name.as_str()).ok_or_else(|| io::Error::other(format!("no budget for {name}")))?;
        let ratio = figure as f64 / allowed.parse::<f64>().map_err(io::Error::other)?;
        over |= ratio > TOLERANCE;
        println!("{name:<44} {figure:>8} instructions, {ratio:.3} of the budget");
    }
    if over { Err(io::Error::other("over the budget")) } else { Ok(()) }
}

/// User instructions of the whole process for this many deliveries.
fn run(scheme: &str, record: &str, request: &[u8], status: u16, deliveries: u64) -> io::Result<Instructions> {
    let mut load = Load::new()?;
    let folder = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let upstream = load.upstream()?;
    let config = format!(
        "server:\n  listen: {address}\n  threads: 1\nadmin:\n  listen: 127.0.0.1:0\nroutes:\n  - name: {scheme}\n    \
         path: /in\n    scheme: {scheme}\n    secrets: [{{ file: secret }}]\n    upstream: http://{upstream}/out\n    record: {record}\n"
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
    Instructions::read(&folder.path().join("callgrind.out"))
}

fn send(load: &mut Load, gateway: SocketAddr, request: &[u8], status: u16, deliveries: u64) -> io::Result<()> {
    let plan = Plan { gateway, request, status, connections: 1, time: PATIENCE, rate: None, shares_core: false };
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

/// What callgrind has counted.
struct Instructions {
    all: u64,
    but_hashing: u64,
}

impl Instructions {
    /// From a file in callgrind's format: `fn=` begins a function, `calls=` is followed by the cost of what it calls,
    /// any other line of two numbers is a cost of its own.
    fn read(path: &Path) -> io::Result<Self> {
        let (mut all, mut hashing) = (0, 0);
        let mut is_hash: BTreeMap<String, bool> = BTreeMap::new();
        let (mut in_hash, mut of_callee) = (false, false);
        for line in fs::read_to_string(path)?.lines() {
            if let Some((mark, name)) = line.split_once('=').filter(|(mark, _)| matches!(*mark, "fn" | "cfn")) {
                // `(7) name` the first time, then `(7)`.
                let (id, name) = name.split_once(' ').unwrap_or((name, ""));
                let hash =
                    *is_hash.entry(id.to_owned()).or_insert_with(|| HASHES.iter().any(|hash| name.starts_with(hash)));
                in_hash = if mark == "fn" { hash } else { in_hash };
            } else if line.starts_with("calls=") {
                of_callee = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost =
                    line.split_once(' ').map_or(Ok(0), |(_, cost)| cost.parse::<u64>()).map_err(io::Error::other)?;
                let own = if std::mem::take(&mut of_callee) { 0 } else { cost };
                all += own;
                hashing += if in_hash { own } else { 0 };
            }
        }
        // The start alone hashes a key.
        if hashing == 0 {
            return Err(io::Error::other("callgrind names no hash function: the build has no symbols"));
        }
        Ok(Self { all, but_hashing: all - hashing })
    }
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
