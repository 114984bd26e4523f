//! Dedupe keys. A key is a digest: its place among all others is anywhere, so that each new key would change a page of its own,
//! which with a million of them is half of what a delivery writes.
//!
//! So a new key is appended to `new_keys`, where it is found by an index in memory. Once there are [`MANY`], they move to
//! `dedupe`, a few with each batch, in the order of the keys: those that lie next to one another share a page. Then their rows in
//! `new_keys` go. After a restart all that are left there count as new: to move one twice changes nothing.
//!
//! Keys whose time is over are deleted in steps: of the new ones all that memory shows, of `dedupe` one range after the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::{Sqlite, row, statements};
use crate::lock::lock;
use crate::store::types::{DedupeKey, Millis};

/// New keys after which they begin to move: some 3 MB of memory.
const MANY: usize = 32_768;
/// Keys that a batch moves at least; it moves twice as many as it adds.
const MOVED: usize = 32;
/// Keys that move each second while there are no batches.
const MOVED_APART: usize = 256;
/// Rows of moved keys that a batch deletes.
const TRIMMED: i64 = 512;
/// Keys of a range in which those are looked for whose time is over; new ones that are deleted at once.
const RANGE: u32 = 1_024;
/// Ranges that are looked through at once.
const RANGES: usize = 4;

/// A key's bytes.
type Key = [u8; 16];

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    until: Millis,
    id: Uuid,
    /// Its row in `new_keys`.
    row: i64,
}

/// Keys whose time is over.
#[derive(Debug)]
pub struct Expired {
    new: Vec<(Key, i64)>,
    /// There are some in `dedupe` after the first of these keys, up to the second one.
    old: Option<(Key, Key)>,
}

impl Expired {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_none()
    }
}

impl Known {
    /// The delivery that the key belongs to, unless its time is over.
    pub fn at(self, now: Millis) -> Option<Uuid> {
        (self.until > now).then_some(self.id)
    }
}

/// The committed keys that are not, or not yet for sure, in `dedupe`.
#[derive(Debug, Default)]
pub struct NewKeys {
    recent: BTreeMap<Key, Known>,
    moving: BTreeMap<Key, Known>,
}

impl NewKeys {
    /// What is known of a key. If it is not among these, it is in `dedupe` or nowhere.
    pub fn find(&self, key: &Key) -> Option<Known> {
        self.recent.get(key).or_else(|| self.moving.get(key)).copied()
    }

    /// Some of those whose time is over, with their rows.
    fn expired(&self, now: Millis) -> Vec<(Key, i64)> {
        let all = self.recent.iter().chain(&self.moving);
        let expired = all.filter(|(_, known)| known.until <= now).map(|(key, known)| (*key, known.row));
        expired.take(usize::try_from(RANGE).unwrap_or(usize::MAX)).collect()
    }

    /// These rows are deleted.
    fn forget(&mut self, rows: &[(Key, i64)]) {
        for (key, row) in rows {
            for keys in [&mut self.recent, &mut self.moving] {
                if keys.get(key).is_some_and(|known| known.row == *row) {
                    keys.remove(key);
                }
            }
        }
    }
}

/// The writer's side.
#[derive(Debug)]
pub struct Keys {
    /// Readers look into it before they read `dedupe`: a key leaves it after the move is committed.
    new: Arc<Mutex<NewKeys>>,
    /// Those of the batch that is being written.
    batch: HashMap<Key, Known>,
    /// How many keys the next batch moves at least.
    at_least: usize,
    /// The last key that this batch has moved.
    moved: Option<Key>,
    /// The rows of `new_keys` that are there: from the first one up to before the next one.
    first: i64,
    next: i64,
    /// Those before this one have keys that are moving or have moved.
    sealed: i64,
    /// The same as it is committed.
    committed: (i64, i64),
    /// Up to here `dedupe` was looked through.
    swept: Key,
}

impl Keys {
    /// With the new keys that the last run has left.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut recent = BTreeMap::new();
        let (mut first, mut next) = (None, 1);
        let mut statement = connection.prepare(statements::NEW_KEYS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            recent.insert(row.get(1)?, Known { until: row.get(2)?, id: row::id(row, 3)?, row: number });
            first.get_or_insert(number);
            next = number + 1;
        }
        let first = first.unwrap_or(next);
        Ok(Self {
            new: Arc::new(Mutex::new(NewKeys { recent, moving: BTreeMap::new() })),
            batch: HashMap::new(),
            at_least: MOVED,
            moved: None,
            first,
            next,
            sealed: first,
            committed: (first, next),
            swept: [0; 16],
        })
    }

    /// What readers look into.
    pub fn new_keys(&self) -> Arc<Mutex<NewKeys>> {
        Arc::clone(&self.new)
    }

    /// The batch is committed.
    pub fn committed(&mut self) {
        self.committed = (self.first, self.next);
        let mut new = lock(&self.new);
        if let Some(last) = self.moved.take() {
            new.moving = new.moving.split_off(&last);
            new.moving.remove(&last);
        }
        new.recent.extend(self.batch.drain());
        if self.first == self.sealed && new.recent.len() >= MANY {
            new.moving = std::mem::take(&mut new.recent);
            self.sealed = self.next;
        }
    }

    /// The batch has changed nothing.
    pub fn rolled_back(&mut self) {
        self.batch.clear();
        self.moved = None;
        (self.first, self.next) = self.committed;
    }
}

