//! The store with its threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::backend::Book;
use super::inbox::{KEPT_KEYS, KEPT_OUTCOMES};
use super::*;

fn start(backend: Box<dyn Backend>, limits: Limits) -> Store {
    Store::start(backend, limits, clock(), Box::new(|_| ())).unwrap()
}

fn limits() -> Limits {
    Limits { min_free: 0, ..Limits::default() }
}

fn in_memory() -> Store {
    start(Box::new(Memory::new(Bounds::default(), KEEP)), limits())
}

async fn accept(store: &Store, number: u64, key: Option<DedupeKey>, claim: bool) -> Result<Accepted, StoreError> {
    store.accept(delivery(number, State::Pending), key, 1, claim).await
}

/// A backend that does as it is told.
struct Told {
    inner: Memory,
    /// Each commit waits for a word.
    go: Option<mpsc::Receiver<()>>,
    full: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    /// What the file system says of its room; an error while this is none.
    sizes: Arc<Mutex<Option<Sizes>>>,
    /// How many commits have begun.
    tried: Arc<AtomicUsize>,
}

impl Told {
    fn new() -> Self {
        let inner = Memory::new(Bounds::default(), KEEP);
        let sizes = Arc::new(Mutex::new(Some(Sizes::default())));
        Self { inner, go: None, full: Arc::default(), broken: Arc::default(), sizes, tried: Arc::default() }
    }
}

impl Backend for Told {
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner.reader()
    }
    fn commit(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, StoreError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        if let Some(go) = &self.go {
            go.recv().unwrap();
        }
        if self.full.load(Ordering::SeqCst) {
            // As SQLite does: the row is inserted, and the commit fails.
            claimed(Ticket { row: 1, destination: 0 });
            return Err(StoreError::Full);
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("the disk is gone".into()));
        }
        self.inner.commit(batch, now, claimed)
    }
    fn maintain(&mut self, now: Millis) -> Result<bool, StoreError> {
        self.inner.maintain(now)
    }
    fn keep(&mut self, keep: Keep) {
        self.inner.keep(keep);
    }
    fn sizes(&self) -> Result<Sizes, StoreError> {
        lock(&self.sizes).ok_or(StoreError::Failed("too many open files".into()))
    }
    fn book(&self) -> Arc<Mutex<Book>> {
        self.inner.book()
    }
    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refused_delivery_leaves_no_claim_on_the_next_one_of_its_row() {
    let told = Told::new();
    let full = told.full.clone();
    full.store(true, Ordering::SeqCst);
    let store = start(Box::new(told), limits());
    assert_eq!(accept(&store, 0, None, true).await, Err(StoreError::Full));
    full.store(false, Ordering::SeqCst);
    accept(&store, 1, None, false).await.unwrap();
    let claimed = store.claim("github", 0, NOW + 9, 10).await.unwrap();
    assert_eq!(claimed.len(), 1, "the delivery that came next is due");
}

#[tokio::test]
async fn a_delivery_that_is_claimed_at_once_comes_again_only_when_it_is_released_or_retried() {
    let store = in_memory();
    let Accepted::Stored(ticket) = accept(&store, 0, None, true).await.unwrap() else { panic!("stored") };
    assert!(store.claim("github", 0, NOW + 9, 10).await.unwrap().is_empty());
    store.give_back(ticket).await.unwrap();
    assert_eq!(store.claim("github", 0, NOW + 9, 10).await.unwrap().len(), 1);
    assert!(store.claim("github", 0, NOW + 9, 10).await.unwrap().is_empty());
    store.complete(outcome(ticket, 1, Next::Retry(NOW + 9))).unwrap();
    // A change is answered after what was handed in before it.
    store.change(Change::Pause { route: "other".into(), paused: true }).await.unwrap();
    let claimed = store.claim("github", 0, NOW + 9, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].waiting.attempts), (1, 1));
}

#[tokio::test]
async fn a_delivery_is_claimed_until_its_attempt_has_ended_though_it_was_discarded() {
    let store = in_memory();
    let Accepted::Stored(ticket) = accept(&store, 0, None, true).await.unwrap() else { panic!("stored") };
    let discard = Change::Settle { id: id(0), from: &[State::Pending], to: State::Discarded };
    store.change(discard).await.unwrap();
    assert!(store.is_claimed(id(0)).await.unwrap());
    store.completed(outcome(ticket, 1, Next::Retry(NOW))).await.unwrap();
    assert!(!store.is_claimed(id(0)).await.unwrap() && !store.is_claimed(id(1)).await.unwrap());
}

