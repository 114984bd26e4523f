//! What four open lists cost: the same load with and without four clients that do what the page and its script do.
//! `scripts/bench --watched` runs this.
//!
//! The clients are served by the load's own thread, so that they take no time from the gateway's core. Each loads `/ui/`, follows
//! the stream, and asks for the rows of what it tells as often as the script does. Nothing may be lost: every request gets its
//! 200, the upstream gets every one, and what each stream tells, leaves out and could not record adds up to what was sent.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::load::{Load, Plan, ready};
use crate::peers::{Gateway, STORE, Setting, ask, hooklatch_with};
use crate::requests::signed;
use crate::table::{median, spread, with_spread};
use crate::{Effort, plan};

/// Lists that are open.
const LISTS: usize = 4;
/// Requests a second; a short run, which may be one of a debug build, has fewer.
const RATE: f64 = 5_000.0;
const QUICK_RATE: f64 = 500.0;
/// What the page's script does: the time between two questions, and the rows of one.
const BETWEEN: Duration = Duration::from_millis(400);
const ROWS: usize = 50;
/// Bytes of an id.
const UUID: usize = 36;
/// How long streams may take to tell of the last delivery.
const PATIENCE: Duration = Duration::from_secs(20);

/// One value a slice.
#[derive(Default)]
struct Figures {
    median: Vec<f64>,
    tail: Vec<f64>,
    cpu: Vec<f64>,
}

/// Prints a table for records in memory, and one for records in the store.
pub fn run(load: &mut Load, effort: &Effort, quick: bool) -> io::Result<()> {
    let rate = if quick { QUICK_RATE } else { RATE };
    for (records, sections) in [("memory", ""), ("SQLite", STORE)] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        measure(load, effort, rate, (records, sections), folder.path())?;
    }
    Ok(())
}

fn measure(
    load: &mut Load,
    effort: &Effort,
    rate: f64,
    (records, sections): (&str, &str),
    folder: &Path,
) -> io::Result<()> {
    let upstream = load.upstream()?;
    let setting = Setting::new(folder, upstream);
    let gateway = hooklatch_with(&setting, "", sections)?;
    let request = signed(3 * 1024);
    let plan = Plan { rate: Some(rate), ..plan(&gateway, &request, 200, effort.slice) };
    let mut both = [Figures::default(), Figures::default()];
    let (mut told, mut left_out, mut rows) = (0, 0, 0);
    // The first slice warms up.
    for round in 0..=effort.rounds {
        for (figures, lists) in both.iter_mut().zip([0, LISTS]) {
            let clients = (0..lists).map(|_| Ok(Rc::new(RefCell::new(Client::open(&gateway)?))));
            let clients: Vec<Rc<RefCell<Client>>> = clients.collect::<io::Result<_>>()?;
            for client in &clients {
                let client = Rc::clone(client);
                load.others.push(Box::new(move |buffer| client.borrow_mut().step(buffer)));
            }
            let (cpu, answered, dropped) = (gateway.cpu(), load.answered, dropped(&gateway)?);
            let count = load.run(plan)?;
            let cpu = gateway.cpu() - cpu;
            let lost = count.responses - (load.answered - answered);
            settle(load, &clients, &gateway, count.responses, dropped)?;
            load.others.clear();
            if lost > 0 {
                return Err(io::Error::other(format!("{lost} deliveries did not reach the upstream")));
            }
            for client in clients.iter().map(|client| client.borrow()) {
                (told, left_out, rows) = (told + client.told, left_out + client.left_out, rows + client.rows);
            }
            if round > 0 {
                figures.add(count.latencies, cpu.as_secs_f64() * 1e6 / count.responses as f64);
            }
        }
    }
    println!("| {rate:.0}/s, 3 KB, records in {records} | p50 | p99 | CPU each |");
    println!("| --- | --- | --- | --- |");
    let [without, with] = both;
    for (name, figures) in [("nobody looks", &without), ("four lists are open", &with)] {
        let [median, tail, cpu] =
            [&figures.median, &figures.tail, &figures.cpu].map(|values| median(values).unwrap_or_default());
        println!("| {name} | {median:.1} µs | {tail:.1} µs | {cpu:.1} µs |");
    }
    let ratio = |with: &[f64], without: &[f64]| {
        with_spread(spread(with.iter().zip(without).map(|(with, without)| with / without).collect()))
    };
    println!(
        "| ratio | {} | {} | {} |",
        ratio(&with.median, &without.median),
        ratio(&with.tail, &without.tail),
        ratio(&with.cpu, &without.cpu)
    );
    let memory = gateway.memory() / (1 << 20);
    println!("None lost. Told {told}, left out and counted {left_out}, rows shown {rows}; {memory} MiB of memory.\n");
    Ok(())
}

