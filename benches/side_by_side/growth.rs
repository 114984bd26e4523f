//! How the cost of a delivery grows with the size of its body, its field lines, the connections, the routes, the secrets.
//! `scripts/bench --growth` runs this.
//!
//! One size changes at a time; the others are those of a usual delivery: 3 KB, 64 connections, one route, one secret, 8 lines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::load::{Load, Plan};
use crate::peers::{Gateway, Setting, hooklatch_with};
use crate::plot::{self, Point};
use crate::requests::{signed, signed_with_lines};
use crate::table::spread;
use crate::{CONNECTIONS, Effort, plan};

const BODY: usize = 3 * 1024;
/// Connections where bodies are large: so many of the largest body fit into the memory that the gateway has for bodies.
const FEW: usize = 8;
/// Rounds at most: there are many sizes.
const ROUNDS: usize = 5;
/// What warms up a connection: longer than each takes its first turn.
const WARM_UP: Duration = Duration::from_micros(200);

const BODIES: [usize; 11] =
    [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 5_000_000, 25 * 1024 * 1024];
/// The gateway accepts half as many connections as it may have open files; some machines allow 20,000 of those.
const CONNECTED: [usize; 9] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 9_500];
const ROUTES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const SECRETS: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];
const LINES: [usize; 6] = [5, 10, 20, 40, 70, 95];

/// What grows.
struct Axis {
    /// As files are named.
    name: &'static str,
    title: &'static str,
    values: &'static [usize],
    /// The gateway and what is sent to it, for a value.
    setting: fn(usize) -> Work,
}

struct Work {
    request: Vec<u8>,
    connections: usize,
    routes: usize,
    secrets: usize,
}

impl Work {
    fn usual() -> Self {
        Self { request: signed(BODY), connections: CONNECTIONS, routes: 1, secrets: 1 }
    }
}

const AXES: [Axis; 5] = [
    Axis {
        name: "body",
        title: "bytes of the body",
        values: &BODIES,
        setting: |size| Work { request: signed(size), connections: FEW, ..Work::usual() },
    },
    Axis {
        name: "connections",
        title: "open connections, 64 deliveries at once",
        values: &CONNECTED,
        setting: |connections| Work { connections, ..Work::usual() },
    },
    Axis { name: "routes", title: "routes", values: &ROUTES, setting: |routes| Work { routes, ..Work::usual() } },
    Axis {
        name: "secrets",
        title: "secrets of the route, the last one signs",
        values: &SECRETS,
        setting: |secrets| Work { secrets, ..Work::usual() },
    },
    Axis {
        name: "headers",
        title: "field lines",
        values: &LINES,
        setting: |lines| Work { request: signed_with_lines(BODY, lines), ..Work::usual() },
    },
];

/// Measures, prints a table, and writes the data and the plots: into docs, or beside what was built.
pub fn run(load: &mut Load, effort: &Effort, into_docs: bool) -> io::Result<()> {
    let folder =
        if into_docs { Path::new(env!("CARGO_MANIFEST_DIR")).join("docs") } else { PathBuf::from("target/growth") };
    fs::create_dir_all(folder.join("images"))?;
    println!("| what grows | from | to | cost grows | at most, for 10 times as much |");
    println!("| --- | --- | --- | --- | --- |");
    let mut data = "what,value,lowest_us,median_us,highest_us\n".to_owned();
    for axis in AXES.iter().filter(|axis| effort.wants(axis.name)) {
        let points = measure(load, effort, axis)?;
        for Point { value, low, median, high } in &points {
            data += &format!("{},{value},{low:.2},{median:.2},{high:.2}\n", axis.name);
        }
        summarise(axis, &points);
        let drawn = plot::draw(axis.title, "CPU a delivery, µs", &points);
        fs::write(folder.join(format!("images/growth-{}.svg", axis.name)), drawn)?;
    }
    if into_docs {
        println!("\nThe data are in [growth.csv](growth.csv).\n");
        for Axis { name, title, .. } in &AXES {
            println!("![CPU of a delivery by {title}](images/growth-{name}.svg)");
        }
    }
    fs::write(folder.join("growth.csv"), data)
}

fn measure(load: &mut Load, effort: &Effort, axis: &Axis) -> io::Result<Vec<Point>> {
    let works: Vec<Work> = axis.values.iter().map(|value| (axis.setting)(*value)).collect();
    let mut samples = vec![Vec::new(); works.len()];
    let mut gateways = Vec::new();
    for work in &works {
        gateways.push(start(load, work)?);
    }
    for _ in 0..effort.rounds.min(ROUNDS) {
        for ((work, (gateway, _)), samples) in works.iter().zip(&gateways).zip(&mut samples) {
            samples.push(sample(load, effort, gateway, work)?);
        }
    }
    let point = |(value, samples): (&usize, Vec<f64>)| {
        let (low, median, high) = spread(samples);
        Point { value: *value as f64, low, median, high }
    };
    Ok(axis.values.iter().zip(samples).map(point).collect())
}

fn start(load: &Load, work: &Work) -> io::Result<(Gateway, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let setting = Setting {
        secrets: work.secrets,
        idle_routes: work.routes - 1,
        max_connections: Some(2 * work.connections.max(CONNECTIONS)),
        ..Setting::new(folder.path(), load.upstream()?)
    };
    Ok((hooklatch_with(&setting, "    max_body: 25MiB\n", "")?, folder))
}

/// CPU for each delivery in microseconds, once each connection has had one.
fn sample(load: &mut Load, effort: &Effort, gateway: &Gateway, work: &Work) -> io::Result<f64> {
    let plan = Plan { connections: work.connections, ..plan(gateway, &work.request, 200, effort.slice) };
    let mut senders = load.connect(&plan)?;
    let first = Plan { time: WARM_UP * work.connections as u32, ..plan };
    load.run_over(first, &mut senders, CONNECTIONS)?;
    let before = gateway.cpu();
    let count = load.run_over(plan, &mut senders, CONNECTIONS)?;
    Ok((gateway.cpu() - before).as_secs_f64() * 1e6 / count.responses as f64)
}

/// A line of the table: how much the cost grows from the smallest to the largest, and between neighbours.
fn summarise(axis: &Axis, points: &[Point]) {
    let (first, last) = (&points[0], &points[points.len() - 1]);
    let for_ten = |pair: &[Point]| {
        let exponent = (pair[1].median / pair[0].median).ln() / (pair[1].value / pair[0].value).ln();
        10f64.powf(exponent)
    };
    let steepest = points.windows(2).map(for_ten).fold(0.0, f64::max);
    println!(
        "| {} | {}: {:.1} µs | {}: {:.1} µs | {:.2}-fold | {steepest:.2}-fold |",
        axis.title,
        plot::grouped(first.value),
        first.median,
        plot::grouped(last.value),
        last.median,
        last.median / first.median,
    );
}
