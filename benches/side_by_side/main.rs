//! hooklatch beside its peers: CPU, latency, memory, start. `scripts/bench` runs this.
//!
//! Figures are ratios to HAProxy from slices in turn (A B A B …), since machines flip between fast and slow phases;
//! each is a median with its spread. The gateway has one core, the load and the upstream spin on the other.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

#[allow(dead_code, reason = "shared with instructions.rs")]
mod load;
mod peers;

use std::io;
use std::time::{Duration, Instant};

use hooklatch::schemes::{self, SchemeOptions, Secret};
use load::{Load, Plan};
use peers::{ALL, Gateway, PATH, SECRET, Setting};

const CONNECTIONS: usize = 64;

/// How long to measure.
struct Effort {
    rounds: usize,
    slice: Duration,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // `cargo bench` without this file's own flag is not meant for a run of minutes.
    if args.iter().any(|arg| arg == "--test") {
        return Ok(());
    }
    let effort = if args.iter().any(|arg| arg == "--quick") {
        Effort { rounds: 3, slice: Duration::from_millis(300) }
    } else {
        Effort { rounds: 9, slice: Duration::from_secs(1) }
    };
    let mut load = Load::new()?;
    cpu(&mut load, &effort)?;
    latency(&mut load, &effort)?;
    memory(&mut load)?;
    routes(&mut load, &effort)
}

fn start_all(
    load: &Load,
    folder: &tempfile::TempDir,
    largest_body: usize,
    threads: usize,
    cores: &str,
) -> io::Result<Vec<Gateway>> {
    let mut gateways = Vec::new();
    for (name, start) in ALL {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let setting =
            Setting { folder: &folder, upstream: load.upstream()?, threads, cores, largest_body, idle_routes: 0 };
        gateways.push(start(&setting)?);
    }
    Ok(gateways)
}

/// CPU per request, and requests a second of one core.
fn cpu(load: &mut Load, effort: &Effort) -> io::Result<()> {
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("verified, 200 B", signed(200), 200),
        ("verified, 3 KB", signed(3 * 1024), 200),
        ("verified, 64 KB", signed(64 * 1024), 200),
        ("verified, 1 MB", signed(1_000_000), 200),
        ("refused: bad signature, 3 KB", request(PATH, Some("0".repeat(64)), &vec![b'x'; 3 * 1024]), 401),
        ("refused: no signature, 3 KB", request(PATH, None, &vec![b'x'; 3 * 1024]), 401),
        ("refused: unknown path, 3 KB", request("/nowhere", None, &vec![b'x'; 3 * 1024]), 404),
    ];
    println!("CPU per request, one core, {CONNECTIONS} keep-alive connections; ratio to HAProxy (median, spread)");
    for (case, request, status) in &cases {
        let folder = tempfile::tempdir()?;
        let gateways = start_all(load, &folder, request.len(), 1, "0")?;
        let mut costs = vec![Vec::new(); gateways.len()];
        for _ in 0..effort.rounds {
            for (gateway, costs) in gateways.iter().zip(&mut costs) {
                let plan = plan(gateway, request, *status, effort.slice);
                let before = gateway.cpu();
                let count = load.run(plan)?;
                costs.push((gateway.cpu() - before).as_secs_f64() * 1e6 / count.responses as f64);
            }
        }
        print!("  {case:<32}");
        print_ratios(&gateways, &costs, "us");
    }
    Ok(())
}

/// Latency that a gateway adds at a fixed rate.
fn latency(load: &mut Load, effort: &Effort) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let request = signed(3 * 1024);
    let gateways = start_all(load, &folder, request.len(), 1, "0")?;
    println!("Latency at 3,000 requests a second, 3 KB, one core; ratio to HAProxy (median, spread)");
    let mut medians = vec![Vec::new(); gateways.len()];
    let mut tails = vec![Vec::new(); gateways.len()];
    for _ in 0..effort.rounds {
        for (at, gateway) in gateways.iter().enumerate() {
            let plan = Plan { rate: Some(3000.0), ..plan(gateway, &request, 200, effort.slice) };
            let mut latencies = load.run(plan)?.latencies;
            latencies.sort_unstable();
            medians[at].push(latencies[latencies.len() / 2].as_secs_f64() * 1e6);
            tails[at].push(latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e6);
        }
    }
    for (name, values) in [("p50", &medians), ("p99", &tails)] {
        print!("  {name:<32}");
        print_ratios(&gateways, values, "us");
    }
    Ok(())
}

