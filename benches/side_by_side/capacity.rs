//! docs/capacity.md: what a number of deliveries needs, computed from what was measured.

use std::fmt::Write as _;
use std::fs;
use std::io;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/capacity.md");
const BEGIN: &str = "<!-- scripts/bench --connections --write writes from here -->\n";
const END: &str = "<!-- end of the tables -->\n";
const RATES: [(&str, f64); 3] = [("10", 10.0), ("1,000", 1_000.0), ("10,000", 10_000.0)];
/// The share of a core's time that deliveries may take; the page says why.
const BUSY: f64 = 0.7;
/// How long a connection is open, in seconds; the page says why.
const OPEN: f64 = 0.5;
/// What the gateway has without connections, in MiB.
const BASE: f64 = 48.0;
/// What a delivery needs beside its connection, its body of 3 KiB included, in KiB.
const DELIVERY: f64 = 23.0;

/// What was measured of hooklatch.
pub struct Costs {
    /// CPU of a delivery on a new connection with TLS 1.3, in microseconds: ECDSA, the same resumed, RSA.
    pub ecdsa: f64,
    pub resumed: f64,
    pub rsa: f64,
    /// The same on a kept connection.
    pub kept: f64,
    /// Memory of an idle TLS connection, in KiB.
    pub idle: f64,
}

/// Puts the tables into the page.
pub fn write(costs: &Costs) -> io::Result<()> {
    let page = fs::read_to_string(PAGE)?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| io::Error::other(format!("{PAGE} lacks the marks of its tables")))?;
    fs::write(PAGE, format!("{before}{BEGIN}\n{}\n{END}{after}", tables(costs)))
}

fn tables(costs: &Costs) -> String {
    let Costs { ecdsa, resumed, rsa, kept, idle } = *costs;
    let mut text = format!(
        "| Delivery of 3 KB, TLS 1.3 | CPU |\n| --- | --- |\n\
         | new connection, certificate with ECDSA P-256 | {ecdsa:.0} µs |\n\
         | the same, the sender resumes a session | {resumed:.0} µs |\n\
         | new connection, certificate with RSA 2048 | {rsa:.0} µs |\n\
         | kept connection | {kept:.0} µs |\n\n\
         | Deliveries a second | Cores, ECDSA P-256 | Cores, RSA 2048 |\n| --- | --- | --- |\n"
    );
    let cores = |name: &str, rate: f64, cost: f64| {
        let cores = rate * cost / 1e6 / BUSY;
        let places = if cores < 0.1 { 4 } else { 1 };
        format!("{name} × {cost:.0} µs ÷ {BUSY} = {cores:.places$}")
    };
    for (name, rate) in RATES {
        let _ = writeln!(text, "| {name} | {} | {} |", cores(name, rate, ecdsa), cores(name, rate, rsa));
    }
    text += "\n| Deliveries a second | Open connections | Memory |\n| --- | --- | --- |\n";
    for (name, rate) in RATES {
        let open = rate * OPEN;
        let memory = BASE + open * (idle + DELIVERY) / 1024.0;
        let _ = writeln!(
            text,
            "| {name} | {name} × {OPEN} s = {open:.0} | {BASE} MiB + {open:.0} × ({idle:.1} + {DELIVERY}) KiB = {memory:.0} MiB |"
        );
    }
    text
}