#[tokio::test]
async fn a_panic_in_a_question_is_its_own_alone() {
    let store = in_memory();
    let panics = store.threads.people.ask(|_| -> Result<(), StoreError> { panic!("on purpose") }).await;
    assert_eq!(panics, Err(StoreError::Closed));
    assert_eq!(store.body(id(0)).await, Ok(None));
}

#[tokio::test]
async fn a_paused_or_held_route_hands_out_nothing() {
    let store = in_memory();
    accept(&store, 0, None, false).await.unwrap();
    let route: Arc<str> = "github".into();
    for (on, off) in [
        (
            Change::Pause { route: Arc::clone(&route), paused: true },
            Change::Pause { route: Arc::clone(&route), paused: false },
        ),
        (
            Change::Hold { route: Arc::clone(&route), held: true },
            Change::Hold { route: Arc::clone(&route), held: false },
        ),
    ] {
        store.change(on).await.unwrap();
        assert!(store.claim("github", 0, NOW, 10).await.unwrap().is_empty());
        store.change(off).await.unwrap();
        let claimed = store.claim("github", 0, NOW, 10).await.unwrap();
        assert_eq!(claimed.len(), 1);
        store.release(claimed.iter().map(|claimed| claimed.ticket));
    }
    assert_eq!(store.counts()[&(route, Shown::Pending)], 1);
}

#[tokio::test]
async fn what_waits_at_once_is_one_batch_and_twins_get_the_first_ones_answer() {
    let (say, go) = mpsc::channel();
    let (batches, seen) = mpsc::channel();
    let backend = Told { go: Some(go), ..Told::new() };
    let note = Box::new(move |committed: Committed| batches.send(committed.writes).unwrap());
    let store = Store::start(Box::new(backend), limits(), clock(), note).unwrap();
    let key = Some(DedupeKey { key: [1; 16], until: Millis::MAX });
    let answers = async {
        let first = accept(&store, 0, None, false);
        let twins = async { tokio::join!(accept(&store, 1, key, false), accept(&store, 2, key, false)) };
        tokio::join!(first, twins)
    };
    let mut answers = Box::pin(answers);
    // All three are handed in; the first one's batch may have begun already.
    assert!(futures_poll(&mut answers).await);
    for _ in 0..3 {
        say.send(()).unwrap();
    }
    let (first, (one, other)) = answers.await;
    assert!(matches!(first, Ok(Accepted::Stored(_))) && matches!(one, Ok(Accepted::Stored(_))));
    assert_eq!(other, Ok(Accepted::Duplicate(id(1))));
    drop(store);
    let sizes: Vec<usize> = seen.iter().collect();
    assert!(sizes.len() <= 3 && sizes.iter().sum::<usize>() == 3, "{sizes:?}");
}

/// Polls once; says whether it is pending.
async fn futures_poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending()))
        .await
}

#[tokio::test]
async fn a_full_disk_refuses_deliveries_keeps_outcomes_and_heals_by_itself() {
    let backend = Told::new();
    let full = Arc::clone(&backend.full);
    let store = start(Box::new(backend), limits());
    let Accepted::Stored(ticket) = accept(&store, 0, None, true).await.unwrap() else { panic!("stored") };
    full.store(true, Ordering::SeqCst);
    store.complete(outcome(ticket, 1, settled(State::Delivered))).unwrap();
    assert_eq!(accept(&store, 1, None, false).await, Err(StoreError::Full));
    assert_eq!(store.health(), Health::Full);
    full.store(false, Ordering::SeqCst);
    assert!(matches!(accept(&store, 2, None, false).await, Ok(Accepted::Stored(_))));
    // What was kept is written after the batch that has found room.
    accept(&store, 3, None, false).await.unwrap();
    assert_eq!(store.health(), Health::Good);
    let (stored, _) = store.get(id(0)).await.unwrap().unwrap();
    assert_eq!(stored.shown, Shown::Settled(State::Delivered), "the outcome was kept");
}

