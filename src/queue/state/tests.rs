//! The table, and a store that follows it through random operations and crashes.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::store::backend::{Answer, Backend, Due, Reader, Write};
use crate::store::memory::{Bounds, Memory};
use crate::store::sqlite::Sqlite;
use crate::store::{
    Attempt, AttemptOutcome, Change, Changed, Claimed, Delivery, Keep, RequestId, Shown, StoredDetails, Ticket, Waiting,
};

const NOW: Millis = 1_700_000_000_000;
const KEEP: Keep = Keep { delivered: Millis::MAX, dead: Millis::MAX, refused: Millis::MAX };

#[test]
fn an_erased_delivery_stays_erased() {
    for event in Event::ALL {
        let follows = follows(State::Erased, event);
        assert!(matches!(follows, Follows::Stays | Follows::Refused | Follows::Becomes(State::Erased)), "{event:?}");
    }
}

#[test]
fn nothing_but_a_failure_or_a_replay_makes_a_delivery_wait() {
    for state in State::ALL {
        for event in Event::ALL {
            let waits = matches!(follows(state, event), Follows::Waits | Follows::Afresh | Follows::Once);
            let may = event == Event::Replay || (event == Event::Failed && state == State::Pending);
            assert!(!waits || may, "{state:?} {event:?}");
        }
    }
}

#[test]
fn the_lists_of_states_are_those_of_the_table() {
    let from = |event, wanted: &dyn Fn(Follows) -> bool| -> Vec<State> {
        State::ALL.into_iter().filter(|state| wanted(follows(*state, event))).collect()
    };
    assert_eq!(from(Event::Discard, &|follows| follows != Follows::Refused), DISCARDED_FROM);
    assert_eq!(from(Event::Replay, &|follows| follows == Follows::Afresh), REPLAYED_AFRESH_FROM);
    let mut once = from(Event::Replay, &|follows| follows == Follows::Once);
    let mut listed = REPLAYED_ONCE_FROM.to_vec();
    once.sort();
    listed.sort();
    assert_eq!(once, listed);
}

#[test]
fn the_documentation_has_the_table() {
    let text = include_str!("../state.rs");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| *line != "//! ```text")
        .skip(2)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(rows.len(), State::ALL.len());
    for row in rows {
        let state = State::ALL.into_iter().find(|state| format!("{state:?}").to_lowercase() == row[0]).unwrap();
        for (event, cell) in Event::ALL.into_iter().zip(&row[1..]) {
            let expected = match follows(state, event) {
                Follows::Becomes(state) => format!("{state:?}").to_lowercase(),
                Follows::Waits => "waits".to_owned(),
                Follows::Stays => "stays".to_owned(),
                Follows::Afresh => "afresh".to_owned(),
                Follows::Once => "once".to_owned(),
                Follows::Refused => "–".to_owned(),
            };
            assert_eq!(cell.split([' ', ',']).next().unwrap(), expected, "{state:?} {event:?}");
        }
    }
}

// --- A store against the table ---------------------------------------------------------------------------------------

/// A step of a random run; a number picks one of the deliveries.
#[derive(Clone, Copy, Debug)]
enum Step {
    Accept,
    /// Stored, and attempted at once.
    AcceptAndBegin,
    Begin,
    End(Event, u8),
    GiveBack(u8),
    Ask(Event, u8),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let ended = prop_oneof![Just(Event::Delivered), Just(Event::Failed), Just(Event::GivenUp)];
    let asked = prop_oneof![Just(Event::Discard), Just(Event::Erase), Just(Event::Replay)];
    prop_oneof![
        2 => Just(Step::Accept),
        3 => Just(Step::AcceptAndBegin),
        6 => Just(Step::Begin),
        6 => (ended, any::<u8>()).prop_map(|(event, pick)| Step::End(event, pick)),
        1 => any::<u8>().prop_map(Step::GiveBack),
        3 => (asked, any::<u8>()).prop_map(|(event, pick)| Step::Ask(event, pick)),
        1 => Just(Step::Crash),
    ]
}

/// What the reference knows of a delivery.
#[derive(Clone, Copy, Debug)]
struct Reference {
    state: State,
    waits: bool,
    once: bool,
    /// A replay that waits: all that waits here is due.
    replayed: bool,
    attempts: u32,
}

