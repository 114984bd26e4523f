//! What is done with a database beside the gateway: look into it, check it, copy it, take out of a damaged one what can be
//! read.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::backup::Backup;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use uuid::Uuid;

use super::folder::{DATABASE, Folder, LOG, make, sizes};
use super::{BUSY_TIME, OpenError, identify, open_database, row};
use crate::store::types::{Shown, Sizes};

/// Pages that a backup copies at once; the gateway's writer goes on meanwhile.
const BACKUP_PAGES: i32 = 1_024;
/// Problems that a check names.
const PROBLEMS: i64 = 20;

/// What a check or a recovery found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Checked {
    /// Deliveries that could be read.
    pub deliveries: u64,
    /// What is wrong, in SQLite's words.
    pub problems: Vec<String>,
    /// Deliveries that wait, and are not as they were stored.
    pub changed: Vec<Uuid>,
}

/// What is in a store, and the room for it.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The bytes of its files, and those that are free.
    pub sizes: Sizes,
    /// How many deliveries wait, by the name of their route.
    pub waiting: BTreeMap<String, u64>,
}

/// Looks into the store in a folder; `None` if there is none yet. The gateway may be running, and takes no notice. Makes no
/// file.
pub fn inspect(folder: &Path) -> Result<Option<Inspected>, OpenError> {
    let path = folder.join(DATABASE);
    let unusable = |error| OpenError::Folder { path: folder.to_owned(), error };
    if !path.try_exists().map_err(unusable)? {
        return Ok(None);
    }
    let sizes = sizes(folder).map_err(unusable)?;
    let failed = |error| OpenError::sqlite(path.clone(), &error);
    // Without a log the database is not open elsewhere, and SQLite would make one.
    let connection = match folder.join(LOG).try_exists().map_err(unusable)? {
        true => open_to_read(&path)?,
        false => {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(unchanging(&path), flags).map_err(failed)?
        }
    };
    if identify(&connection, &path)? == 0 {
        return Ok(Some(Inspected { sizes, waiting: BTreeMap::new() }));
    }
    connection.busy_timeout(BUSY_TIME).map_err(failed)?;
    let mut statement = connection.prepare(WAITING).map_err(failed)?;
    let rows = statement
        .query_map([Shown::Retrying.kind()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
        .map_err(failed)?;
    let waiting = rows.map(|row| row.map(|(name, count)| (name, u64::try_from(count).unwrap_or(0))));
    Ok(Some(Inspected { sizes, waiting: waiting.collect::<rusqlite::Result<_>>().map_err(failed)? }))
}

/// Deliveries that wait, by route: pending ones and those that are retried.
const WAITING: &str =
    "SELECT name, sum(n) FROM counts JOIN routes ON number = route WHERE kind IN (0, ?) AND n > 0 GROUP BY name";

/// The URI of a database that has no writer (<https://sqlite.org/uri.html>).
fn unchanging(path: &Path) -> String {
    const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    format!("file:{}?immutable=1", percent_encode(path.as_os_str().as_encoded_bytes(), SPECIAL))
}

/// Reads a database from end to end. `is_whole` tells whether a delivery with this id, head and body is as it was stored. The
/// gateway may be running.
pub fn check(folder: &Path, is_whole: impl Fn(Uuid, &[u8], Bytes) -> bool) -> Result<Checked, OpenError> {
    let path = folder.join(DATABASE);
    let connection = open_to_read(&path)?;
    let failed = |error| OpenError::sqlite(path.clone(), &error);
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS})")).map_err(failed)?;
    let mut problems = Vec::new();
    for found in statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)? {
        match found {
            Ok(problem) if problem == "ok" => {}
            Ok(problem) => problems.push(problem),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let count = "SELECT count(*) FROM deliveries";
    let deliveries = match connection.query_row(count, [], |row| row.get::<_, i64>(0)) {
        Ok(deliveries) => u64::try_from(deliveries).unwrap_or(0),
        Err(error) => {
            problems.push(error.to_string());
            0
        }
    };
    let changed = changed(&connection, is_whole).unwrap_or_else(|error| {
        problems.push(error.to_string());
        Vec::new()
    });
    Ok(Checked { deliveries, problems, changed })
}

/// Deliveries that wait and are not whole.
fn changed(connection: &Connection, is_whole: impl Fn(Uuid, &[u8], Bytes) -> bool) -> rusqlite::Result<Vec<Uuid>> {
    let sql = "SELECT id, head, body FROM deliveries LEFT JOIN bodies USING (row) WHERE state = 0";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, head, body): (_, Vec<u8>, Option<Vec<u8>>) = (row::id(row, 0)?, row.get(1)?, row.get(2)?);
        if !is_whole(id, &head, body.unwrap_or_default().into()) {
            changed.push(id);
        }
    }
    Ok(changed)
}

/// Copies a database into another folder, which must not have one yet. The gateway may be running.
pub fn backup(folder: &Path, to: &Path) -> Result<PathBuf, OpenError> {
    let path = folder.join(DATABASE);
    let connection = open_to_read(&path)?;
    let copy = make_empty(to)?;
    let failed = |error| OpenError::sqlite(copy.clone(), &error);
    let mut target = Connection::open(&copy).map_err(failed)?;
    {
        let backup = Backup::new(&connection, &mut target).map_err(failed)?;
        backup.run_to_completion(BACKUP_PAGES, Duration::from_millis(5), None).map_err(failed)?;
    }
    target.close().map_err(|(_, error)| failed(error))?;
    sync(&copy)?;
    Ok(copy)
}