#[tokio::test]
async fn on_a_full_disk_what_waits_for_room_is_not_tried_with_each_delivery() {
    let told = Told::new();
    let (full, sizes, tried) = (told.full.clone(), told.sizes.clone(), told.tried.clone());
    *lock(&sizes) = Some(Sizes { used: 0, free: Some(1 << 20) });
    let store = start(Box::new(told), limits());
    let mut tickets = Vec::new();
    for number in 0..200 {
        let Accepted::Stored(ticket) = accept(&store, number, None, true).await.unwrap() else { panic!("stored") };
        tickets.push(ticket);
    }
    full.store(true, Ordering::SeqCst);
    let before = tried.load(Ordering::SeqCst);
    for ticket in tickets {
        store.complete(outcome(ticket, 1, settled(State::Delivered))).unwrap();
    }
    for number in 200..230 {
        assert_eq!(accept(&store, number, None, false).await, Err(StoreError::Full));
    }
    let tried = tried.load(Ordering::SeqCst) - before;
    assert!(tried < 100, "{tried} commits were tried");
    full.store(false, Ordering::SeqCst);
    accept(&store, 230, None, false).await.unwrap();
    accept(&store, 231, None, false).await.unwrap();
    assert_eq!(store.counts()[&("github".into(), Shown::Settled(State::Delivered))], 200);
}

#[tokio::test]
async fn a_folder_that_cannot_be_looked_at_for_a_moment_does_not_fail_the_store() {
    let told = Told::new();
    let sizes = told.sizes.clone();
    let store = start(Box::new(told), limits());
    *lock(&sizes) = None;
    accept(&store, 0, None, false).await.unwrap();
    assert_eq!(store.health(), Health::Good);
}

#[tokio::test]
async fn a_delivery_of_any_size_is_stored_and_records_take_no_room_from_deliveries() {
    let (say, go) = mpsc::channel();
    let limits = Limits { bytes: 10_000, patience: Duration::from_secs(3_600), ..limits() };
    let store = start(Box::new(Told { go: Some(go), ..Told::new() }), limits);
    let sized = |number, state| Delivery { body: Some(vec![0; 3_000].into()), ..delivery(number, state) };
    // The first one's batch has begun, or is to begin with the word.
    let mut first = Box::pin(accept(&store, 0, None, false));
    assert!(futures_poll(&mut first).await);
    for number in 1..9 {
        store.record(sized(number, State::Forwarded), clock().now());
    }
    assert!(store.dropped() > 0, "records have half of the bytes");
    let mut second = Box::pin(store.accept(sized(10, State::Pending), None, 1, false));
    let mut third = Box::pin(store.accept(sized(11, State::Pending), None, 1, false));
    assert!(futures_poll(&mut second).await && futures_poll(&mut third).await, "they wait for the writer");
    for _ in 0..30 {
        say.send(()).unwrap();
    }
    first.await.unwrap();
    second.await.unwrap();
    third.await.unwrap();
    let big = Delivery { body: Some(vec![0; 20_000].into()), ..delivery(12, State::Pending) };
    store.accept(big, None, 1, false).await.unwrap();
}

#[tokio::test]
async fn while_many_outcomes_wait_for_room_no_attempt_begins_and_none_is_lost() {
    let bounds = Bounds { deliveries: 2 * KEPT_OUTCOMES, ..Bounds::default() };
    let backend = Told { inner: Memory::new(bounds, KEEP), ..Told::new() };
    let full = Arc::clone(&backend.full);
    let store = start(Box::new(backend), limits());
    let count = u64::try_from(KEPT_OUTCOMES).unwrap();
    let mut accepted = tokio::task::JoinSet::new();
    for number in 0..count {
        let store = store.clone();
        accepted.spawn(async move { accept(&store, number, None, true).await });
    }
    let mut tickets = Vec::new();
    for answer in accepted.join_all().await {
        match answer {
            Ok(Accepted::Stored(ticket)) => tickets.push(ticket),
            other => panic!("{other:?}"),
        }
    }
    accept(&store, count, None, false).await.unwrap();
    full.store(true, Ordering::SeqCst);
    for ticket in &tickets {
        store.complete(outcome(*ticket, 1, settled(State::Delivered))).unwrap();
    }
    // Each of them is answered after everything that was handed in before it.
    for _ in 0..=KEPT_OUTCOMES / 512 {
        assert_eq!(accept(&store, count + 1, None, false).await, Err(StoreError::Full));
    }
    assert_eq!(store.claim("github", 0, NOW + Millis::MAX / 2, 10).await.unwrap_err(), StoreError::Full);
    full.store(false, Ordering::SeqCst);
    accept(&store, count + 2, None, false).await.unwrap();
    accept(&store, count + 3, None, false).await.unwrap();
    assert_eq!(store.claim("github", 0, NOW + Millis::MAX / 2, 10).await.unwrap().len(), 3);
    assert_eq!(store.counts()[&("github".into(), Shown::Settled(State::Delivered))], count);
}

