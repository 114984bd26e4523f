//! The tables, and how an older schema becomes one of this version.
//!
//! The tables are in a schema of their own. Its table `version` has one row: which version the tables have. Each version is
//! one script; those that are missing are applied in order, in one transaction under an advisory lock, so that of several
//! gateways that start at once one applies them and the others wait.
//!
//! From version 3 on, `version` also says which is the least version whose program can use the tables: a later script that only
//! adds something leaves that, so that an older program can still be started beside newer ones.

use tokio_postgres::Client;

use super::error::PgError;

/// The key of the advisory lock under which a schema is made and migrated: `hklt` and a number.
const MIGRATION_LOCK: i64 = 0x686b_6c74_0000_0001;

/// The scripts; the first one makes version 1 in an empty schema. A later one leaves what earlier versions of the program read
/// and write: they may run until they are replaced.
pub(super) const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4];

/// The version that this program writes.
pub fn version() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// What [`migrate`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// The schema is of [`version`] by now, or of a newer one that this program can use.
    Ours,
    /// The schema is of this newer version, and was left as it is.
    Newer(i32),
    /// The schema has tables of something else, and was left as it is.
    Foreign,
}

/// Makes the schema if it is missing, and brings it to [`version`]. The connection uses it from then on.
pub async fn migrate(client: &mut Client, schema: &str) -> Result<Found, PgError> {
    let found = migrate_to(client, schema, MIGRATIONS).await?;
    if found == Found::Ours {
        client.batch_execute(&select(schema)).await?;
    }
    Ok(found)
}