/// Waits until each stream has accounted for every delivery.
fn settle(
    load: &mut Load,
    clients: &[Rc<RefCell<Client>>],
    gateway: &Gateway,
    sent: u64,
    dropped_before: u64,
) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut unrecorded = 0;
    let known = || clients.iter().map(|client| client.borrow().told + client.borrow().left_out).min();
    while known().is_some_and(|known| known + unrecorded < sent) {
        load.serve()?;
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("of {sent} deliveries a stream accounts for {:?}", known())));
        }
        unrecorded = dropped(gateway)? - dropped_before;
    }
    Ok(())
}

/// Deliveries that were not recorded since the start.
fn dropped(gateway: &Gateway) -> io::Result<u64> {
    let status = ask(gateway.admin()?, "/api/v1/status")?;
    let status: serde_json::Value = serde_json::from_str(&status).map_err(io::Error::other)?;
    status["records"]["dropped"].as_u64().ok_or_else(|| io::Error::other("the status has no number of dropped records"))
}

/// A list that is open in a browser.
struct Client {
    stream: TcpStream,
    heard: String,
    questions: TcpStream,
    answer: Vec<u8>,
    is_asking: bool,
    next_question: Instant,
    ids: Vec<String>,
    told: u64,
    left_out: u64,
    rows: u64,
}

impl Client {
    fn open(gateway: &Gateway) -> io::Result<Self> {
        let admin = gateway.admin()?;
        ask(admin, "/ui/")?;
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /api/v1/stream?q= HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        // Once it has begun nothing is missed.
        let mut head = [0; 4096];
        let read = stream.read(&mut head)?;
        stream.set_nonblocking(true)?;
        let questions = TcpStream::connect(admin)?;
        questions.set_nonblocking(true)?;
        Ok(Self {
            stream,
            heard: String::from_utf8_lossy(&head[..read]).into_owned(),
            questions,
            answer: Vec::new(),
            is_asking: false,
            next_question: Instant::now(),
            ids: Vec::new(),
            told: 0,
            left_out: 0,
            rows: 0,
        })
    }

    /// Reads what there is, and asks for rows if it is time.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while let Some(read) = ready(self.stream.read(buffer))? {
            if read == 0 {
                return Err(io::Error::other("the gateway has ended a stream"));
            }
            self.heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        while let Some(end) = self.heard.find("\n\n") {
            let event: String = self.heard.drain(..end + 2).collect();
            self.hear(&event)?;
        }
        if self.is_asking {
            self.read_answer(buffer)?;
        } else if !self.ids.is_empty() && Instant::now() >= self.next_question {
            let ids: Vec<String> = self.ids.iter().rev().take(ROWS).map(|id| format!("&id={id}")).collect();
            self.ids.clear();
            let target = format!("/ui/rows?q={}", ids.concat());
            // It is shorter than what a socket takes at once.
            write!(self.questions, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            self.is_asking = true;
        }
        Ok(())
    }

    /// Does not parse the JSON of all deliveries: this thread also keeps the time of the load.
    fn hear(&mut self, event: &str) -> io::Result<()> {
        let Some((_, data)) = event.split_once("data: ") else { return Ok(()) };
        if event.contains("event: gap\n") {
            // The end of a chunk may stand behind it.
            let data = serde_json::Deserializer::from_str(data).into_iter::<serde_json::Value>().next();
            let data = data.and_then(Result::ok).ok_or_else(|| io::Error::other(format!("no JSON: {event}")))?;
            self.left_out += data["count"].as_u64().unwrap_or_default();
        } else if event.contains("event: delivery\n") {
            for (at, key) in data.match_indices("\"id\":\"") {
                let id = data.get(at + key.len()..).and_then(|rest| rest.get(..UUID)).unwrap_or_default();
                self.told += 1;
                self.ids.push(id.to_owned());
            }
        }
        Ok(())
    }

    fn read_answer(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while let Some(read) = ready(self.questions.read(buffer))? {
            if read == 0 {
                return Err(io::Error::other("the gateway has ended a connection for rows"));
            }
            self.answer.extend_from_slice(&buffer[..read]);
        }
        let text = String::from_utf8_lossy(&self.answer);
        if text.ends_with("</html>\n") || text.ends_with("</html>") {
            self.rows += text.matches("<tr data-id=").count() as u64;
            self.answer.clear();
            self.is_asking = false;
            self.next_question = Instant::now() + BETWEEN;
        }
        Ok(())
    }
}

impl Figures {
    fn add(&mut self, mut latencies: Vec<Duration>, cpu: f64) {
        latencies.sort_unstable();
        let at = |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e6;
        self.median.push(at(50));
        self.tail.push(at(99));
        self.cpu.push(cpu);
    }
}