/// Memory of idle connections and of large deliveries.
fn memory(load: &mut Load) -> io::Result<()> {
    println!("Memory (proportional set size)");
    for (name, start) in ALL {
        let folder = tempfile::tempdir()?;
        let setting = Setting {
            folder: folder.path(),
            upstream: load.upstream()?,
            threads: 1,
            cores: "0",
            largest_body: 1_000_000,
            idle_routes: 0,
        };
        let gateway = start(&setting)?;
        let small = signed(3 * 1024);
        load.run(plan(&gateway, &small, 200, Duration::from_millis(200)))?;
        let fresh = gateway.memory();
        let idle = load.open_idle(Plan { connections: 500, ..plan(&gateway, &small, 200, Duration::ZERO) })?;
        let per_connection = gateway.memory().saturating_sub(fresh) / idle.len() as u64;
        drop(idle);
        let large = signed(1_000_000);
        load.run(plan(&gateway, &large, 200, Duration::from_millis(500)))?;
        println!(
            "  {name:<12} idle keep-alive connection that has served: {:>6.1} KiB; after 64 x 1 MB at once: {:>6.1} MiB",
            per_connection as f64 / 1024.0,
            gateway.memory() as f64 / 1024.0 / 1024.0
        );
    }
    Ok(())
}

/// What a thousand routes cost.
fn routes(load: &mut Load, effort: &Effort) -> io::Result<()> {
    let mut started = Vec::new();
    let mut gateways = Vec::new();
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    for (folder, idle_routes) in folders.iter().zip([0, 999]) {
        let setting = Setting {
            folder: folder.path(),
            upstream: load.upstream()?,
            threads: 1,
            cores: "0",
            largest_body: 3 * 1024,
            idle_routes,
        };
        let before = Instant::now();
        gateways.push(peers::hooklatch(&setting)?);
        started.push(before.elapsed());
    }
    println!("A thousand routes instead of one");
    println!("  start to accepting: {:.0} ms instead of {:.0} ms", ms(started[1]), ms(started[0]));
    let request = signed(3 * 1024);
    let mut costs = vec![Vec::new(); 2];
    for _ in 0..effort.rounds {
        for (gateway, costs) in gateways.iter().zip(&mut costs) {
            let before = gateway.cpu();
            let count = load.run(plan(gateway, &request, 200, effort.slice))?;
            costs.push((gateway.cpu() - before).as_secs_f64() * 1e6 / count.responses as f64);
        }
    }
    print!("  {:<32}", "CPU per request");
    print_ratios(&gateways, &costs, "us");
    Ok(())
}

fn print_ratios(gateways: &[Gateway], values: &[Vec<f64>], unit: &str) {
    for (gateway, own) in gateways.iter().zip(values) {
        let ratios: Vec<f64> = own.iter().zip(&values[0]).map(|(own, first)| own / first).collect();
        let (low, median, high) = spread(ratios);
        let (_, absolute, _) = spread(own.clone());
        print!(" {}: {median:.2} ({low:.2}-{high:.2}; {absolute:.0} {unit})", gateway.name);
    }
    println!();
}

fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn plan<'a>(gateway: &Gateway, request: &'a [u8], status: u16, time: Duration) -> Plan<'a> {
    Plan { gateway: gateway.address, request, status, connections: CONNECTIONS, time, rate: None }
}

/// A CircleCI delivery with a body of this many bytes.
fn signed(size: usize) -> Vec<u8> {
    let filler = "x".repeat(size.saturating_sub(60));
    let body = format!(r#"{{"type":"workflow-completed","id":"1","filler":"{filler}"}}"#).into_bytes();
    let secret = Secret::from(SECRET.as_bytes().to_vec());
    let verifier = schemes::find("circleci").unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap();
    let (_, value) = verifier.sign_body(0, &body, Duration::ZERO).unwrap().remove(0);
    let digest = value.to_str().unwrap().trim_start_matches("v1=").to_owned();
    request(PATH, Some(digest), &body)
}

fn request(path: &str, digest: Option<String>, body: &[u8]) -> Vec<u8> {
    let signature = digest.map(|digest| format!("circleci-signature: v1={digest}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: CircleCI-Webhook/1.0\r\n\
         Content-Type: application/json\r\ncircleci-event-type: workflow-completed\r\nAccept: */*\r\n\
         Accept-Encoding: gzip\r\n{signature}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
