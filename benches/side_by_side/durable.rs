//! Durable acceptance: the queue beside the same binary as a proxy, a bare file, Redis and PostgreSQL; and what a backlog
//! costs, and what several gateways on one PostgreSQL do. `scripts/bench --durable` runs this.
//!
//! Each delivery has an id of its own, so that none is a duplicate; the queue looks for it as it does by default.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::exchange::{Connections, Protocol};
use crate::load::{Load, own_cpu};
use crate::peers::{Gateway, Setting, hooklatch, queue};
use crate::requests::never_used;
use crate::stores::{HTTP, POSTGRES, REDIS, append, postgres, postgres_request, redis, redis_request};
use crate::table::median;
use crate::{BOTH, CONNECTIONS, Effort, GATEWAY, LOAD, pin, place};
use crate::{backlog, cluster};

/// Deliveries that a bare file gets at once.
const TOGETHER: usize = 64;

/// What is measured of one system, one value a round.
#[derive(Default)]
struct Figures {
    name: &'static str,
    accepted: Vec<f64>,
    delivered: Vec<f64>,
    cpu: Vec<f64>,
    answers: Answers,
    on_both: Vec<f64>,
    answers_on_both: Answers,
}

/// How long answers took, in milliseconds.
#[derive(Default)]
struct Answers {
    median: Vec<f64>,
    tail: Vec<f64>,
}

