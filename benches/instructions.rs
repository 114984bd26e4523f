//! Instructions per delivery, counted by callgrind: nearly the same on every machine, however busy it is.
//!
//! The release binary runs under `valgrind --tool=callgrind` twice, with few and with many deliveries on one
//! connection; the difference is what a delivery costs, the start excluded. Nothing is recorded, except in the case whose
//! name says so: that one has the record of a route by default, kept in memory. Some have a connection for each delivery, from its
//! acceptance to its end, in the clear or by TLS. A queued one is stored in SQLite, answered, sent and noted as delivered; the next
//! one comes when all threads have come to rest, since what comes together is stored together. User code only: system calls are
//! the kernel's. Valgrind has no SHA instructions, so that hashing in software would drown the rest: each case has two
//! figures, all of it and all but the hashes' compression. `cargo bench --bench instructions` prints them and fails if
//! one is more than 3 % over `benches/instructions.budget` (15 % where figures vary by themselves), or if a record adds more than
//! 2.25 % to all that a proxied delivery costs; with `-- --record` it writes
//! them there instead, with `-- --only TEXT` it runs only the cases that have this in their names. Once it is built, that takes a
//! minute; a run that hangs is ended after two.

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
use load::wire::Secure;
use load::{CLOSING, Load, Plan};
use rustix::process::{Pid, Signal, kill_process};
use rustls::version::TLS13;

/// What the deliveries of a run may take; they take a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// A change by more than this fails.
const TOLERANCE: f64 = 1.03;
/// The same for cases with a handshake, whose keys are random, and for those in which threads meet.
const LOOSE_TOLERANCE: f64 = 1.15;
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.budget");
const SECRET: &str = "benchmark-secret-of-32-bytes-len";
/// The crates whose functions are compression, everything else in them being inlined elsewhere.
const HASHES: [&str; 2] = ["sha1::", "sha2::"];
/// What a record may add to a proxied delivery: 2 %, and 0.25 % for slow machines. There, fewer records come within the 20 ms of a
/// batch, so each costs more.
const RECORD: f64 = 1.0225;

/// The cases with and without a record that are compared.
const RECORDED: &str = "circleci_3k_verified_recorded";
const NOT_RECORDED: &str = "circleci_3k_verified";

/// What is delivered, and how.
struct Case {
    name: &'static str,
    scheme: &'static str,
    /// Further keys of the route.
    keys: &'static str,
    /// Further sections.
    sections: &'static str,
    /// TLS 1.3, with ECDSA P-256 and without resumption.
    is_tls: bool,
    /// The requests with these numbers.
    requests: fn(u64) -> Vec<Vec<u8>>,
    status: u16,
    tolerance: f64,
    /// The deliveries of the shorter run.
    few: u64,
    /// How many more deliveries the longer run has. Start and end vary by some 50,000 instructions; many deliveries make that small.
    more: u64,
}