impl Reference {
    /// The table, applied.
    fn apply(&mut self, event: Event) -> bool {
        match follows(self.state, event) {
            Follows::Becomes(state) => {
                // The one attempt of a replay that fails leaves the state, as does one that no one waits for.
                self.state = state;
                self.waits = false;
            }
            // What waits now is no replay: its attempt was made.
            Follows::Waits => self.replayed = false,
            Follows::Stays => self.waits = false,
            Follows::Afresh if self.waits && self.replayed => return false,
            Follows::Afresh => {
                (self.state, self.waits, self.once, self.replayed) = (State::Pending, true, false, true);
            }
            Follows::Once if self.waits => return false,
            Follows::Once => (self.waits, self.once) = (true, true),
            Follows::Refused => return false,
        }
        true
    }
}

struct Run {
    backend: Box<dyn Backend>,
    reader: Box<dyn Reader>,
    folder: Option<TempDir>,
    reference: Vec<Reference>,
    under_way: Vec<(usize, Claimed)>,
}

impl Run {
    fn new(folder: Option<TempDir>) -> Self {
        let backend = Self::open(folder.as_ref());
        let reader = backend.reader().unwrap();
        Self { backend, reader, folder, reference: Vec::new(), under_way: Vec::new() }
    }

    fn open(folder: Option<&TempDir>) -> Box<dyn Backend> {
        let clock = Clock::fixed(UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs()));
        match folder {
            Some(folder) => Box::new(Sqlite::open_unlocked(folder.path(), KEEP, clock)),
            None => Box::new(Memory::new(Bounds::default(), KEEP)),
        }
    }

    fn write(&mut self, write: Write) -> Answer {
        self.backend.commit(&[write], NOW, &mut |_| ()).unwrap()[0]
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Accept => drop(self.accept(false)),
            Step::AcceptAndBegin => {
                let number = self.reference.len();
                let Answer::Stored(ticket) = self.accept(true) else { panic!("stored") };
                self.under_way.push((number, first_attempt(number, ticket)));
            }
            Step::Begin => {
                let claimed: HashSet<Ticket> = self.under_way.iter().map(|(_, claimed)| claimed.ticket).collect();
                let due = self.due(&claimed, 1);
                self.under_way.extend(due);
            }
            Step::End(event, pick) => self.end(event, pick),
            Step::GiveBack(_) if self.under_way.is_empty() => {}
            Step::GiveBack(pick) => {
                let (_, claimed) = self.under_way.swap_remove(usize::from(pick) % self.under_way.len());
                self.write(Write::Release(vec![claimed.ticket]));
            }
            Step::Ask(event, pick) => self.ask(event, pick),
            Step::Crash => {
                self.under_way.clear();
                if let Some(folder) = &self.folder {
                    // The lock is the process's: it goes with the old store.
                    self.backend = Box::new(Memory::new(Bounds::default(), KEEP));
                    self.reader = self.backend.reader().unwrap();
                    self.backend = Self::open(Some(folder));
                    self.reader = self.backend.reader().unwrap();
                }
            }
        }
    }

    fn accept(&mut self, claim: bool) -> Answer {
        let delivery = Box::new(delivery(self.reference.len()));
        self.reference.push(Reference {
            state: State::Pending,
            waits: true,
            once: false,
            replayed: false,
            attempts: 0,
        });
        self.write(Write::Accept { delivery, key: None, destinations: 1, claim })
    }

    fn end(&mut self, event: Event, pick: u8) {
        if self.under_way.is_empty() {
            return;
        }
        let (number, claimed) = self.under_way.swap_remove(usize::from(pick) % self.under_way.len());
        let retry_at = (event == Event::Failed).then_some(NOW);
        let next = after_attempt(event == Event::Delivered, claimed.waiting.once, retry_at);
        let attempt = attempt(claimed.waiting.attempts + 1);
        self.write(Write::Complete(Box::new(AttemptOutcome {
            id: claimed.id,
            ticket: claimed.ticket,
            since: claimed.waiting.since,
            attempt,
            next,
            reason: None,
            settled: None,
        })));
        let reference = &mut self.reference[number];
        reference.attempts += 1;
        let waited = reference.waits;
        // A failure counts only for a delivery that still waits.
        if event == Event::Delivered || waited {
            let event = if claimed.waiting.once && event == Event::Failed { Event::GivenUp } else { event };
            reference.apply(event);
        }
    }

    fn ask(&mut self, event: Event, pick: u8) {
        if self.reference.is_empty() {
            return;
        }
        let number = usize::from(pick) % self.reference.len();
        let id = id(number);
        // A replay of what is being attempted is refused before the store is asked.
        if event == Event::Replay && self.under_way.iter().any(|(busy, _)| *busy == number) {
            return;
        }
        let change = match (event, follows(self.reference[number].state, Event::Replay)) {
            (Event::Discard, _) => Change::Settle { id, from: DISCARDED_FROM, to: State::Discarded },
            (Event::Erase, _) => Change::Erase { id },
            (_, Follows::Once) => {
                Change::Requeue { id, from: REPLAYED_ONCE_FROM, destinations: 1, at: NOW, once: true, head: None }
            }
            _ => Change::Requeue { id, from: REPLAYED_AFRESH_FROM, destinations: 1, at: NOW, once: false, head: None },
        };
        let answer = self.write(Write::Change(change));
        let expected = self.reference[number].apply(event);
        assert_eq!(matches!(answer, Answer::Changed(Changed::Done(_))), expected, "{event:?}: {answer:?}");
    }

    fn due(&mut self, claimed: &HashSet<Ticket>, limit: usize) -> Vec<(usize, Claimed)> {
        let query = Due { route: "r", destination: 0, now: NOW, limit, max_bytes: 1 << 20, claimed };
        let due = self.reader.due(&query).unwrap();
        due.into_iter().map(|claimed| (usize::try_from(claimed.id.as_u128()).unwrap() - 1, claimed)).collect()
    }

    fn compare(&mut self) {
        let mut due: Vec<usize> = self.due(&HashSet::new(), 1_000).into_iter().map(|(number, _)| number).collect();
        due.sort_unstable();
        let waiting = self.reference.iter().enumerate().filter(|(_, reference)| reference.waits);
        let mut expected: Vec<usize> = waiting.map(|(number, _)| number).collect();
        // What is being attempted since it was stored need not be due yet.
        let busy = |number: &usize| !self.under_way.iter().any(|(other, _)| other == number);
        due.retain(busy);
        expected.retain(busy);
        assert_eq!(due, expected, "what waits");
        let mut counted = 0;
        for (number, reference) in self.reference.iter().enumerate() {
            let (stored, attempts) = self.reader.get(id(number)).unwrap().unwrap();
            assert_eq!(stored.shown, Shown::of(reference.state, reference.attempts, false), "{number}");
            assert_eq!(stored.attempts, reference.attempts, "{number}");
            let numbers: HashSet<u32> = attempts.iter().map(|attempt| attempt.number).collect();
            assert_eq!(numbers.len(), attempts.len(), "no number twice");
            counted += 1;
        }
        let book = self.backend.book();
        let total: u64 = book.lock().unwrap().counts.values().sum();
        assert_eq!(total, counted);
    }
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(number).unwrap() + 1)
}