/// Copies what can be read of a damaged database into a new one, and puts that in its place. The damaged files stay beside
/// it, with `suffix` at the end of their names. The gateway must not be running.
pub fn recover(path: &Path, suffix: &str) -> Result<Checked, OpenError> {
    let folder = Folder::open(path)?;
    let database = folder.database();
    let rescued = path.join("recovered");
    let failed = |error: rusqlite::Error| OpenError::sqlite(database.clone(), &error);
    let system = |error| OpenError::Folder { path: path.to_owned(), error };
    if rescued.exists() {
        std::fs::remove_dir_all(&rescued).map_err(system)?;
    }
    let new = Folder::open(&rescued)?;
    new.make_database().map_err(system)?;
    let target = open_database(&new)?;
    let source = open_to_read(&database)?;
    let result = copy_readable(&source, &target).map_err(failed)?;
    drop(source);
    target.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    target.close().map_err(|(_, error)| failed(error))?;
    for ending in ["", "-wal", "-shm"] {
        let from = path.join(format!("{DATABASE}{ending}"));
        if from.exists() {
            std::fs::rename(&from, path.join(format!("{DATABASE}{suffix}{ending}"))).map_err(system)?;
        }
    }
    std::fs::rename(rescued.join(DATABASE), &database).map_err(system)?;
    drop(new);
    std::fs::remove_dir_all(&rescued).map_err(system)?;
    sync(&database)?;
    Ok(result)
}

fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::sqlite(path.to_owned(), &error);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    if identify(&connection, path)? == 0 {
        return Err(OpenError::Other { path: path.to_owned(), error: "the database is empty".to_owned() });
    }
    Ok(connection)
}

fn make_empty(folder: &Path) -> Result<PathBuf, OpenError> {
    let failed = |error| OpenError::Folder { path: folder.to_owned(), error };
    make(folder).map_err(failed)?;
    let path = folder.join(DATABASE);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    Ok(path)
}

/// Syncs a file and the folder that names it.
fn sync(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let sync = |path: &Path| std::fs::File::open(path).and_then(|file| file.sync_all());
    sync(path).and_then(|()| sync(folder)).map_err(|error| OpenError::Folder { path: folder.to_owned(), error })
}

/// A table, its columns, and the name of the column by which it is read in pieces.
const TABLES: [(&str, &str); 7] = [
    ("routes", "number"),
    ("deliveries", "row"),
    ("bodies", "row"),
    ("queue", "row"),
    ("attempts", "row"),
    ("dedupe", "key"),
    ("new_keys", "n"),
];

fn copy_readable(source: &Connection, target: &Connection) -> rusqlite::Result<Checked> {
    let mut checked = Checked::default();
    target.execute_batch("BEGIN IMMEDIATE")?;
    for (table, key) in TABLES {
        // An older version has no such table. If it cannot be seen whether there is one, the copy says why.
        if !source.table_exists(None, table).unwrap_or(true) {
            continue;
        }
        if let Err(error) = copy_table(source, target, table, key) {
            checked.problems.push(format!("{table}: {error}"));
        }
    }
    target.execute_batch(RECOUNT)?;
    let count = target.query_row("SELECT count(*) FROM deliveries", [], |row| row.get::<_, i64>(0))?;
    checked.deliveries = u64::try_from(count).unwrap_or(0);
    target.execute_batch("COMMIT")?;
    Ok(checked)
}

/// The numbers of what was rescued; a pending delivery whose place in the queue is lost is due at once.
const RECOUNT: &str = "
    DELETE FROM bodies WHERE row NOT IN (SELECT row FROM deliveries);
    DELETE FROM queue WHERE row NOT IN (SELECT row FROM deliveries);
    DELETE FROM attempts WHERE row NOT IN (SELECT row FROM deliveries);
    INSERT OR IGNORE INTO routes (number, name) SELECT DISTINCT route, 'route-' || route FROM deliveries
        WHERE route NOT IN (SELECT number FROM routes);
    INSERT INTO queue SELECT row, 0, route, received_at, attempts, attempts, received_at, 0, 0 FROM deliveries
        WHERE state = 0 AND row NOT IN (SELECT row FROM queue);
    INSERT INTO counts SELECT route, CASE WHEN state = 0 AND attempts > 0 THEN 100 ELSE state END, count(*)
        FROM deliveries GROUP BY 1, 2;
    UPDATE marks SET fresh = (SELECT coalesce(max(row), 0) + 1 FROM deliveries);
";

/// Copies a table from its begin up to where it is damaged, and from its end down to there. The rest of the damaged
/// part is lost.
fn copy_table(source: &Connection, target: &Connection, table: &str, key: &str) -> rusqlite::Result<()> {
    let up = copy_in_order(source, target, table, &format!("ORDER BY {key}"));
    if up.is_err() { copy_in_order(source, target, table, &format!("ORDER BY {key} DESC")).or(up) } else { up }
}

fn copy_in_order(source: &Connection, target: &Connection, table: &str, order: &str) -> rusqlite::Result<()> {
    let mut statement = source.prepare(&format!("SELECT * FROM {table} {order}"))?;
    let columns = statement.column_count();
    let marks = vec!["?"; columns].join(", ");
    let mut insert = target.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES ({marks})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| row.get::<_, Value>(column)).collect::<rusqlite::Result<Vec<_>>>()?;
        insert.execute(params_from_iter(values))?;
    }
    Ok(())
}
