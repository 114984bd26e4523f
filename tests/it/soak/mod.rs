//! Good, bad and abusive traffic, reloads, upstreams that fail and go away, all at once and for long; and then the
//! accounts: every accepted delivery reached its upstream once (but for the re-sends that were counted), every refusal
//! was right, the metrics say what the senders say, and memory and file descriptors came back to where they were.
//!
//! As a test it takes seconds; `scripts/soak MINUTES` runs it for longer, on the binary that is released. It lasts for
//! a time of the clock and paces what it sends: its sleeps are its load, and nothing is awaited by them.

mod accounts;
mod traffic;
mod upstreams;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::gateway::{Metrics, SECRET};
use crate::support::process::{GatewayProcess, Stream, poll};
use crate::support::served::replace;
use crate::support::soaked::serve;

use accounts::account;
use traffic::{Sent, Told, impostor, provider, vandal};
use upstreams::{Manners, Upstream};

/// How long it takes as a test.
const SHORT: Duration = Duration::from_secs(3);
/// Set by `scripts/soak`: for how long.
const SECONDS: &str = "HOOKLATCH_SOAK_SECONDS";
/// A sender's pause between two deliveries: a hundred a second at most.
const PACE: Duration = Duration::from_millis(10);
/// The pause between two reloads.
const BETWEEN_RELOADS: Duration = Duration::from_millis(300);
/// Secrets that are good at once: a delivery on its way outlasts the reloads that replace its secret.
const GOOD_SECRETS: u64 = 8;
/// What memory may grow by from the time that every kind of traffic has passed: fragments, not a leak.
const SLACK: u64 = 16 << 20;
/// What the process may keep open beyond what it began with.
const MORE_FILES: usize = 2;

/// A route and the behaviour of its handler. Only vandals send to the last one.
const ROUTES: [(&str, Manners); 8] = [
    ("steady", Manners::Steady),
    ("good", Manners::Steady),
    ("icr", Manners::Steady),
    ("limited", Manners::Steady),
    ("tight", Manners::Slow),
    ("swallowing", Manners::Swallowing),
    ("rude", Manners::Rude),
    ("vandalised", Manners::Steady),
];

/// What all that happens at once shares.
struct Shared {
    gateway: SocketAddr,
    until: Instant,
    /// Something has failed: no need to go on.
    failed: AtomicBool,
    numbers: AtomicU64,
    /// The newest secret of the route `good` that is surely in force.
    good: AtomicU64,
}

/// Tells the others when its thread panics.
struct Alarm<'a>(&'a Shared);

/// Random enough, and the same for the same seed.
struct Random(u64);

/// A sample of the gateway's process.
#[derive(Clone, Copy, Debug)]
struct Usage {
    resident: u64,
    files: usize,
}

/// How many reloads succeeded and failed.
#[derive(Default)]
struct Reloads {
    success: u64,
    failure: u64,
}

