//! hooklatch beside its peers: CPU, throughput, latency, memory, start. `scripts/bench` runs this and says how to read
//! it. With `--durable`: the queue beside what else stores deliveries; `--cluster`: of that, gateways on one PostgreSQL alone.
//! With `--watched`: what open lists of the page cost. With `--connections`: new connections and TLS, HTTP/2, many secrets and
//! headers. With `--growth`: how the cost grows with the sizes. `--only TEXT` measures only what has this in its name.
//!
//! Figures come from slices in turn (A B A B …), since machines flip between fast and slow phases; each is a median with
//! its spread over the rounds. The gateway has core 0; the load and the upstream spin on core 1, in one thread. Where a gateway
//! has both cores, they sleep when they have nothing to do.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod backlog;
mod capacity;
mod certificate;
mod cluster;
mod connections;
mod durable;
mod exchange;
mod growth;
#[allow(dead_code, reason = "shared with instructions.rs")]
mod load;
mod memory;
mod peers;
mod plot;
#[path = "../../tests/it/support/postgres/programs.rs"]
mod programs;
mod requests;
mod routes;
mod speed;
mod stores;
mod table;
mod watched;

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use load::{Load, Plan};
use peers::{Gateway, Setting, Start};
use table::Table;

/// The cores of the gateway, of the load, and of both where the gateway has two.
const GATEWAY: &str = "0";
const LOAD: &str = "1";
const BOTH: &str = "0,1";
/// Keep-alive connections.
const CONNECTIONS: usize = 64;

/// What to measure, and for how long.
struct Effort {
    rounds: usize,
    slice: Duration,
    /// A part of the names of the measures that are wanted; `None`: all of them.
    only: Option<String>,
}

impl Effort {
    fn wants(&self, measure: &str) -> bool {
        self.only.as_ref().is_none_or(|part| measure.contains(part.as_str()))
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` asks only whether it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1)).cloned();
    let effort = if quick {
        Effort { rounds: 3, slice: Duration::from_millis(200), only }
    } else {
        Effort { rounds: 9, slice: Duration::from_secs(1), only }
    };
    pin(LOAD)?;
    let mut load = Load::new()?;
    if args.iter().any(|arg| arg == "--durable") {
        return durable::run(&mut load, &effort, quick);
    }
    if args.iter().any(|arg| arg == "--cluster") {
        return durable::run_cluster(&mut load, &effort);
    }
    if args.iter().any(|arg| arg == "--watched") {
        return watched::run(&mut load, &effort, quick);
    }
    if args.iter().any(|arg| arg == "--growth") {
        return growth::run(&mut load, &effort, args.iter().any(|arg| arg == "--write"));
    }
    if args.iter().any(|arg| arg == "--connections") {
        return connections::run(&mut load, &effort, args.iter().any(|arg| arg == "--write"));
    }
    let mut table = Table::new();
    speed::cpu(&mut load, &effort, &mut table)?;
    speed::refusals(&mut load, &effort, &mut table)?;
    speed::instructions(&mut load, &effort, &mut table)?;
    speed::throughput(&mut load, &effort, &mut table)?;
    speed::latency(&mut load, &effort, &mut table)?;
    memory::idle(&mut load, &effort, &mut table)?;
    memory::large(&mut load, &effort, &mut table)?;
    routes::start(&load, &effort, &mut table)?;
    routes::cost(&mut load, &effort, &mut table)?;
    table.end();
    Ok(())
}

/// Has the load share these cores with what is measured, or spin on [`LOAD`].
fn place(load: &mut Load, cores: &str) -> io::Result<()> {
    load.sleeps(cores != LOAD)?;
    pin(cores)
}

/// Binds the load's thread to these cores.
fn pin(cores: &str) -> io::Result<()> {
    let id = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", cores, &id]).stdout(Stdio::null()).status()?;
    if pinned.success() { Ok(()) } else { Err(io::Error::other("two cores are needed, 0 and 1")) }
}

/// Gateways that run at once, on core 0 with one thread. Their files are in the folder.
fn start(
    load: &Load,
    folder: &tempfile::TempDir,
    which: &[(&'static str, Start)],
    largest_body: usize,
) -> io::Result<Vec<Gateway>> {
    start_like(load, folder, which, &Setting { largest_body, ..Setting::new(folder.path(), load.upstream()?) })
}

/// The same with another setting, each in a folder of its own.
fn start_like(
    load: &Load,
    folder: &tempfile::TempDir,
    which: &[(&'static str, Start)],
    setting: &Setting<'_>,
) -> io::Result<Vec<Gateway>> {
    let upstream = load.upstream()?;
    let start_one = |(name, start): &(&'static str, Start)| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        start(&Setting { folder: &folder, upstream, ..*setting })
    };
    which.iter().map(start_one).collect()
}

fn plan<'a>(gateway: &Gateway, request: &'a [u8], status: u16, time: Duration) -> Plan<'a> {
    let (connections, secure) = (CONNECTIONS, None);
    Plan { gateway: gateway.address, secure, request, status, connections, time, rate: None }
}

/// CPU time for each request in microseconds.
fn cpu_each(load: &mut Load, gateway: &Gateway, plan: Plan<'_>) -> io::Result<f64> {
    let before = gateway.cpu();
    let count = load.run(plan)?;
    Ok((gateway.cpu() - before).as_secs_f64() * 1e6 / count.responses as f64)
}
