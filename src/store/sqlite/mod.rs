//! The store in one SQLite database: `hooklatch.db` in a folder that one gateway has for itself.
//!
//! WAL with `synchronous=FULL`: a commit is synced before it is answered. One connection writes, and is the only one
//! that checkpoints; readers have connections of their own that can only read. There is no mapping of the file into
//! memory, so that an error of the disk is an error of a call and no signal.
//!
//! `secure_delete` is on all the time. A delivery's bytes may have left the tables long before a person erases it, and
//! would else stay in free pages. What is erased leaves the log a few seconds later, when this is emptied; a small
//! database is then written anew, as SQLite can leave bytes of a row in the gaps of a page.
//!
//! The checkpoint runs in small steps after a batch has been answered: whenever the log has grown by
//! [`CHECKPOINT_PAGES`]. Space that retention frees is given back by incremental vacuum, also in small steps.

mod attempts;
mod changes;
mod error;
mod folder;
mod fresh;
mod keys;
mod list;
mod maintain;
mod offline;
mod read;
mod row;
mod schema;
mod statements;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

pub use error::OpenError;
pub use folder::DATABASE;
use folder::Folder;
use fresh::FreshRows;
use keys::Keys;
pub use offline::{Checked, Inspected, backup, check, inspect, recover};

use super::attempt::Ticket;
use super::backend::Answer;
use super::backend::{Backend, Book, Reader, Write};
use super::types::{Keep, Millis, RouteState, Shown, Sizes, StoreError};
use crate::clock::Clock;
use crate::lock::lock;
use error::store_error;

/// The log's growth after which it is checkpointed: 4 MiB.
const CHECKPOINT_PAGES: i32 = 256;
/// How long the writer waits for another program that writes.
const BUSY_TIME: Duration = Duration::from_secs(1);
/// How long a query of a reader may take.
const QUERY_TIME: Duration = Duration::from_secs(2);
/// The largest database that is read from end to end before it is used, in bytes: that takes a fraction of a second.
const MAX_CHECKED: u64 = 64 << 20;
/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// The writing side of the database.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    folder: Folder,
    clock: Clock,
    keep: Keep,
    book: Arc<Mutex<Book>>,
    names: Names,
    next_row: i64,
    fresh: FreshRows,
    keys: Keys,
    /// Pages of the log after the last commit.
    log_pages: Arc<AtomicI32>,
    upkeep: maintain::Upkeep,
}

/// The routes' names and numbers.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Arc<str>, i64>,
    names: HashMap<i64, Arc<str>>,
}

impl Names {
    fn add(&mut self, number: i64, name: &Arc<str>) {
        self.numbers.insert(Arc::clone(name), number);
        self.names.insert(number, Arc::clone(name));
    }
}