impl Sqlite {
    /// Notes a key; if it is known and its time is not over, gives the delivery that it belongs to.
    pub(super) fn insert_new_key(&mut self, id: Uuid, key: &DedupeKey, now: Millis) -> rusqlite::Result<Option<Uuid>> {
        let new = || lock(&self.keys.new).find(&key.key);
        let known = match self.keys.batch.get(&key.key).copied().or_else(new) {
            Some(known) => known.at(now),
            None => find_key(&self.connection, &key.key, now)?,
        };
        if known.is_none() {
            self.insert_key(id, key)?;
        }
        Ok(known)
    }

    /// Stores a key; it replaces one that another delivery had.
    pub(super) fn insert_key(&mut self, id: Uuid, key: &DedupeKey) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(statements::INSERT_NEW_KEY)?;
        let row = self.keys.next;
        statement.execute((row, key.key, key.until, id.as_bytes()))?;
        self.keys.next += 1;
        self.keys.batch.insert(key.key, Known { until: key.until, id, row });
        Ok(())
    }

    /// A step of the move while there are no batches.
    pub(super) fn move_keys_without_a_batch(&mut self) -> rusqlite::Result<()> {
        if self.keys.first == self.keys.sealed {
            return Ok(());
        }
        self.keys.at_least = MOVED_APART;
        let moved = self.transaction(|_| Ok(()));
        self.keys.at_least = MOVED;
        moved
    }

    /// A step of the move; a part of each batch.
    pub(super) fn move_keys(&mut self) -> rusqlite::Result<()> {
        let keys = &mut self.keys;
        if keys.first == keys.sealed {
            return Ok(());
        }
        let count = keys.at_least.max(keys.batch.len() * 2);
        let moving: Vec<(Key, Known)> =
            lock(&keys.new).moving.iter().take(count).map(|(key, known)| (*key, *known)).collect();
        if moving.is_empty() {
            keys.first = keys.sealed.min(keys.first + TRIMMED);
            self.connection.prepare_cached(statements::TRIM_NEW_KEYS)?.execute([keys.first])?;
        }
        for (key, known) in &moving {
            let mut statement = self.connection.prepare_cached(statements::INSERT_KEY)?;
            statement.execute((key, known.until, known.id.as_bytes()))?;
        }
        keys.moved = moving.last().map(|(key, _)| *key);
        Ok(())
    }

    /// Some of the keys whose time is over.
    pub(super) fn expired_keys(&mut self, now: Millis) -> rusqlite::Result<Expired> {
        let new = lock(&self.keys.new).expired(now);
        Ok(Expired { new, old: self.next_expired_keys(now)? })
    }

    /// Deletes them; gives how many there were. A part of a transaction, after which [`Self::forget_keys`] is called.
    pub(super) fn delete_keys(&self, expired: &Expired, now: Millis) -> rusqlite::Result<usize> {
        for (_, row) in &expired.new {
            self.connection.prepare_cached(statements::DELETE_NEW_KEY)?.execute([row])?;
        }
        let mut expire = self.connection.prepare_cached(statements::EXPIRE_KEYS)?;
        let old = expired.old.map_or(Ok(0), |(from, to)| expire.execute((from, to, now)))?;
        Ok(expired.new.len() + old)
    }

    /// Their deletion is committed.
    pub(super) fn forget_keys(&self, expired: &Expired) {
        lock(&self.keys.new).forget(&expired.new);
    }

    /// The next range of `dedupe` with keys whose time is over. `None` if there is none near; the next look goes on there, and
    /// begins anew after the last key.
    fn next_expired_keys(&mut self, now: Millis) -> rusqlite::Result<Option<(Key, Key)>> {
        for _ in 0..RANGES {
            let from = self.keys.swept;
            let mut statement = self.connection.prepare_cached(statements::KEY_AFTER)?;
            let to: Option<Key> = statement.query_row((from, RANGE - 1), |row| row.get(0)).optional()?;
            let (to, next) = to.map_or(([0xff; 16], [0; 16]), |to| (to, to));
            if self.connection.prepare_cached(statements::HAS_EXPIRED_KEYS)?.exists((from, to, now))? {
                return Ok(Some((from, to)));
            }
            self.keys.swept = next;
            if next == [0; 16] {
                break;
            }
        }
        Ok(None)
    }
}

