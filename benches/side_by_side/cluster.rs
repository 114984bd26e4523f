//! One and two gateways on one PostgreSQL, beside what pgbench inserts into the same server, with the same commit settings:
//! PostgreSQL's defaults, so that each commit is synced.
//!
//! The server, the gateways and the load share both cores.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::exchange::Connections;
use crate::load::{Load, own_cpu};
use crate::peers::{Gateway, QUEUE, Setting, hooklatch_with};
use crate::programs;
use crate::requests::never_used;
use crate::stores::{BODY, HEAD, HTTP, postgres};
use crate::table::median;
use crate::{BOTH, CONNECTIONS, Effort, LOAD, pin, place};

/// pgbench takes whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);
const INSERT: &str = "INSERT INTO deliveries VALUES (gen_random_uuid(), now(), :head, :body);\n";
const STORE: &str = "store: { postgres: { url: { file: url } }, max_size: 100GiB }\n";

/// Prints a table.
pub fn run(load: &mut Load, effort: &Effort, files: &Path, number: &mut usize) -> io::Result<()> {
    let (mut inserted, mut delivered) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut cpu = [const { [const { Vec::new() }; 3] }; 2];
    for round in 0..effort.rounds {
        let folder = files.join(format!("{round}-cluster"));
        let server = Server::start(load, &folder)?;
        inserted.push(server.pgbench(&folder, effort.slice.max(SHORTEST))?);
        drop(server);
        std::fs::remove_dir_all(&folder)?;
        for (others, rates) in delivered.iter_mut().enumerate() {
            let server = Server::start(load, &folder)?;
            let (rate, each) = gateways(load, effort, &server, &folder, others + 1, number)?;
            rates.push(rate);
            cpu[others].iter_mut().zip(each).for_each(|(all, one)| all.push(one));
            drop(server);
            std::fs::remove_dir_all(&folder)?;
        }
    }
    place(load, LOAD)?;
    println!(
        "| 3 KB, 64 connections, one PostgreSQL, both cores | delivered/s | of pgbench | CPU each: gateways | \
         PostgreSQL | load |"
    );
    println!("| ------------------------------------------------ | --- | --- | --- | --- | --- |");
    let of_all = median(&inserted).unwrap_or_default();
    println!("| pgbench, inserts                                 | {of_all:.0} | 1 | – | – | – |");
    for ((name, rates), cpu) in ["one gateway ", "two gateways"].into_iter().zip(&delivered).zip(&cpu) {
        let ratios: Vec<f64> = rates.iter().zip(&inserted).map(|(rate, inserted)| rate / inserted).collect();
        let (rate, ratio) = (median(rates).unwrap_or_default(), median(&ratios).unwrap_or_default());
        let [gateways, server, load] = cpu.each_ref().map(|each| median(each).unwrap_or_default());
        println!(
            "| {name}                                     | {rate:.0} | {ratio:.2} | {gateways:.0} µs | \
             {server:.0} µs | {load:.0} µs |"
        );
    }
    Ok(())
}

/// PostgreSQL, and what its clients need to know.
struct Server(Gateway);

impl Server {
    /// On both cores, with an empty database.
    fn start(load: &Load, folder: &Path) -> io::Result<Self> {
        let own = folder.join("postgres");
        std::fs::create_dir_all(&own)?;
        let upstream = load.upstream()?;
        postgres(&Setting { threads: 2, cores: BOTH, ..Setting::new(&own, upstream) }).map(Self)
    }

    /// Rows that pgbench inserts a second, each in a transaction of its own.
    fn pgbench(&self, folder: &Path, time: Duration) -> io::Result<f64> {
        let script = folder.join("insert.sql");
        std::fs::write(&script, INSERT)?;
        let (clients, seconds) = (CONNECTIONS.to_string(), time.as_secs().to_string());
        let (address, port) = (self.0.address.ip().to_string(), self.0.address.port().to_string());
        let (head, body) = (format!("head={}", "h".repeat(HEAD)), format!("body={}", "b".repeat(BODY)));
        let mut pgbench = programs::unprivileged("pgbench");
        pgbench
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-T", &seconds, "-D", &head, "-D", &body, "-f"]);
        pgbench.arg(script).args(["-h", &address, "-p", &port, "-U", "bench", "postgres"]).current_dir(folder);
        pin(BOTH)?;
        let output = pgbench.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| io::Error::other(format!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr))))
    }
}

/// Deliveries a second that so many gateways accept and deliver, and the CPU time of each in microseconds: that of the
/// gateways, of PostgreSQL, and of the load with the handler.
fn gateways(
    load: &mut Load,
    effort: &Effort,
    server: &Server,
    folder: &Path,
    count: usize,
    number: &mut usize,
) -> io::Result<(f64, [f64; 3])> {
    let upstream = load.upstream()?;
    let start = |at: usize| {
        let folder = folder.join(format!("gateway-{at}"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("url"), format!("postgresql://bench@{}/postgres", server.0.address))?;
        let setting = Setting { threads: 2, cores: BOTH, ..Setting::new(&folder, upstream) };
        hooklatch_with(&setting, QUEUE, STORE)
    };
    let gateways: Vec<Gateway> = (0..count).map(start).collect::<io::Result<_>>()?;
    let requests = never_used(effort.slice, number);
    let mut connections = Connections::open(gateways[0].address, CONNECTIONS / count, &HTTP)?;
    for gateway in &gateways[1..] {
        connections = connections.and(Connections::open(gateway.address, CONNECTIONS / count, &HTTP)?);
    }
    place(load, BOTH)?;
    let cpu =
        || -> io::Result<[Duration; 3]> { Ok([gateways.iter().map(Gateway::cpu).sum(), server.0.cpu(), own_cpu()?]) };
    let (served, begun, before) = (load.answered, Instant::now(), cpu()?);
    let exchanged = connections.run(load, &HTTP, &requests, false, effort.slice)?;
    load.serve_until(served + exchanged.answers)?;
    let (elapsed, after, count) = (begun.elapsed(), cpu()?, exchanged.answers as f64);
    let used = |at: usize| after[at].saturating_sub(before[at]).as_secs_f64() * 1e6 / count;
    Ok((count / elapsed.as_secs_f64(), [used(0), used(1), used(2)]))
}
