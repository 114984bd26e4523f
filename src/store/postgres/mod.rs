//! The store in a PostgreSQL database, which several gateways share.
//!
//! A delivery is committed before it is answered, so that no commit may be answered before it is on disk: the database's
//! `synchronous_commit` is looked at with each connection. What waits is in a table of its own, with narrow rows; bodies
//! are in another one, which a change of state does not touch.
//!
//! A gateway claims what it attempts ([`leases`]), so that no other one attempts it meanwhile. Claims go by the clock of the
//! database. So do times at which something is due or over, where a gateway's clock is wrong ([`skew`]).
//!
//! Gateways tell each other what is due by `NOTIFY` ([`hear`]); what is not heard is found a second later.
//!
//! - [`url`] reads the URL, [`tls`] does what it says of TLS, [`link`] is a connection, [`error`] tells what its errors mean.
//! - [`schema`] has the tables, [`statements`] the SQL, [`row`] what is in between.
//! - [`write`](mod@write) is a batch: [`insert`] what is new, [`fresh`] what is attempted at once, [`work`] what changes
//!   otherwise, [`flush`] how that is written.
//! - [`read`] and [`list`] are the readers.
//! - [`circuits`] are those of upstreams that gateways share.
//! - [`maintain`] is what is done each second, [`check`] what `hooklatch check` says.
//!
//! An error never ends the store: a database that cannot be reached now can be a second later.

pub mod check;
mod circuits;
pub mod error;
mod flush;
mod fresh;
mod hear;
mod insert;
mod leases;
mod link;
mod list;
mod maintain;
mod read;
mod row;
mod schema;
mod skew;
mod statements;
#[cfg(test)]
mod tests;
mod tls;
pub mod url;
mod work;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use self::error::{OpenError, PgError};
use self::hear::{Ear, Hearing, News};
use self::leases::Leases;
use self::link::{Link, Setup};
use self::skew::Skew;
use self::url::Target;
use self::work::Times;
use self::write::Done;
use crate::clock::Clock;
use crate::lock::lock;
use crate::store::attempt::Ticket;
use crate::store::backend::{Answer, Backend, Book, Others, Reader, Sharing, Write};
use crate::store::types::{Change, Keep, Millis, Sizes, StoreError, millis};

/// How long a batch may take.
const COMMIT_TIME: Duration = Duration::from_secs(10);
/// How long a query of a reader may take.
const QUERY_TIME: Duration = Duration::from_secs(2);
/// Parts of the numbers; a gateway adds to one of them.
const PARTS: i32 = 64;

/// How the store is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database.
    pub target: Target,
    /// The gateway's name, which goes with what it takes and sends.
    pub gateway: Arc<str>,
    /// How long settled deliveries stay.
    pub keep: Keep,
    /// The gateway's clock.
    pub clock: Clock,
    /// Times are not corrected by the clock of the database.
    pub trust_clock: bool,
}

/// The writing side.
#[derive(Debug)]
pub struct Postgres {
    setup: Setup,
    link: Link,
    gateway: Arc<str>,
    keep: Keep,
    trust_clock: bool,
    skew: Arc<Skew>,
    /// The part of the numbers that this process adds to.
    part: i32,
    routes: HashMap<Arc<str>, i32>,
    names: Arc<Mutex<HashMap<i32, Arc<str>>>>,
    book: Arc<Mutex<Book>>,
    leases: Arc<Leases>,
    sizes: Mutex<Sizes>,
    upkeep: maintain::Upkeep,
    /// The upstreams that this process may probe, and the session that does it.
    probes: HashMap<Uuid, i64>,
    /// A gateway lives that does not look into `fresh`: it has to find what this one was attempting if this one dies.
    is_beside_older: bool,
    /// What the other gateways are to be told.
    news: News,
    others: Option<Others>,
    sharing: Arc<Sharing>,
    ear: Option<Ear>,
}

