//! What senders and the handler write down, and the accounts at the end. Deliveries have numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hooklatch::clock::MonotonicClock;
use serde_json::Value;

use super::Struck;
use crate::cluster::SECRET;
use crate::support::http::{ANSWER, Connection};
use crate::support::served::delivery;
use crate::support::stream::Stream;
use crate::support::upstream::Seen;

/// A sender's pause between two deliveries.
const PACE: Duration = Duration::from_millis(10);
/// How long before a fault an attempt may have ended whose outcome the fault keeps from being written.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// The handler took a delivery.
struct Taken {
    at: Instant,
    /// The name of the gateway that brought it.
    by: String,
}

/// The book.
pub struct Book {
    pub is_over: AtomicBool,
    clock: MonotonicClock,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
    /// Deliveries that the handler has taken, each time.
    taken: Mutex<BTreeMap<u64, Vec<Taken>>>,
    /// Deliveries that the handler has failed once.
    failed: Mutex<BTreeSet<u64>>,
    refused: AtomicU64,
    unanswered: AtomicU64,
}

impl Book {
    pub fn new(clock: MonotonicClock) -> Self {
        Self {
            is_over: AtomicBool::default(),
            clock,
            next: AtomicU64::default(),
            acknowledged: Mutex::default(),
            taken: Mutex::default(),
            failed: Mutex::default(),
            refused: AtomicU64::default(),
            unanswered: AtomicU64::default(),
        }
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    pub fn has_delivered(&self, numbers: &BTreeSet<u64>) -> bool {
        self.missing(numbers).0.is_empty()
    }

    /// Which of these were not delivered, and how many deliveries were begun.
    pub fn missing(&self, numbers: &BTreeSet<u64>) -> (Vec<u64>, u64) {
        let taken = self.taken.lock().unwrap();
        let missing = numbers.iter().filter(|number| !taken.contains_key(number));
        (missing.copied().collect(), self.next.load(Ordering::Relaxed))
    }

    /// What the handler answers: it fails some deliveries once.
    pub fn answer(&self, seen: &Seen) -> &'static str {
        let number = number(&seen.body);
        if number % 11 == 3 && self.failed.lock().unwrap().insert(number) {
            return "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        }
        let line = seen.line();
        let by = line.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
        self.taken.lock().unwrap().entry(number).or_default().push(Taken { at: self.now(), by });
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    }

    /// Sends deliveries until it is over, each to one gateway after the other until one acknowledges it.
    pub fn send(&self, sender: usize, gateways: &[SocketAddr]) {
        let mut connections: Vec<Option<Connection>> = gateways.iter().map(|_| None).collect();
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let first = sender + usize::try_from(number).unwrap();
            for at in (first..).map(|at| at % gateways.len()) {
                if self.is_acknowledged(number, gateways[at], &mut connections[at]) {
                    break;
                }
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(PACE);
            }
            thread::sleep(PACE);
        }
    }

    /// Whether a gateway takes a delivery.
    pub fn takes(&self, gateway: SocketAddr) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.is_acknowledged(number, gateway, &mut None)
    }

    fn is_acknowledged(&self, number: u64, gateway: SocketAddr, connection: &mut Option<Connection>) -> bool {
        let body = format!("{{\"id\":{number},\"text\":\"{}\"}}", text(number));
        let request = delivery("/hook", SECRET, body.as_bytes());
        let opened = connection.take().or_else(|| open(gateway));
        let answered = opened.and_then(|mut opened| {
            opened.try_write(&request).ok()?;
            let response = opened.try_receive()?;
            (response.header("connection") != Some("close")).then(|| *connection = Some(opened));
            Some(response)
        });
        match answered.as_ref().map(|response| response.status) {
            Some(200) => {
                self.acknowledged.lock().unwrap().insert(number);
                return true;
            }
            Some(503) => self.refused.fetch_add(1, Ordering::Relaxed),
            Some(status) => panic!("{status}: {answered:?}"),
            None => self.unanswered.fetch_add(1, Ordering::Relaxed),
        };
        false
    }

    /// Compares what was acknowledged with what the handler took, and tells what came of each fault.
    pub fn account(&self, struck: &[Struck]) -> String {
        let (acknowledged, taken) = (self.acknowledged(), self.taken.lock().unwrap());
        let lost: Vec<&u64> = acknowledged.iter().filter(|number| !taken.contains_key(number)).collect();
        assert!(lost.is_empty(), "acknowledged and not delivered: {lost:?}");
        let sent = self.next.load(Ordering::Relaxed);
        assert!(taken.keys().all(|number| *number < sent), "the handler got what was not sent");
        let mut repeated = vec![0; struck.len()];
        for (number, times) in taken.iter().filter(|(_, times)| times.len() > 1) {
            // The gateway that delivered it before the last time could not write that down.
            for earlier in &times[..times.len() - 1] {
                let cause = struck.iter().position(|struck| struck.explains(earlier));
                let Some(cause) = cause else {
                    let all: Vec<_> = times.iter().map(|taken| (&taken.by, taken.at)).collect();
                    panic!("{number} was delivered again without a fault: {all:?}");
                };
                repeated[cause] += 1;
            }
        }
        let mut table = String::from(
            "| Fault | Acknowledged | Lost | Repeated | Every gateway takes deliveries after | All is delivered after |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for (struck, repeated) in struck.iter().zip(&repeated) {
            let (back, caught_up) = (struck.back.as_secs_f64(), struck.caught_up.as_secs_f64());
            let line = (struck.fault.name, struck.acknowledged);
            writeln!(table, "| {} | {} | 0 | {repeated} | {back:.1} s | {caught_up:.1} s |", line.0, line.1).unwrap();
        }
        format!(
            "{table}\n{} faults: {sent} sent, {} acknowledged, {} delivered, {} of them again, {} refused with 503, {} without \
             an answer, 0 lost",
            struck.len(),
            acknowledged.len(),
            taken.len(),
            repeated.iter().sum::<u32>(),
            self.refused.load(Ordering::Relaxed),
            self.unanswered.load(Ordering::Relaxed),
        )
    }
}

impl Struck {
    /// Whether the fault may have kept the outcome of this attempt from being written down.
    fn explains(&self, taken: &Taken) -> bool {
        let time = self.begun - UNWRITTEN..self.begun + self.caught_up;
        time.contains(&taken.at) && self.fault.struck.contains(&taken.by.as_str())
    }
}

fn open(gateway: SocketAddr) -> Option<Connection> {
    let stream = TcpStream::connect(gateway).ok()?;
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    stream.set_nodelay(true).unwrap();
    Some(Connection::from(Stream::Plain(stream)))
}

fn text(number: u64) -> String {
    "x".repeat(usize::try_from(number % 3_000).unwrap())
}

/// The number of a delivery, whose body must be whole.
fn number(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).unwrap();
    let number = body["id"].as_u64().unwrap();
    assert_eq!(body["text"], text(number));
    number
}