#[tokio::test]
async fn of_the_keys_that_wait_for_room_the_oldest_are_forgotten_and_counted() {
    let backend = Told::new();
    let full = Arc::clone(&backend.full);
    let store = start(Box::new(backend), limits());
    full.store(true, Ordering::SeqCst);
    let key = |number: usize| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    };
    for number in 0..KEPT_KEYS + 3 {
        let reservation = match store.shared().reservations.reserve(key(number)) {
            Reserved::First(reservation) => reservation,
            other => panic!("{other:?}"),
        };
        store.commit_key(reservation, id(7), Millis::MAX).unwrap();
    }
    for _ in 0..=KEPT_KEYS / 512 + 1 {
        assert_eq!(accept(&store, 0, None, false).await, Err(StoreError::Full));
    }
    // The last batch is still looked at when its delivery is answered.
    assert_eq!(accept(&store, 0, None, false).await, Err(StoreError::Full));
    assert_eq!(store.evicted(), 3);
    full.store(false, Ordering::SeqCst);
    accept(&store, 1, None, false).await.unwrap();
    assert!(matches!(store.reserve(key(0), NOW).await.unwrap(), Reserved::First(_)));
    assert!(matches!(store.reserve(key(3), NOW).await.unwrap(), Reserved::Duplicate(_)));
}

#[tokio::test]
async fn records_leave_the_last_room_to_deliveries_to_queue_and_refused_ones_get_half() {
    let max_size = 100_000;
    let store = start(Box::new(Memory::new(Bounds::default(), KEEP)), Limits { max_size, ..limits() });
    let sized = |number, state| Delivery { body: Some(vec![0; 8_700].into()), ..delivery(number, state) };
    let mut taken = [0; 2];
    for number in 0..20 {
        let (place, state) = if number < 10 { (0, State::Refused) } else { (1, State::Forwarded) };
        let before = store.dropped();
        store.record(sized(number, state), clock().now());
        // A change is answered after what was handed in before it.
        store.change(Change::Pause { route: "other".into(), paused: true }).await.unwrap();
        taken[place] += u64::from(store.dropped() == before);
    }
    assert_eq!(taken, [5, 4], "of some 9,500 bytes each");
    accept(&store, 30, None, false).await.unwrap();
}

#[tokio::test]
async fn records_that_wait_do_not_delay_a_delivery_to_queue() {
    let (say, go) = mpsc::channel();
    let (batches, seen) = mpsc::channel();
    let backend = Told { go: Some(go), ..Told::new() };
    let note = Box::new(move |committed: Committed| batches.send((committed.deliveries, committed.writes)).unwrap());
    let store = Store::start(Box::new(backend), limits(), clock(), note).unwrap();
    // The first delivery's batch has begun, or is to begin with the word.
    let first = tokio::spawn({
        let store = store.clone();
        async move { accept(&store, 10_000, None, false).await }
    });
    for number in 0..2_000 {
        store.record(delivery(number, State::Forwarded), clock().now());
    }
    let mut second = Box::pin(accept(&store, 10_001, None, false));
    assert!(futures_poll(&mut second).await);
    for _ in 0..20 {
        say.send(()).unwrap();
    }
    second.await.unwrap();
    first.await.unwrap().unwrap();
    let before: usize = seen.try_iter().take_while(|(deliveries, _)| *deliveries == 0).map(|(_, writes)| writes).sum();
    assert!(before <= 512, "{before} records went first");
    store.close();
    assert_eq!(store.dropped(), 0);
}

#[tokio::test]
async fn another_error_is_final() {
    let backend = Told::new();
    let broken = Arc::clone(&backend.broken);
    let store = start(Box::new(backend), limits());
    broken.store(true, Ordering::SeqCst);
    let failed = Err(StoreError::Failed("the disk is gone".into()));
    assert_eq!(accept(&store, 0, None, false).await, failed);
    broken.store(false, Ordering::SeqCst);
    assert_eq!(accept(&store, 1, None, false).await, failed, "it is not tried again");
    assert_eq!(store.health(), Health::Failed("the disk is gone".into()));
    assert!(!store.record(delivery(2, State::Forwarded), clock().now()));
    assert_eq!(store.dropped(), 1);
}