#[test]
fn every_accepted_delivery_arrives_once_whatever_else_happens_and_nothing_is_left_behind() {
    let seconds = std::env::var(SECONDS).ok().map(|seconds| seconds.parse().expect("a number of seconds"));
    let duration = seconds.map_or(SHORT, Duration::from_secs);
    let folder = tempfile::tempdir().unwrap();
    let upstreams: Vec<Upstream> =
        ROUTES.iter().zip(1..).map(|((_, manners), seed)| Upstream::start(*manners, seed)).collect();
    fs::write(folder.path().join("secret"), SECRET).unwrap();
    let file = configure(folder.path(), &upstreams, 0);
    let mut gateway = GatewayProcess::start_command(&mut serve(&file));
    let process = gateway.process.id();
    let start = Usage::of(process);

    let shared = Shared {
        gateway: gateway.server,
        until: now() + duration,
        failed: AtomicBool::new(false),
        numbers: AtomicU64::new(1),
        good: AtomicU64::new(0),
    };
    let (sent, reloads, warm, peak) = thread::scope(|scope| {
        let senders = start_senders(&shared, scope);
        let watcher = scope.spawn(|| watch(&shared, process, duration));
        let reloads = reload(&shared, &gateway, folder.path(), &upstreams);
        let sent: Vec<Sent> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        let (warm, peak) = watcher.join().unwrap();
        (sent, reloads, warm, peak)
    });

    let metrics = settle(&gateway, &upstreams, start.files + MORE_FILES);
    let end = Usage::of(process);
    println!("soak of {duration:?}: {} deliveries", sent.len());
    println!("reloads: {} succeeded, {} failed", reloads.success, reloads.failure);
    for (when, usage) in [("start", start), ("warm", warm), ("peak", peak), ("end", end)] {
        println!("{when:<6} {:>7} KiB resident, {:>4} file descriptors", usage.resident >> 10, usage.files);
    }
    print!("{}", account(&sent, &upstreams, &metrics));

    assert!(end.resident <= warm.resident + SLACK, "memory: {warm:?} when warm, {end:?} at the end");
    for (result, count) in [("success", reloads.success), ("failure", reloads.failure)] {
        // It may have seen a change by itself, too.
        assert!(metrics.get("hooklatch_config_reloads_total", &[("result", result)]) >= count as f64, "{result}");
    }
    assert_eq!(gateway.process.terminate().code(), Some(0));
    let log = gateway.process.printed(Stream::Stderr).join("\n");
    assert!(!log.contains("a bug"), "{log}");
}

fn start_senders<'scope, 'env>(
    shared: &'env Shared,
    scope: &'scope thread::Scope<'scope, 'env>,
) -> Vec<thread::ScopedJoinHandle<'scope, Vec<Sent>>> {
    const OK: Told = (200, None);
    const LIMITED: [Told; 2] = [OK, (429, Some("rate_limited"))];
    const TIGHT: [Told; 2] = [OK, (503, Some("overloaded"))];
    const RUDE: [Told; 6] = [
        OK,
        (204, None),
        (500, None),
        (502, Some("upstream_unreachable")),
        (502, Some("upstream_failed")),
        (504, Some("upstream_timeout")),
    ];
    let mut seeds = Random::new(0x00C0_FFEE);
    let mut senders = Vec::new();
    for (route, answers) in [
        ("steady", &[OK][..]),
        ("good", &[OK]),
        ("good", &[OK]),
        ("icr", &[OK]),
        ("limited", &LIMITED),
        ("tight", &TIGHT),
        ("tight", &TIGHT),
        ("tight", &TIGHT),
        ("swallowing", &[OK]),
        ("swallowing", &[OK]),
        ("rude", &RUDE),
        ("rude", &RUDE),
    ] {
        let random = Random::new(seeds.next());
        senders.push(scope.spawn(move || provider(shared, route, answers, random)));
    }
    for send in [impostor, impostor, vandal, vandal, vandal, vandal] {
        let random = Random::new(seeds.next());
        senders.push(scope.spawn(move || send(shared, random)));
    }
    senders
}

/// Writes the configuration of a turn, with the newest secrets of the route `good` at that time; where it is.
fn configure(folder: &Path, upstreams: &[Upstream], turn: u64) -> PathBuf {
    let oldest = turn.saturating_sub(GOOD_SECRETS - 1);
    let good: Vec<String> = (oldest..=turn).rev().map(|at| format!("{{ file: good-{at}, id: v{at} }}")).collect();
    for at in oldest..=turn {
        replace(&folder.join(format!("good-{at}")), &good_secret(at));
    }
    let access_log = if turn.is_multiple_of(2) { "refused" } else { "none" };
    let mut yaml = format!(
        "server: {{ listen: 127.0.0.1:0, threads: 2, header_timeout: 1s, access_log: {access_log} }}\n\
         admin: {{ listen: 127.0.0.1:0 }}\nroutes:\n"
    );
    for ((route, _), upstream) in ROUTES.iter().zip(upstreams) {
        let scheme = if *route == "icr" { "icr" } else { "circleci" };
        let secrets = if *route == "good" { good.join(", ") } else { "{ file: secret }".to_owned() };
        let own = match *route {
            "limited" => "rate_limit: { per_second: 50, burst: 20 }".to_owned(),
            "tight" => "max_in_flight: 2".to_owned(),
            "rude" => "timeout: 200ms".to_owned(),
            // Something that changes, so that routes are made anew.
            _ => format!("timeout: {}s", 20 + turn % 5),
        };
        yaml += &format!(
            "  - {{ name: {route}, path: /{route}/*, scheme: {scheme}, secrets: [{secrets}], max_body: 64KiB, \
             body_timeout: 2s, upstream: 'http://{}/in', {own} }}\n",
            upstream.address
        );
    }
    if turn % 3 == 1 {
        yaml += "  - { name: extra, path: /extra, scheme: civo, secrets: [{ file: secret }], upstream: 'http://a' }\n";
    }
    replace(&folder.join("gateway.yaml"), &yaml);
    folder.join("gateway.yaml")
}