impl Sqlite {
    /// Opens the database in a folder; makes both if they are missing, and brings an older schema up to date.
    pub fn open(path: &Path, keep: Keep, clock: Clock) -> Result<Self, OpenError> {
        let folder = Folder::open(path)?;
        folder.make_database().map_err(|error| OpenError::Folder { path: path.to_owned(), error })?;
        let database = folder.database();
        let failed = |error| OpenError::sqlite(database.clone(), &error);
        let mut connection = open_database(&folder)?;
        let log_pages = Arc::new(AtomicI32::new(0));
        let noted = Arc::clone(&log_pages);
        let note = move |_: &mut Wal, pages| {
            noted.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(note)).map_err(failed)?;
        let mut names = Names::default();
        let mut book = Book::default();
        read_routes(&connection, &mut names, &mut book).map_err(failed)?;
        let last: Option<i64> = connection.query_row(statements::LAST_ROW, [], |row| row.get(0)).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // A checkpoint of what the last run left, before anything waits for it.
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)?;
        let book = Arc::new(Mutex::new(book));
        let fresh = FreshRows::read(&connection).map_err(failed)?;
        let keys = Keys::read(&connection).map_err(failed)?;
        // The last rows may have been deleted; below the mark, nothing without a row in the queue is looked for.
        let next_row = (last.unwrap_or(0) + 1).max(fresh.mark());
        let upkeep = maintain::Upkeep::default();
        let mut this = Self { connection, folder, clock, keep, book, names, next_row, fresh, keys, log_pages, upkeep };
        this.queue_left_over().map_err(failed)?;
        Ok(this)
    }

    /// Opens a database that no other gateway has open. A process that another test forks has its lock too, until it executes
    /// its program.
    #[cfg(test)]
    pub fn open_unlocked(path: &Path, keep: Keep, clock: Clock) -> Self {
        for _ in 0..1_000_000 {
            match Self::open(path, keep, clock.clone()) {
                Err(OpenError::Locked { .. }) => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
        panic!("locked")
    }

    /// The number of a route, which is stored if it is new.
    fn route_number(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(number) = self.names.numbers.get(name) {
            return Ok(*number);
        }
        let number = i64::try_from(self.names.numbers.len()).unwrap_or(i64::MAX).saturating_add(1);
        self.connection.prepare_cached(statements::INSERT_ROUTE)?.execute((number, &**name))?;
        self.names.add(number, name);
        Ok(number)
    }
}

impl Backend for Sqlite {
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let new_keys = self.keys.new_keys();
        let reader = read::SqliteReader::open(&self.folder.database(), self.clock.clone(), new_keys);
        Ok(Box::new(reader.map_err(|error| store_error(&error))?))
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
        self.queue_left_over().and_then(|()| self.do_upkeep(now)).map_err(|error| store_error(&error))
    }

    fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    fn sizes(&self) -> Result<Sizes, StoreError> {
        self.folder.sizes().map_err(|error| StoreError::Failed(error.to_string().into()))
    }

    fn book(&self) -> Arc<Mutex<Book>> {
        Arc::clone(&self.book)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let result = self.close_fresh();
        let result = result.and_then(|()| self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        result.map_err(|error| store_error(&error))
    }
}

/// Opens the database for writing: it is ours, in this version, and set up as the module says.
fn open_database(folder: &Folder) -> Result<Connection, OpenError> {
    let path = folder.database();
    let failed = |error| OpenError::sqlite(path.clone(), &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    leave_log_alone(&connection).map_err(failed)?;
    let found = identify(&connection, &path)?;
    look_for_damage(&connection, &path)?;
    if found == 0 {
        // Both count only before the first table is made.
        connection.pragma_update(None, "page_size", schema::PAGE_SIZE).map_err(failed)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    }
    connection.busy_timeout(BUSY_TIME).map_err(failed)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(failed)?;
    for (name, value) in [
        ("synchronous", "FULL"),
        ("wal_autocheckpoint", "0"),
        ("mmap_size", "0"),
        // What is deleted is zeroed, so that an erasure finds no copies in free pages.
        ("secure_delete", "ON"),
        ("cell_size_check", "ON"),
        ("trusted_schema", "OFF"),
        ("temp_store", "MEMORY"),
        ("cache_size", "-32768"),
    ] {
        pragma(&connection, name, value).map_err(failed)?;
    }
    if found < schema::version() {
        let used = path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let needed = used.saturating_mul(2).max(1 << 20);
        let free = folder.free().map_err(|error| OpenError::Folder { path: folder.path().to_owned(), error })?;
        if free < needed {
            return Err(OpenError::NoRoom { path, needed, free });
        }
        schema::migrate(&mut connection, found).map_err(failed)?;
    }
    Ok(connection)
}

/// Whether a database is ours; gives its schema's version, 0 if it is empty.
fn identify(connection: &Connection, path: &Path) -> Result<i32, OpenError> {
    let failed = |error| OpenError::sqlite(path.to_owned(), &error);
    let read = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
    let id = read("application_id")?;
    let found = read("user_version")?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if id != schema::APPLICATION_ID && (id != 0 || found != 0 || objects != 0) {
        return Err(OpenError::Foreign { path: path.to_owned(), id });
    }
    let known = schema::version();
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Reads a database of up to [`MAX_CHECKED`] from end to end. Damage in a larger one shows when the damaged page is used.
fn look_for_damage(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    if path.metadata().map_or(0, |metadata| metadata.len()) > MAX_CHECKED {
        return Ok(());
    }
    let found: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(error) => Err(OpenError::Damaged { path: path.to_owned(), error }),
        Err(error) => Err(OpenError::sqlite(path.to_owned(), &error)),
    }
}

/// Keeps SQLite from copying the log into the database when the last connection closes: after a failed sync that would be
/// a second try, and a damaged database must stay as it is. [`Backend::close`] does it where it is wanted.
fn leave_log_alone(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Sets a pragma, whether or not it answers.
fn pragma(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    })
}

fn read_routes(connection: &Connection, names: &mut Names, book: &mut Book) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(statements::ROUTES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: Arc<str> = row.get(1)?;
        names.add(row.get(0)?, &name);
        book.routes.insert(name, RouteState { paused: row.get(2)?, held: row.get(3)?, paused_by_file: row.get(4)? });
    }
    let mut statement = connection.prepare(statements::COUNTS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let shown = Shown::of_kind(row.get(1)?);
        if let (Some(name), Some(shown)) = (names.names.get(&row.get(0)?), shown) {
            book.add(name, shown, row.get(2)?);
        }
    }
    Ok(())
}

/// Adds numbers to the book, once they are committed.
fn add_counts(book: &Mutex<Book>, names: &Names, deltas: &HashMap<(i64, Shown), i64>) {
    let mut book = lock(book);
    for ((route, shown), delta) in deltas {
        if let Some(name) = names.names.get(route) {
            book.add(name, *shown, *delta);
        }
    }
}