/// Which delivery a key in `dedupe` belongs to.
pub fn find_key(connection: &Connection, key: &Key, now: Millis) -> rusqlite::Result<Option<Uuid>> {
    connection.prepare_cached(statements::FIND_KEY)?.query_row((key, now), |found| row::id(found, 0)).optional()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::backend::{Backend as _, Write};
    use crate::store::tests::{NOW, accept, id, open_sqlite};

    /// The key with this number; their order is not that of the numbers.
    fn key(number: u64) -> DedupeKey {
        let mut key = [7; 16];
        key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        DedupeKey { key, until: NOW + 1_000 }
    }

    fn note(store: &mut Sqlite, numbers: std::ops::Range<u64>, until: Millis) {
        let write = |number| Write::Key(id(number), DedupeKey { until, ..key(number) });
        store.commit(&numbers.map(write).collect::<Vec<_>>(), NOW, &mut |_| ()).unwrap();
    }

    fn count(store: &Sqlite, table: &str) -> u64 {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], count).unwrap().unsigned_abs()
    }

    /// How many keys of these are known, by a reader that was opened before.
    fn known(reader: &mut dyn crate::store::backend::Reader, numbers: impl Iterator<Item = u64>) -> usize {
        numbers.filter(|number| reader.key(&key(*number).key, NOW).unwrap() == Some(id(*number))).count()
    }

    #[test]
    fn new_keys_move_in_their_order_and_are_known_all_the_time() {
        const MOST: u64 = MANY as u64;
        let folder = TempDir::new().unwrap();
        let mut store = open_sqlite(&folder);
        let mut reader = store.reader().unwrap();
        note(&mut store, 0..MOST - 1, NOW + 1_000);
        note(&mut store, MOST - 1..MOST, NOW + 1_000);
        assert_eq!((count(&store, "dedupe"), count(&store, "new_keys")), (0, MOST));
        let mut number = MOST;
        while count(&store, "new_keys") > number - MOST {
            note(&mut store, number..number + 500, NOW + 1_000);
            number += 500;
            assert_eq!(known(&mut *reader, (0..number).step_by(997)), usize::try_from(number.div_ceil(997)).unwrap());
            if number == MOST + 10_000 {
                // As after a kill in the middle of it.
                drop(store);
                store = open_sqlite(&folder);
                reader = store.reader().unwrap();
            }
        }
        assert!(count(&store, "dedupe") >= MOST + 10_000);
        for twin in [0, MOST / 2, number - 1] {
            let answers = store.commit(&[accept(number + 1, Some(key(twin)))], NOW, &mut |_| ()).unwrap();
            assert_eq!(answers, [crate::store::backend::Answer::Duplicate(id(twin))]);
        }
    }

    #[test]
    fn a_batch_that_fails_leaves_no_key() {
        let folder = TempDir::new().unwrap();
        let mut store = open_sqlite(&folder);
        let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        crate::store::sqlite::pragma(&store.connection, "max_page_count", &(pages + 4).to_string()).unwrap();
        let mut big = crate::store::tests::delivery(1, crate::store::types::State::Forwarded);
        big.body = Some(vec![1; 1 << 20].into());
        let batch = [accept(0, Some(key(0))), Write::Record(Arc::new(big.into()))];
        store.commit(&batch, NOW, &mut |_| ()).unwrap_err();
        assert_eq!(store.reader().unwrap().key(&key(0).key, NOW).unwrap(), None);
        store.commit(&[accept(0, Some(key(0)))], NOW, &mut |_| ()).unwrap();
        assert_eq!(store.reader().unwrap().key(&key(0).key, NOW).unwrap(), Some(id(0)));
    }

    #[test]
    fn keys_whose_time_is_over_leave_the_database() {
        let folder = TempDir::new().unwrap();
        let mut store = open_sqlite(&folder);
        note(&mut store, 0..MANY as u64, NOW + 1_000);
        for number in MANY as u64..MANY as u64 + 200 {
            note(&mut store, number..number + 1, if number % 2 == 0 { NOW + 1_000 } else { NOW + 10_000_000 });
        }
        let moved = count(&store, "dedupe");
        assert!(moved > 6_000, "{moved}");
        for second in 0..200 {
            while store.maintain(NOW + 2_000 + 1_000 * second).unwrap() {}
        }
        // What is left is not over yet.
        assert_eq!((count(&store, "dedupe"), count(&store, "new_keys")), (0, 100));
        assert_eq!(known(&mut *store.reader().unwrap(), (MANY as u64..MANY as u64 + 200).filter(|n| n % 2 == 1)), 100);
    }
}