#[tokio::test]
async fn over_its_size_or_under_the_free_room_it_takes_no_deliveries_but_outcomes_and_changes() {
    for limits in [Limits { max_size: 0, ..limits() }, Limits { min_free: u64::MAX, ..limits() }] {
        let folder = TempDir::new().unwrap();
        let store = start(Box::new(open_sqlite(&folder)), limits);
        assert_eq!(accept(&store, 0, None, false).await, Err(StoreError::Full));
        store.record(delivery(1, State::Forwarded), clock().now());
        let paused = Change::Pause { route: "github".into(), paused: true };
        assert_eq!(store.change(paused).await, Ok(Changed::Done(0)));
        assert_eq!(store.dropped(), 1);
        assert!(store.get(id(1)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn more_than_may_wait_is_refused_as_slow_and_records_are_dropped() {
    let (say, go) = mpsc::channel();
    let limits = Limits { accepts: 2, records: 2, ..limits() };
    let told = Told { go: Some(go), ..Told::new() };
    let tried = told.tried.clone();
    let store = start(Box::new(told), limits);
    // Dropped before the store, also if an assertion fails: the store waits for its writer.
    let say = say;
    let mut first = Box::pin(accept(&store, 0, None, false));
    assert!(futures_poll(&mut first).await);
    while tried.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut waiting: Vec<_> = (1..9).map(|number| Box::pin(accept(&store, number, None, false))).collect();
    let mut refused = 0;
    for waiting in &mut waiting {
        if !futures_poll(waiting).await {
            refused += 1;
        }
    }
    assert_eq!(refused, 6, "two wait beside the batch that has begun");
    let recorded = (10..20).filter(|number| store.record(delivery(*number, State::Forwarded), clock().now())).count();
    assert_eq!((recorded, store.dropped()), (2, 8));
    drop(say);
    // The writer's thread panics for want of a word: what waits is answered all the same.
    let store_failed = store.clone();
    drop((first, waiting));
    store_failed.close();
    assert!(matches!(store.health(), Health::Failed(_)));
}

#[tokio::test]
async fn a_reserved_key_turns_into_a_duplicate_at_once_and_over_a_restart() {
    let folder = TempDir::new().unwrap();
    let store = start(Box::new(open_sqlite(&folder)), limits());
    let Reserved::First(first) = store.reserve([1; 16], NOW).await.unwrap() else { panic!("free") };
    assert!(matches!(store.reserve([1; 16], NOW).await, Ok(Reserved::InFlight)));
    store.commit_key(first, id(0), NOW + 1_000).unwrap();
    assert!(matches!(store.reserve([1; 16], NOW).await, Ok(Reserved::Duplicate(found)) if found == id(0)));
    store.close();
    drop(store);
    let store = start(Box::new(open_sqlite(&folder)), limits());
    assert!(matches!(store.reserve([1; 16], NOW).await, Ok(Reserved::Duplicate(found)) if found == id(0)));
    assert!(matches!(store.reserve([1; 16], NOW + 1_000).await, Ok(Reserved::First(_))));
}

#[tokio::test]
async fn closing_writes_what_was_taken() {
    let folder = TempDir::new().unwrap();
    let store = start(Box::new(open_sqlite(&folder)), limits());
    assert!(store.record(delivery(0, State::Forwarded), clock().now()));
    store.close();
    assert_eq!(accept(&store, 1, None, false).await, Err(StoreError::Closed));
    drop(store);
    let store = start(Box::new(open_sqlite(&folder)), limits());
    assert!(store.get(id(0)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_database_that_cannot_be_read_for_the_queue_is_not_written_to_either() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("hooklatch.db");
    let store = start(Box::new(open_sqlite(&folder)), limits());
    for number in 0..20 {
        accept(&store, number, None, false).await.unwrap();
    }
    store.close();
    drop(store);
    let store = start(Box::new(open_sqlite(&folder)), limits());
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[16_384..].fill(0xa5);
    std::fs::write(&database, bytes).unwrap();
    let Err(StoreError::Failed(why)) = store.claim("github", 0, NOW + 100, 10).await else { panic!("it was read") };
    assert!(why.contains("hooklatch store recover"), "{why}");
    assert_eq!(store.health(), Health::Failed(why.clone()));
    assert_eq!(accept(&store, 99, None, false).await, Err(StoreError::Failed(why)));
}