fn delivery(number: usize) -> Delivery {
    Delivery {
        id: id(number),
        received_at: NOW,
        route: "r".into(),
        scheme: "s".into(),
        state: State::Pending,
        reason: None,
        status: None,
        event_type: None,
        event_id: None,
        request_id: RequestId::Unknown,
        peer: "".into(),
        method: "POST".into(),
        path: "/".into(),
        request_bytes: 4,
        duration_ms: None,
        head: Bytes::new(),
        body: Some(Bytes::from_static(b"body")),
        details: StoredDetails::default(),
    }
}

/// The job of one that is attempted as soon as it is stored.
fn first_attempt(number: usize, ticket: Ticket) -> Claimed {
    let Delivery { received_at, scheme, details, head, .. } = delivery(number);
    Claimed {
        ticket,
        id: id(number),
        received_at,
        waiting: Waiting::received(received_at),
        scheme,
        details,
        head,
        body: Bytes::new(),
    }
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        destination: 0,
        number,
        at: NOW,
        result: "2xx".into(),
        status: Some(200),
        error: None,
        duration_ms: 1,
        replay: false,
        gateway: None,
        response_head: Bytes::new(),
        response_body: Bytes::new(),
    }
}

fn run(mut run: Run, steps: &[Step]) {
    for step in steps {
        run.step(*step);
    }
    run.compare();
    run.step(Step::Crash);
    run.compare();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_store_in_memory_follows_the_table(steps in proptest::collection::vec(step(), 0..80)) {
        run(Run::new(None), &steps);
    }

    #[test]
    fn the_database_follows_the_table_over_any_crash(steps in proptest::collection::vec(step(), 0..60)) {
        run(Run::new(Some(TempDir::new().unwrap())), &steps);
    }
}