/// The version of a schema; `None` if it is missing or empty. Changes nothing.
pub async fn look(client: &Client, schema: &str) -> Result<Option<i32>, PgError> {
    let known = "SELECT to_regclass(format('%I.version', $1::text)) IS NOT NULL";
    let is_there: bool = client.query_one(known, &[&schema]).await?.try_get(0)?;
    if !is_there {
        return Ok(None);
    }
    let sql = format!("SELECT version FROM {}.version", quoted(schema));
    let row = client.query_opt(&sql, &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Whether this program can use tables of this version.
pub async fn can_use(client: &Client, schema: &str, found: i32) -> Result<bool, PgError> {
    if found <= version() {
        return Ok(true);
    }
    let sql = format!("SELECT least <= $1 FROM {}.version", quoted(schema));
    let row = client.query_opt(&sql, &[&version()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}

pub(super) async fn migrate_to(client: &mut Client, schema: &str, scripts: &[&str]) -> Result<Found, PgError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    let exists = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    let exists: bool = transaction.query_one(exists, &[&schema]).await?.try_get(0)?;
    // Without this question, a role that may not make schemas could not use one that is there.
    if !exists {
        transaction.batch_execute(&format!("CREATE SCHEMA {}", quoted(schema))).await?;
    }
    transaction.batch_execute(&select(schema)).await?;
    let objects = "SELECT count(*), count(*) FILTER (WHERE relname = 'version') FROM pg_class c \
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm')";
    let row = transaction.query_one(objects, &[&schema]).await?;
    let (objects, versions): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if objects > 0 && versions == 0 {
        return Ok(Found::Foreign);
    }
    let found: i32 = if versions == 0 {
        transaction.batch_execute("CREATE TABLE version (version integer NOT NULL)").await?;
        transaction.execute("INSERT INTO version VALUES (0)", &[]).await?;
        0
    } else {
        match transaction.query_opt("SELECT version FROM version", &[]).await {
            Ok(Some(row)) => row.try_get(0)?,
            // A table of this name, and not ours.
            Ok(None) | Err(_) => return Ok(Found::Foreign),
        }
    };
    let known = i32::try_from(scripts.len()).unwrap_or(i32::MAX);
    if found > known {
        let least: i32 = transaction.query_one("SELECT least FROM version", &[]).await?.try_get(0)?;
        return Ok(if least > known { Found::Newer(found) } else { Found::Ours });
    }
    for script in scripts.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(script).await?;
    }
    transaction.execute("UPDATE version SET version = $1", &[&known]).await?;
    transaction.commit().await?;
    Ok(Found::Ours)
}

/// Makes a connection use the schema and no other.
pub fn select(schema: &str) -> String {
    format!("SET search_path TO {}", quoted(schema))
}

/// A name as SQL reads it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const VERSION_1: &str = "
-- Names once, numbers everywhere else.
CREATE TABLE routes (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text NOT NULL UNIQUE,
    paused boolean NOT NULL DEFAULT false,
    held   boolean NOT NULL DEFAULT false,
    -- What a configuration said of paused last.
    paused_by_file boolean NOT NULL DEFAULT false
);

-- Who holds claims: one row for each connection of a gateway that claims. A row whose time is over holds none.
CREATE TABLE sessions (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     text NOT NULL,
    -- By the clock of the database.
    lease_until timestamptz NOT NULL,
    -- This gateway has followers of what is committed.
    follows     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE TABLE deliveries (
    row           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            uuid NOT NULL UNIQUE,
    received_at   bigint NOT NULL,
    settled_at    bigint,
    route         integer NOT NULL,
    state         smallint NOT NULL,
    attempts      integer NOT NULL,
    scheme        text NOT NULL,
    reason        text,
    status        integer,
    event_type    text,
    event_id      text,
    request_id    text,
    peer          text NOT NULL,
    method        text NOT NULL,
    path          text NOT NULL,
    request_bytes bigint NOT NULL,
    duration_ms   bigint,
    -- Which gateway took it.
    gateway       text NOT NULL,
    details       bytea NOT NULL,
    head          bytea NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX deliveries_by_state ON deliveries (route, state, id);
CREATE INDEX deliveries_by_reason ON deliveries (route, reason, id) WHERE reason IS NOT NULL;
-- By digest: a text of a provider can be longer than an entry of an index.
CREATE INDEX deliveries_by_event ON deliveries (md5(event_id), id) WHERE event_id IS NOT NULL;
CREATE INDEX deliveries_by_request ON deliveries (md5(request_id), id) WHERE request_id IS NOT NULL;

-- Apart, so that a change of state does not write them again.
CREATE TABLE bodies (
    row  bigint PRIMARY KEY,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL;

-- What waits: one narrow row for a delivery and a destination.
CREATE TABLE queue (
    row         bigint NOT NULL,
    destination integer NOT NULL,
    route       integer NOT NULL,
    due_at      bigint NOT NULL,
    attempts    bigint NOT NULL,
    counted     bigint NOT NULL,
    since       bigint NOT NULL,
    replay      boolean NOT NULL,
    once        boolean NOT NULL,
    -- The session that has claimed it. The claim counts as long as that session lives.
    owner       bigint,
    -- One more with each claim: an outcome counts only with the number of its claim.
    fence       bigint NOT NULL,
    PRIMARY KEY (row, destination)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_due ON queue (route, destination, due_at, row);

CREATE TABLE attempts (
    row           bigint NOT NULL,
    destination   integer NOT NULL,
    number        bigint NOT NULL,
    at            bigint NOT NULL,
    result        text NOT NULL,
    status        integer,
    error         text,
    duration_ms   bigint NOT NULL,
    replay        boolean NOT NULL,
    -- Which gateway made it.
    gateway       text NOT NULL,
    response_head bytea NOT NULL,
    response_body bytea NOT NULL,
    PRIMARY KEY (row, destination, number)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE dedupe (
    key   uuid PRIMARY KEY,
    until bigint NOT NULL,
    id    uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX dedupe_until ON dedupe (until);

-- How many deliveries a route has of a kind: 0 pending, 100 retrying, else the state. The number is the sum over all parts:
-- a gateway adds to a part of its own, so that gateways do not wait for each other.
CREATE TABLE counts (
    part  integer NOT NULL,
    route integer NOT NULL,
    kind  smallint NOT NULL,
    n     bigint NOT NULL,
    PRIMARY KEY (part, route, kind)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
";

const VERSION_2: &str = "
-- The circuits of upstreams: a row for each that is open or has failures. Not logged: see postgres/circuits.rs.
CREATE UNLOGGED TABLE circuits (
    -- A digest of where the upstream listens.
    upstream   uuid PRIMARY KEY,
    -- In a row, over all gateways.
    failures   bigint NOT NULL,
    -- The wait for the next probe; none while the circuit is closed.
    wait_ms    bigint,
    probe_at   timestamptz,
    -- The session that probes. It does so as long as it lives.
    prober     bigint,
    changed_at timestamptz NOT NULL
) WITH (fillfactor = 50);
";

const VERSION_3: &str = "
-- The least version whose program can use the tables.
ALTER TABLE version ADD COLUMN least integer NOT NULL DEFAULT 1;
-- Which tables the gateway knows: those of version 2 do not look into fresh.
ALTER TABLE sessions ADD COLUMN version integer NOT NULL DEFAULT 2;

-- Deliveries that are attempted as soon as they are stored: whole, in one row, until it is known what came of the attempt. Such
-- a row is the claim of its session. See postgres/fresh.rs.
CREATE TABLE fresh (
    id            uuid PRIMARY KEY,
    -- That of the delivery from then on.
    row           bigint NOT NULL DEFAULT nextval('deliveries_row_seq'),
    session       bigint NOT NULL,
    due_at        bigint NOT NULL,
    received_at   bigint NOT NULL,
    route         integer NOT NULL,
    scheme        text NOT NULL,
    event_type    text,
    event_id      text,
    request_id    text,
    peer          text NOT NULL,
    method        text NOT NULL,
    path          text NOT NULL,
    request_bytes bigint NOT NULL,
    gateway       text NOT NULL,
    details       bytea NOT NULL,
    head          bytea NOT NULL,
    body          bytea NOT NULL
-- Most are written and deleted within a moment: what fits into a page stays out of the second table and its index.
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE fresh ALTER COLUMN details SET STORAGE EXTERNAL, ALTER COLUMN head SET STORAGE EXTERNAL,
    ALTER COLUMN body SET STORAGE EXTERNAL;

-- Here, too, what fits into a page stays out of the second table.
ALTER TABLE bodies SET (toast_tuple_target = 8160);

-- All deliveries, those that are fresh with their body and when they are due.
CREATE VIEW all_deliveries AS
    SELECT row, id, received_at, settled_at, route, state, attempts, scheme, reason, status, event_type, event_id, request_id,
        peer, method, path, request_bytes, duration_ms, gateway, details, head, NULL::bigint AS due_at, NULL::bytea AS body
    FROM deliveries
    UNION ALL
    SELECT row, id, received_at, NULL, route, 0::smallint, 0, scheme, NULL, NULL, event_type, event_id, request_id,
        peer, method, path, request_bytes, NULL, gateway, details, head, due_at, body
    FROM fresh;
";

const VERSION_4: &str = "
-- Whether a session lives, as it is now: a statement does not see a session that has begun after it.
CREATE FUNCTION session_lives(bigint) RETURNS boolean LANGUAGE sql VOLATILE AS
    'SELECT EXISTS (SELECT 1 FROM sessions s WHERE s.number = $1 AND s.lease_until > clock_timestamp())';
";
