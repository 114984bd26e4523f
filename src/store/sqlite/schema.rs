//! The tables and how an older database becomes one of this version.
//!
//! `application_id` says that a database is ours, `user_version` which schema it has. Each version is one script, applied
//! in order, all of them in one transaction.

use rusqlite::Connection;

/// `HKLT`: the database is one of hooklatch.
pub const APPLICATION_ID: i32 = 0x484b_4c54;

/// The size of a page. A body of 3 KB fits into one beside others, and a commit writes fewer of them than of smaller ones.
pub const PAGE_SIZE: u32 = 16_384;

/// The scripts; the first one makes version 1 of an empty database.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

/// The version that this program writes.
pub fn version() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// Brings a database from `from` to [`version`].
pub fn migrate(connection: &mut Connection, from: i32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for script in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version())?;
    transaction.commit()
}

const VERSION_1: &str = "
-- Names once, numbers everywhere else.
CREATE TABLE routes (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    paused INTEGER NOT NULL DEFAULT 0,
    held   INTEGER NOT NULL DEFAULT 0,
    -- What the configuration said of paused last.
    paused_by_file INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A row is never given to another delivery while the gateway runs.
CREATE TABLE deliveries (
    row           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    received_at   INTEGER NOT NULL,
    settled_at    INTEGER,
    route         INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    scheme        TEXT NOT NULL,
    reason        TEXT,
    status        INTEGER,
    event_type    TEXT,
    event_id      TEXT,
    request_id    TEXT,
    peer          TEXT NOT NULL,
    method        TEXT NOT NULL,
    path          TEXT NOT NULL,
    request_bytes INTEGER NOT NULL,
    duration_ms   INTEGER,
    details       BLOB NOT NULL,
    head          BLOB NOT NULL
) STRICT;
CREATE INDEX deliveries_by_state ON deliveries (route, state, id);
CREATE INDEX deliveries_by_reason ON deliveries (route, reason, id) WHERE reason IS NOT NULL;
CREATE INDEX deliveries_by_event ON deliveries (event_id, id) WHERE event_id IS NOT NULL;
CREATE INDEX deliveries_by_request ON deliveries (request_id, id) WHERE request_id IS NOT NULL;

-- Apart, so that a change of state does not touch them.
CREATE TABLE bodies (
    row  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- What waits: one row for a delivery and a destination. Who is being attempted is not written.
CREATE TABLE queue (
    row         INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    route       INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    counted     INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    replay      INTEGER NOT NULL,
    once        INTEGER NOT NULL,
    PRIMARY KEY (row, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_due ON queue (route, destination, due_at, row);

CREATE TABLE attempts (
    row           INTEGER NOT NULL,
    destination   INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    result        TEXT NOT NULL,
    status        INTEGER,
    error         TEXT,
    duration_ms   INTEGER NOT NULL,
    replay        INTEGER NOT NULL,
    response_head BLOB NOT NULL,
    response_body BLOB NOT NULL,
    PRIMARY KEY (row, destination, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE dedupe (
    key   BLOB PRIMARY KEY,
    until INTEGER NOT NULL,
    id    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_until ON dedupe (until);

-- How many deliveries a route has of a kind: 0 pending, 100 retrying, else the state. Changed with what it counts.
CREATE TABLE counts (
    route INTEGER NOT NULL,
    kind  INTEGER NOT NULL,
    n     INTEGER NOT NULL,
    PRIMARY KEY (route, kind)
) STRICT, WITHOUT ROWID;
";

const VERSION_2: &str = "
-- A pending delivery without a row in queue is in this row of deliveries or a higher one.
CREATE TABLE marks (
    fresh INTEGER NOT NULL
) STRICT;
INSERT INTO marks SELECT coalesce(max(row), 0) + 1 FROM deliveries;
";

const VERSION_3: &str = "
-- Keys on their way to dedupe.
CREATE TABLE new_keys (
    n     INTEGER PRIMARY KEY,
    key   BLOB NOT NULL,
    until INTEGER NOT NULL,
    id    BLOB NOT NULL
) STRICT;
DROP INDEX dedupe_until;
-- From here on NULL stands for the delivery's own id.
UPDATE deliveries SET request_id = '' WHERE request_id IS NULL AND state <> 4;
";