impl Postgres {
    /// Connects, and makes the tables or brings them up to date.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        // A thread without a runtime: the caller's thread may have one.
        let opened = thread::scope(|scope| scope.spawn(|| Self::open_here(settings)).join());
        opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn open_here(settings: Settings) -> Result<Self, OpenError> {
        let Settings { target, gateway, keep, clock, trust_clock } = settings;
        let skew = Arc::new(Skew::new(&clock));
        let setup = check::setup(&target)?;
        check::prepare(&setup)?;
        let mut store = Self {
            link: Link::new(setup.clone()),
            setup,
            gateway,
            keep,
            trust_clock,
            skew,
            part: i32::from(rand::random::<u8>()) % PARTS,
            routes: HashMap::new(),
            names: Arc::default(),
            book: Arc::default(),
            leases: Arc::default(),
            sizes: Mutex::default(),
            upkeep: maintain::Upkeep::default(),
            probes: HashMap::new(),
            is_beside_older: false,
            news: News::new(),
            others: None,
            sharing: Arc::default(),
            ear: None,
        };
        store.begin(&clock).map_err(|error| OpenError::Unreachable { target: target.to_string(), error })?;
        Ok(store)
    }

    /// The first look at what is stored.
    fn begin(&mut self, clock: &Clock) -> Result<(), PgError> {
        self.renew()?;
        self.compare_clocks(millis(clock.unix()))?;
        self.queue_left_over()?;
        self.read_routes(true)?;
        self.read_counts()?;
        self.read_circuits()?;
        self.measure_size()
    }

    /// The time by the clock of the database.
    fn times(&self, now: Millis) -> Times {
        let skew = self.skew.of_system(now);
        Times { now: now.saturating_add(skew), skew, of_queue: self.skew.of_queue() }
    }

    /// Brings the book up to date with what was committed.
    fn book_in(&self, batch: &[Write], done: &Done) {
        let names = lock(&self.names);
        let mut book = lock(&self.book);
        for ((route, shown), delta) in done.work.deltas.iter().chain(&done.settled.deltas) {
            if let Some(name) = names.get(route) {
                book.add(name, *shown, *delta);
            }
        }
        let gone = done.work.rows.values().filter(|loaded| loaded.gone).map(|loaded| loaded.id);
        for id in gone.chain(done.settled.gone.iter().copied()) {
            book.removed.add(id);
        }
        for write in batch {
            let Write::Change(change) = write else { continue };
            match change {
                Change::Pause { route, paused } => book.routes.entry(route.clone()).or_default().paused = *paused,
                Change::PauseByFile { route, paused } => {
                    let state = book.routes.entry(route.clone()).or_default();
                    (state.paused, state.paused_by_file) = (*paused, *paused);
                }
                // Which routes are missing is a matter of each gateway's configuration.
                Change::Hold { route, held } => book.routes.entry(route.clone()).or_default().held = *held,
                Change::Settle { .. } | Change::Erase { .. } | Change::Requeue { .. } | Change::Cut { .. } => {}
            }
        }
    }
}

impl Backend for Postgres {
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let setup = Setup { statement_time: Some(QUERY_TIME), ..self.setup.clone() };
        Ok(Box::new(read::PostgresReader::new(
            setup,
            Arc::clone(&self.gateway),
            Arc::clone(&self.leases),
            Arc::clone(&self.book),
            Arc::clone(&self.skew),
        )))
    }

    fn commit(
        &mut self,
        batch: &[Write],
        now: Millis,
        claimed: &mut dyn FnMut(Ticket),
    ) -> Result<Vec<Answer>, StoreError> {
        self.write_batch(batch, now, claimed)
    }

    fn maintain(&mut self, now: Millis) -> Result<bool, StoreError> {
        self.do_upkeep(now).map_err(|error| error.for_writer())
    }

    fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    fn sizes(&self) -> Result<Sizes, StoreError> {
        Ok(*lock(&self.sizes))
    }

    fn book(&self) -> Arc<Mutex<Book>> {
        Arc::clone(&self.book)
    }

    fn join(&mut self, others: Others) -> Option<Arc<Sharing>> {
        let hearing = Hearing {
            token: self.news.token(),
            names: Arc::clone(&self.names),
            others: others.clone(),
            sharing: Arc::clone(&self.sharing),
        };
        self.ear = Ear::start(self.setup.clone(), hearing);
        self.others = Some(others);
        Some(Arc::clone(&self.sharing))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.ear = None;
        // Who asks gets no answer any more.
        drop(self.sharing.circuits.take(usize::MAX));
        self.end_sessions();
        Ok(())
    }
}
