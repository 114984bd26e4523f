//! CPU and instructions for each request, throughput, latency.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::{Load, Plan};
use crate::peers::{ALL, Gateway, PATH, Setting};
use crate::requests::{refused, signed};
use crate::table::{Samples, Table, Unit};
use crate::{BOTH, Effort, LOAD, cpu_each, place, plan, start};

/// Requests a second where latency is measured.
const RATE: f64 = 3000.0;

/// How long perf may take to begin; an idle gateway adds next to nothing meanwhile.
const ATTACHED: Duration = Duration::from_millis(200);

/// CPU for each verified request, by the size of its body, and for one with a wrong signature.
pub fn cpu(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let wrong = "0".repeat(64);
    let cases = [
        ("CPU a request: verified, 200 B", signed(200), 200),
        ("CPU a request: verified, 3 KB", signed(3 * 1024), 200),
        ("CPU a request: verified, 64 KB", signed(64 * 1024), 200),
        ("CPU a request: verified, 1 MB", signed(1_000_000), 200),
        ("CPU a request: bad signature, 3 KB", refused(PATH, Some(&wrong)), 401),
    ];
    for (case, request, status) in cases.iter().filter(|(case, ..)| effort.wants(case)) {
        let folder = tempfile::tempdir()?;
        let gateways = start(load, &folder, &ALL, request.len())?;
        let samples = in_turn(effort, &gateways, |gateway| {
            cpu_each(load, gateway, plan(gateway, request, *status, effort.slice))
        })?;
        table.row(case, Unit::Microseconds, &samples);
    }
    Ok(())
}

/// CPU for each request that is refused for its head, to that for one which the same gateway verifies.
pub fn refusals(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let verified = signed(3 * 1024);
    let cases = [("no signature", refused(PATH, None), 401), ("unknown path", refused("/nowhere", None), 404)];
    for (case, request, status) in cases.iter().filter(|(case, ..)| effort.wants(case)) {
        let folder = tempfile::tempdir()?;
        let gateways = start(load, &folder, &ALL, request.len())?;
        let mut whole = Vec::new();
        let samples = in_turn(effort, &gateways, |gateway| {
            whole.push(cpu_each(load, gateway, plan(gateway, &verified, 200, effort.slice))?);
            cpu_each(load, gateway, plan(gateway, request, *status, effort.slice))
        })?;
        let of_own = samples.iter().enumerate().map(|(at, (name, values))| {
            let own = whole.iter().skip(at).step_by(gateways.len());
            (*name, values.iter().zip(own).map(|(refusal, whole)| refusal / whole).collect())
        });
        table.row(&format!("CPU a request: {case}, 3 KB"), Unit::Microseconds, &samples);
        table.row(&format!("{case}: of a verified one, same gateway"), Unit::Times, &of_own.collect::<Vec<_>>());
    }
    Ok(())
}

/// Instructions for each verified request, the kernel's included, where the machine's counters can be read.
pub fn instructions(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let measure = "instructions, user + kernel: verified, 3 KB";
    if !effort.wants(measure) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let request = signed(3 * 1024);
    let gateways = start(load, &folder, &ALL, request.len())?;
    let counted = in_turn(effort, &gateways, |gateway| {
        let output = folder.path().join("perf");
        let ids: Vec<String> = gateway.processes().iter().map(u32::to_string).collect();
        // Counts until SIGINT. If it may count user code only, it says `instructions:u`.
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", "instructions", "-p", &ids.join(","), "-o"])
            .arg(&output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut perf = perf?;
        std::thread::sleep(ATTACHED);
        let count = load.run(plan(gateway, &request, 200, effort.slice))?;
        Command::new("kill").args(["-INT", &perf.id().to_string()]).status()?;
        perf.wait()?;
        let text = fs::read_to_string(&output)?;
        let figure = text.lines().find(|line| line.contains(",instructions,")).and_then(|line| line.split(',').next());
        let figure: f64 = figure.and_then(|figure| figure.parse().ok()).ok_or(io::ErrorKind::Unsupported)?;
        Ok(figure / 1e3 / count.responses as f64)
    });
    match counted {
        Ok(samples) => table.row(measure, Unit::Thousands, &samples),
        // No perf, no permission, or a virtual machine without counters.
        Err(_) => table.absent(measure, "not countable here"),
    }
    Ok(())
}

/// Requests a second of two threads on both cores. The load runs on them as well: on a machine with two cores it takes
/// from each gateway alike what it needs.
pub fn throughput(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let measure = "throughput, two threads on both cores, 3 KB";
    if !effort.wants(measure) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let request = signed(3 * 1024);
    place(load, BOTH)?;
    let mut gateways = Vec::new();
    // Node has one thread.
    for (name, start) in ALL.iter().filter(|(name, _)| *name != "node") {
        let folder = folder.path().join(name);
        fs::create_dir_all(&folder)?;
        let upstream = load.upstream()?;
        let setting =
            Setting { threads: 2, cores: BOTH, largest_body: request.len(), ..Setting::new(&folder, upstream) };
        gateways.push(start(&setting)?);
    }
    let samples = in_turn(effort, &gateways, |gateway| {
        let count = load.run(plan(gateway, &request, 200, effort.slice))?;
        Ok(count.responses as f64 / count.elapsed.as_secs_f64() / 1e3)
    })?;
    place(load, LOAD)?;
    table.row(measure, Unit::ThousandsASecond, &samples);
    Ok(())
}

/// Latency at a fixed rate, from the moment at which a request was due; what the load itself takes is part of it.
pub fn latency(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    if !effort.wants("latency") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let request = signed(3 * 1024);
    let gateways = start(load, &folder, &ALL, request.len())?;
    let mut tails = Vec::new();
    let medians = in_turn(effort, &gateways, |gateway| {
        let plan = Plan { rate: Some(RATE), ..plan(gateway, &request, 200, effort.slice) };
        let mut latencies = load.run(plan)?.latencies;
        latencies.sort_unstable();
        let at = |percent: usize| micros(latencies[latencies.len() * percent / 100]);
        tails.push(at(99));
        Ok(at(50))
    })?;
    let tails = gateways
        .iter()
        .enumerate()
        .map(|(at, gateway)| (gateway.name, tails.iter().skip(at).step_by(gateways.len()).copied().collect()));
    table.row("latency at 3,000 requests/s, 3 KB: p50", Unit::Microseconds, &medians);
    table.row("latency at 3,000 requests/s, 3 KB: p99", Unit::Microseconds, &tails.collect::<Vec<_>>());
    Ok(())
}

/// A sample of each gateway in turn, as often as there are rounds.
pub fn in_turn(
    effort: &Effort,
    gateways: &[Gateway],
    mut sample: impl FnMut(&Gateway) -> io::Result<f64>,
) -> io::Result<Vec<Samples>> {
    let mut samples: Vec<Samples> = gateways.iter().map(|gateway| (gateway.name, Vec::new())).collect();
    for _ in 0..effort.rounds {
        for (gateway, (_, samples)) in gateways.iter().zip(&mut samples) {
            samples.push(sample(gateway)?);
        }
    }
    Ok(samples)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