/// A system that takes deliveries.
struct System {
    name: &'static str,
    start: fn(&Setting<'_>) -> io::Result<Gateway>,
    protocol: Protocol,
    /// The one request; `None` for signed ones with ids of their own.
    request: Option<fn() -> Vec<u8>>,
    /// Whether the upstream must have got what was accepted.
    delivers: bool,
}

const SYSTEMS: [System; 4] = [
    System { name: "hooklatch, proxy", start: hooklatch, protocol: HTTP, request: None, delivers: true },
    System { name: "hooklatch, queue", start: queue, protocol: HTTP, request: None, delivers: true },
    System { name: "Redis Streams", start: redis, protocol: REDIS, request: Some(redis_request), delivers: false },
    System {
        name: "PostgreSQL",
        start: postgres,
        protocol: POSTGRES,
        request: Some(postgres_request),
        delivers: false,
    },
];

/// Prints all tables.
pub fn run(load: &mut Load, effort: &Effort, quick: bool) -> io::Result<()> {
    let files = folder()?;
    let systems: Vec<&System> = SYSTEMS.iter().filter(|system| effort.wants(system.name)).collect();
    let mut all: Vec<Figures> =
        systems.iter().map(|system| Figures { name: system.name, ..Figures::default() }).collect();
    let mut bare = Figures { name: "append + fdatasync, 64 at once", ..Figures::default() };
    let mut number = 0;
    for round in 0..effort.rounds {
        for (system, figures) in systems.iter().zip(&mut all) {
            let folder = files.path().join(format!("{round}-{}", figures.name.replace([' ', ','], "-")));
            measure(load, effort, system, figures, &folder, &mut number)?;
        }
        if effort.wants(bare.name) {
            append_bare(effort, files.path(), &mut bare)?;
        }
    }
    if effort.wants(bare.name) {
        all.push(bare);
    }
    println!(
        "| {:<30} | accepted/s | delivered/s | CPU each | answer p50 | p99 | both cores/s | p50 on both | p99 on both |",
        "3 KB, 64 connections"
    );
    println!("| {} | --- | --- | --- | --- | --- | --- | --- | --- |", "-".repeat(30));
    for figures in all {
        figures.print();
    }
    if effort.only.is_some() {
        return Ok(());
    }
    println!();
    cluster::run(load, effort, files.path(), &mut number)?;
    println!();
    backlog::run(load, files.path(), quick)
}

/// Prints the table of gateways on one PostgreSQL.
pub fn run_cluster(load: &mut Load, effort: &Effort) -> io::Result<()> {
    cluster::run(load, effort, folder()?.path(), &mut 0)
}

/// A folder for files, which PostgreSQL's user gets into.
fn folder() -> io::Result<tempfile::TempDir> {
    let files = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    std::fs::set_permissions(files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(files)
}

/// One slice on a core of its own, and one on both cores together with the load.
fn measure(
    load: &mut Load,
    effort: &Effort,
    system: &System,
    figures: &mut Figures,
    folder: &Path,
    number: &mut usize,
) -> io::Result<()> {
    for both in [false, true] {
        let folder = folder.join(if both { "both" } else { "one" });
        std::fs::create_dir_all(&folder)?;
        let (threads, cores) = if both { (2, BOTH) } else { (1, GATEWAY) };
        let upstream = load.upstream()?;
        let setting = Setting { threads, cores, ..Setting::new(&folder, upstream) };
        let requests = match system.request {
            Some(request) => vec![request()],
            None => never_used(effort.slice, number),
        };
        let gateway = (system.start)(&setting)?;
        let connections = Connections::open(gateway.address, CONNECTIONS, &system.protocol)?;
        place(load, if both { BOTH } else { LOAD })?;
        let (cpu, served, begun) = (gateway.cpu(), load.answered, Instant::now());
        let repeats = system.request.is_some();
        let exchanged = connections.run(load, &system.protocol, &requests, repeats, effort.slice)?;
        if system.delivers {
            load.serve_until(served + exchanged.answers)?;
        }
        // A process of the system may have ended meanwhile.
        let (all, cpu) = (begun.elapsed(), gateway.cpu().saturating_sub(cpu));
        place(load, LOAD)?;
        let count = exchanged.answers as f64;
        let rate = count / if system.delivers { all } else { exchanged.elapsed }.as_secs_f64();
        if both {
            figures.on_both.push(rate);
            figures.answers_on_both.add(exchanged.latencies);
        } else {
            figures.accepted.push(count / exchanged.elapsed.as_secs_f64());
            if system.delivers {
                figures.delivered.push(rate);
            }
            figures.cpu.push(cpu.as_secs_f64() * 1e6 / count);
            figures.answers.add(exchanged.latencies);
        }
        drop(gateway);
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn append_bare(effort: &Effort, files: &Path, figures: &mut Figures) -> io::Result<()> {
    let folder: PathBuf = files.join("bare");
    std::fs::create_dir_all(&folder)?;
    pin(GATEWAY)?;
    let (begun, cpu) = (Instant::now(), own_cpu()?);
    let took = append(&folder, TOGETHER, effort.slice)?;
    let (elapsed, cpu) = (begun.elapsed(), own_cpu()? - cpu);
    pin(LOAD)?;
    let count = (took.len() * TOGETHER) as f64;
    figures.accepted.push(count / elapsed.as_secs_f64());
    figures.cpu.push(cpu.as_secs_f64() * 1e6 / count);
    figures.answers.add(took);
    std::fs::remove_dir_all(&folder)
}

impl Answers {
    fn add(&mut self, mut latencies: Vec<Duration>) {
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0.0, Duration::as_secs_f64);
        self.median.push(at(50) * 1e3);
        self.tail.push(at(99) * 1e3);
    }
}

impl Figures {
    fn print(&self) {
        let rate = |values: &[f64]| median(values).map_or("–".to_owned(), |value| format!("{value:.0}"));
        let time =
            |values: &[f64], unit: &str| median(values).map_or("–".to_owned(), |value| format!("{value:.2} {unit}"));
        println!(
            "| {:<30} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.name,
            rate(&self.accepted),
            rate(&self.delivered),
            time(&self.cpu, "µs"),
            time(&self.answers.median, "ms"),
            time(&self.answers.tail, "ms"),
            rate(&self.on_both),
            time(&self.answers_on_both.median, "ms"),
            time(&self.answers_on_both.tail, "ms"),
        );
    }
}