const CASES: [Case; 7] = [
    Case { name: NOT_RECORDED, requests: |count| repeated(circleci("", 1), count), ..CIRCLECI },
    Case {
        name: RECORDED,
        keys: "    record: metadata\n",
        requests: |count| repeated(circleci("", 1), count),
        // The store in memory has 1,000 records: from then on, each makes another one go.
        few: 1_100,
        ..CIRCLECI
    },
    Case {
        name: "icr_verified",
        scheme: "icr",
        requests: |count| repeated(signed("icr", "", &schemes::find("icr").unwrap().sample.body), count),
        ..CIRCLECI
    },
    Case {
        name: "circleci_3k_missing_signature",
        requests: |count| repeated(request("circleci", "", &circleci_body(1)), count),
        status: 401,
        ..CIRCLECI
    },
    Case { name: "circleci_3k_verified_new_connection", tolerance: LOOSE_TOLERANCE, more: 500, ..CIRCLECI },
    Case {
        name: "circleci_3k_verified_new_tls13_ecdsa",
        is_tls: true,
        tolerance: LOOSE_TOLERANCE,
        more: 500,
        ..CIRCLECI
    },
    Case {
        name: "circleci_3k_queued",
        keys: QUEUE,
        sections: "store: { path: store, min_free: 0MiB }\n",
        // An id that was there would be a duplicate.
        requests: |count| (0..count).map(|number| circleci("", number)).collect(),
        tolerance: LOOSE_TOLERANCE,
        more: 500,
        ..CIRCLECI
    },
];
const CIRCLECI: Case = Case {
    name: "",
    scheme: "circleci",
    keys: "    record: none\n",
    sections: "",
    is_tls: false,
    requests: |count| repeated(circleci(CLOSING, 1), count),
    status: 200,
    tolerance: TOLERANCE,
    few: 100,
    more: 2_000,
};
const QUEUE: &str = "    delivery: queue\n";

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` asks only whether it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let record = args.iter().any(|arg| arg == "--record");
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1));
    if record && only.is_some() {
        return Err(io::Error::other("--record writes the figures of all cases"));
    }
    let mut figures = BTreeMap::new();
    for case in CASES.iter().filter(|case| only.is_none_or(|part| case.name.contains(part))) {
        let few = run(case, case.few)?;
        let many = run(case, case.few + case.more)?;
        let each = |many: u64, few: u64| (many - few) / case.more;
        let figure = |many: u64, few: u64| (each(many, few), case.tolerance);
        figures.insert(case.name.to_owned(), figure(many.all, few.all));
        figures.insert(format!("{}_but_hashing", case.name), figure(many.but_hashing, few.but_hashing));
    }
    let all = |name: &str| figures.get(name).map(|(figure, _)| *figure as f64);
    let ratio = all(RECORDED).zip(all(NOT_RECORDED)).map(|(with, without)| with / without);
    match ratio {
        Some(ratio) => println!("a record adds {:.2} % to a proxied delivery", (ratio - 1.0) * 100.0),
        None if only.is_some() => {}
        None => return Err(io::Error::other("no case with a record, or none without")),
    }
    if record {
        let text: String = figures.iter().map(|(name, (figure, _))| format!("{name} {figure}\n")).collect();
        return fs::write(BUDGET, text);
    }
    let budget = fs::read_to_string(BUDGET)?;
    let budget: BTreeMap<&str, &str> = budget.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut over = ratio.is_some_and(|ratio| ratio > RECORD);
    for (name, (figure, tolerance)) in figures {
        let allowed = budget.get(name.as_str()).ok_or_else(|| io::Error::other(format!("no budget for {name}")))?;
        let ratio = figure as f64 / allowed.parse::<f64>().map_err(io::Error::other)?;
        over |= ratio > tolerance;
        println!("{name:<44} {figure:>8} instructions, {ratio:.3} of the budget");
    }
    if over { Err(io::Error::other("over the budget")) } else { Ok(()) }
}

/// User instructions of the whole process for this many deliveries.
fn run(case: &Case, deliveries: u64) -> io::Result<Instructions> {
    let mut load = Load::new()?;
    let folder = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let upstream = load.upstream()?;
    let Case { scheme, keys, sections, is_tls, .. } = case;
    let tls = if *is_tls { "  tls: { certificate: certificate.pem, private_key: key.pem }\n" } else { "" };
    let config = format!(
        "server:\n  listen: {address}\n  threads: 1\n{tls}admin:\n  listen: 127.0.0.1:0\nroutes:\n  - name: {scheme}\n    \
         path: /in\n    scheme: {scheme}\n    secrets: [{{ file: secret }}]\n    upstream: http://{upstream}/out\n{keys}{sections}"
    );
    fs::write(folder.path().join("gateway.yaml"), config)?;
    fs::write(folder.path().join("secret"), SECRET)?;
    if *is_tls {
        // Its key is for ECDSA P-256.
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        fs::write(folder.path().join("certificate.pem"), made.cert.pem())?;
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
    }
    let mut valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=callgrind.out", env!("CARGO_BIN_EXE_hooklatch")])
        .args(["serve", "-c", "gateway.yaml"])
        .current_dir(folder.path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let sent = wait_for(address).and_then(|()| send(&mut load, address, case, deliveries, valgrind.id()));
    Command::new("kill").arg(valgrind.id().to_string()).status()?;
    valgrind.wait()?;
    sent?;
    Instructions::read(&folder.path().join("callgrind.out"))
}

fn send(load: &mut Load, gateway: SocketAddr, case: &Case, deliveries: u64, process: u32) -> io::Result<()> {
    let requests = (case.requests)(deliveries);
    let secure = if case.is_tls { Some(Secure::new(&TLS13, false, false)?) } else { None };
    let plan = Plan {
        gateway,
        secure: secure.as_ref(),
        request: &[],
        status: case.status,
        connections: 1,
        time: PATIENCE,
        rate: None,
    };
    if load::closes(&requests[0]) {
        // Otherwise it would be up to chance whether the gateway sees a new connection with its request or without, and the last
        // part of a handshake with the request or before it.
        let stopped = Stopped::new(process)?;
        load.exactly(plan, &requests, 0, || stopped.turn(), || true)
    } else {
        let is_queued = case.keys == QUEUE;
        load.exactly(plan, &requests, u64::from(is_queued), || Ok(()), || !is_queued || rests(process))
    }
}

/// A process that is stopped but for its turns. It goes on when this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(process: u32) -> io::Result<Self> {
        let stopped = Self(process);
        stopped.stop()?;
        Ok(stopped)
    }

    /// Lets it run until it rests.
    fn turn(&self) -> io::Result<()> {
        self.signal(Signal::CONT)?;
        until(|| rests(self.0))?;
        self.stop()
    }

    fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        until(|| threads(self.0).iter().all(|(state, _)| *state == 'T'))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.0).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It fails only if the process has ended.
        let _ = self.signal(Signal::CONT);
    }
}

fn until(is_reached: impl Fn() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_reached() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the gateway neither stops nor comes to rest"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Whether no thread of a process runs or waits for the disk, and none has run between two looks: one that was seen asleep may have
/// been woken by the next.
fn rests(process: u32) -> bool {
    let before = threads(process);
    before.iter().all(|(state, _)| *state == 'S') && threads(process) == before
}

/// The state of each thread of a process (`S`: it sleeps, `T`: it is stopped), and how often it has been given a processor.
fn threads(process: u32) -> Vec<(char, String)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let read = |task: fs::DirEntry| {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        // The state comes after the name, which ends in a bracket.
        let state = read("stat").rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('S');
        (state, read("schedstat").split_whitespace().next_back().unwrap_or_default().to_owned())
    };
    tasks.flatten().map(read).collect()
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

fn repeated(request: Vec<u8>, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|_| request.clone()).collect()
}

fn circleci_body(number: u64) -> String {
    let filler = "x".repeat(3 * 1024);
    format!(r#"{{"type":"workflow-completed","id":"{number}","filler":"{filler}"}}"#)
}

fn circleci(lines: &str, number: u64) -> Vec<u8> {
    signed("circleci", lines, &circleci_body(number))
}

/// A signed delivery with further field lines.
fn signed(scheme: &str, lines: &str, body: &str) -> Vec<u8> {
    let secret = Secret::from(SECRET.as_bytes().to_vec());
    let verifier = schemes::find(scheme).unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap();
    let signature = verifier.sign_body(0, body.as_bytes(), Duration::ZERO).unwrap();
    let line =
        |(name, value): &(http::HeaderName, http::HeaderValue)| format!("{name}: {}\r\n", value.to_str().unwrap());
    let signature: String = signature.iter().map(line).collect();
    request(scheme, &(signature + lines), body)
}

fn request(scheme: &str, lines: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /in HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: {scheme}-Webhook/1.0\r\n\
         Content-Type: application/json\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