fn good_secret(at: u64) -> String {
    format!("good-secret-{at}")
}

/// Reloads again and again: by signal or by itself, with a new secret, or with what must fail.
fn reload(shared: &Shared, gateway: &GatewayProcess, folder: &Path, upstreams: &[Upstream]) -> Reloads {
    let _alarm = Alarm(shared);
    let mut reloads = Reloads::default();
    let count = |result| Metrics::scrape(gateway.admin).get("hooklatch_config_reloads_total", &[("result", result)]);
    let mut last = 0;
    for turn in 1.. {
        if !shared.goes_on() {
            break;
        }
        let must_fail = turn % 4 == 0;
        let result = if must_fail { "failure" } else { "success" };
        let before = count(result);
        if must_fail {
            replace(&folder.join("gateway.yaml"), "routes: [{ name: broken }]");
            reloads.failure += 1;
        } else {
            configure(folder, upstreams, turn);
            reloads.success += 1;
        }
        // Otherwise it is to see the change by itself.
        if turn % 8 != 1 {
            gateway.process.signal("HUP");
        }
        poll("the reload", || {
            thread::sleep(PACE);
            count(result) > before
        });
        if !must_fail {
            // What was counted may be a second look at the last configuration. That one is in force, then.
            shared.good.store(last, Ordering::Relaxed);
            last = turn;
        }
        thread::sleep(BETWEEN_RELOADS);
    }
    reloads
}

/// The most that the process used in the first fifth of the time, in which every kind of traffic has passed, and in all.
fn watch(shared: &Shared, process: u32, duration: Duration) -> (Usage, Usage) {
    let _alarm = Alarm(shared);
    let (mut warm, mut peak) = (Usage::of(process), Usage::of(process));
    while shared.goes_on() {
        peak = peak.max(Usage::of(process));
        if shared.until.saturating_duration_since(now()) > duration * 4 / 5 {
            warm = peak;
        }
        thread::sleep(PACE);
    }
    (warm, peak)
}

/// Waits until nothing is under way, the upstreams have closed what they had open, and no more than `files` file
/// descriptors are left: the last metrics.
fn settle(gateway: &GatewayProcess, upstreams: &[Upstream], files: usize) -> Metrics {
    for name in ["hooklatch_connections", "hooklatch_in_flight_requests", "hooklatch_buffered_bytes"] {
        poll(name, || Metrics::scrape(gateway.admin).get(name, &[]) == 0.0);
    }
    upstreams.iter().for_each(Upstream::close);
    // The gateway closes its side as soon as it sees that the other is closed.
    poll("file descriptors", || Usage::of(gateway.process.id()).files <= files);
    Metrics::scrape(gateway.admin)
}

impl Shared {
    /// Whether there is time left; a moment later, so that nothing sends as fast as it can.
    fn goes_on(&self) -> bool {
        thread::sleep(PACE);
        now() < self.until && !self.failed.load(Ordering::Relaxed)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn good_secret(&self) -> String {
        good_secret(self.good.load(Ordering::Relaxed))
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// xorshift64* (Vigna 2016).
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 32) % bound.max(1)
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Usage {
    fn max(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), files: self.files.max(other.files) }
    }

    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        Self { resident: resident.unwrap().parse::<u64>().unwrap() << 10, files }
    }
}

#[expect(clippy::disallowed_methods, reason = "it is to last for some time of the clock")]
fn now() -> Instant {
    Instant::now()
}
