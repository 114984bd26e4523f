//! Every SQL statement of the running store that has parameters, in one place.

/// The columns of a list, in the order of [`super::row::stored`].
macro_rules! summary {
    () => {
        "d.id, d.received_at, r.name, d.state, d.attempts, d.scheme, d.reason, d.status, d.event_type, d.event_id, \
         d.request_id, d.peer, d.method, d.path, d.request_bytes, d.duration_ms, d.gateway, \
         coalesce(d.due_at, (SELECT min(q.due_at) FROM queue q WHERE q.row = d.row)), d.row"
    };
}

/// Whether the session `q.owner` lives.
macro_rules! owner_lives {
    () => {
        "EXISTS (SELECT 1 FROM sessions s WHERE s.number = q.owner AND s.lease_until > clock_timestamp())"
    };
}

// --- Sessions -----------------------------------------------------------------------------------------------------------

pub const BEGIN_SESSION: &str = "INSERT INTO sessions (gateway, lease_until, version) \
    VALUES ($1, clock_timestamp() + make_interval(secs => $2::integer), $3) RETURNING number";
/// Sessions whose time is over stay so.
pub const RENEW: &str = "UPDATE sessions SET lease_until = clock_timestamp() + make_interval(secs => $2::integer), \
    follows = $3 WHERE number = ANY($1) AND lease_until > clock_timestamp() RETURNING number";
pub const END_SESSIONS: &str = "DELETE FROM sessions WHERE number = ANY($1)";
/// Whether other gateways have followers, and whether some know only the tables before version 3.
pub const OTHERS: &str = "SELECT coalesce(bool_or(follows), false), coalesce(bool_or(version < 3), false) FROM sessions \
    WHERE number <> ALL($1) AND lease_until > clock_timestamp()";
pub const LIVING: &str = "SELECT number FROM sessions WHERE number = ANY($1) AND lease_until > clock_timestamp()";
pub const IS_REPLICATED: &str = "SELECT current_setting('synchronous_standby_names') <> ''";
/// Milliseconds since 1970 by the clock of the database.
pub const TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

// --- Routes and numbers -------------------------------------------------------------------------------------------------

pub const ADD_ROUTES: &str = "INSERT INTO routes (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING";
pub const ROUTES: &str = "SELECT number, name, paused, held, paused_by_file FROM routes";
pub const UPDATE_ROUTE: &str = "UPDATE routes SET paused = coalesce($2, paused), held = coalesce($3, held), \
    paused_by_file = coalesce($4, paused_by_file) WHERE number = $1";
pub const COUNTS: &str = "SELECT route, kind, sum(n)::bigint FROM counts GROUP BY route, kind HAVING sum(n) <> 0";
pub const ADD_COUNTS: &str = "INSERT INTO counts (part, route, kind, n) \
    SELECT $1, u.* FROM unnest($2::integer[], $3::smallint[], $4::bigint[]) AS u (route, kind, n) \
    ON CONFLICT (part, route, kind) DO UPDATE SET n = counts.n + excluded.n";

// --- Circuits -----------------------------------------------------------------------------------------------------------

/// The prober is that of a session that lives.
pub const CIRCUITS: &str = "SELECT c.upstream, c.failures, c.wait_ms, \
    greatest(extract(epoch FROM c.probe_at - clock_timestamp()) * 1000, 0)::bigint, \
    (SELECT s.number FROM sessions s WHERE s.number = c.prober AND s.lease_until > clock_timestamp()) FROM circuits c";
/// Failures of an open circuit are those of attempts from before.
pub const FAIL_CIRCUIT: &str = "INSERT INTO circuits AS c (upstream, failures, wait_ms, probe_at, changed_at) \
    SELECT $1::uuid, $2::bigint, w.wait_ms, clock_timestamp() + w.wait_ms * interval '1 millisecond', clock_timestamp() \
    FROM (SELECT CASE WHEN $2::bigint >= $3::bigint THEN $4::bigint END AS wait_ms) AS w \
    ON CONFLICT (upstream) DO UPDATE SET failures = c.failures + $2, changed_at = clock_timestamp(), \
    wait_ms = CASE WHEN c.failures + $2 >= $3 THEN $4 END, \
    probe_at = CASE WHEN c.failures + $2 >= $3 THEN clock_timestamp() + $4 * interval '1 millisecond' END \
    WHERE c.wait_ms IS NULL";
pub const CLOSE_CIRCUIT: &str = "DELETE FROM circuits WHERE upstream = $1";
pub const ASK_TO_PROBE: &str = "UPDATE circuits c SET prober = $2, changed_at = clock_timestamp() \
    WHERE c.upstream = $1 AND c.probe_at <= clock_timestamp() AND (c.prober IS NULL OR c.prober = $2 \
    OR NOT session_lives(c.prober))";
pub const FAIL_PROBE: &str = "UPDATE circuits SET prober = NULL, wait_ms = least(wait_ms * 2, $3::bigint), \
    probe_at = clock_timestamp() + least(wait_ms * 2, $3::bigint) * interval '1 millisecond', \
    changed_at = clock_timestamp() WHERE upstream = $1 AND prober = $2";
pub const CANCEL_PROBE: &str = "UPDATE circuits SET prober = NULL WHERE upstream = $1 AND prober = $2";
/// Forgets circuits that have not changed for a day.
pub const FORGET_CIRCUITS: &str = "DELETE FROM circuits WHERE changed_at < clock_timestamp() - interval '1 day'";

// --- New deliveries -----------------------------------------------------------------------------------------------------

/// Stores deliveries with their keys, bodies and places in the queue; gives row and id of those that are stored. A delivery
/// whose key is known, or whose id is stored, is not.
pub const INSERT: &str = "WITH input AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::integer[], \
    $5::smallint[], $6::integer[], $7::text[], $8::text[], $9::integer[], $10::text[], $11::text[], $12::text[], \
    $13::text[], $14::text[], $15::text[], $16::bigint[], $17::bigint[], $18::bytea[], $19::bytea[], $20::bytea[], \
    $21::uuid[], $22::bigint[], $23::integer[], $24::boolean[]) WITH ORDINALITY AS t (id, received_at, settled_at, route, \
    state, attempts, scheme, reason, status, event_type, event_id, request_id, peer, method, path, request_bytes, \
    duration_ms, details, head, body, key, until, destinations, claim, place)), \
    keys AS (INSERT INTO dedupe (key, until, id) SELECT key, until, id FROM input WHERE key IS NOT NULL ORDER BY key \
    ON CONFLICT (key) DO UPDATE SET until = excluded.until, id = excluded.id WHERE dedupe.until <= $25 RETURNING id), \
    stored AS (INSERT INTO deliveries (id, received_at, settled_at, route, state, attempts, scheme, reason, status, \
    event_type, event_id, request_id, peer, method, path, request_bytes, duration_ms, gateway, details, head) \
    SELECT id, received_at, settled_at, route, state, attempts, scheme, reason, status, event_type, event_id, request_id, \
    peer, method, path, request_bytes, duration_ms, $26, details, head FROM input i \
    WHERE i.key IS NULL OR EXISTS (SELECT 1 FROM keys WHERE keys.id = i.id) ORDER BY i.place \
    ON CONFLICT (id) DO NOTHING RETURNING row, id), \
    with_body AS (INSERT INTO bodies (row, body) SELECT s.row, i.body FROM stored s JOIN input i USING (id) \
    WHERE i.body IS NOT NULL), \
    queued AS (INSERT INTO queue (row, destination, route, due_at, attempts, counted, since, replay, once, owner, fence) \
    SELECT s.row, n, i.route, i.received_at + $28, 0, 0, i.received_at, false, false, CASE WHEN i.claim THEN $27::bigint END, 1 \
    FROM stored s JOIN input i USING (id), generate_series(0, i.destinations - 1) AS n) \
    SELECT row, id FROM stored";
pub const FIND_KEYS: &str = "SELECT key, id FROM dedupe WHERE key = ANY($1)";
pub const PUT_KEYS: &str = "INSERT INTO dedupe (key, until, id) \
    SELECT u.* FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS u (key, until, id) ORDER BY 1 \
    ON CONFLICT (key) DO UPDATE SET until = excluded.until, id = excluded.id";
pub const EXPIRE_KEYS: &str = "DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE until <= $1 \
    ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)";

// --- Fresh ones: stored whole for an attempt at once -----------------------------------------------------------------------

/// Locks this part of the numbers, so that two gateways that happen to have the same one do not wait for each other crosswise.
pub const LOCK_PART: &str = "SELECT pg_advisory_xact_lock(x'686b6c74'::integer, $1)";
/// Stores deliveries with their keys for an attempt at once, and counts them; gives row and id of those that are stored. One
/// whose key is known, or whose id is stored, is not. If the session has ended, none is: the column takes no NULL.
pub const TAKE: &str = "WITH input AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::text[], \
    $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bytea[], $13::bytea[], $14::bytea[], \
    $15::uuid[], $16::bigint[]) WITH ORDINALITY AS t (id, received_at, route, scheme, event_type, event_id, request_id, peer, \
    method, path, request_bytes, details, head, body, key, until, place)), \
    living AS (SELECT number FROM sessions WHERE number = $17 AND lease_until > clock_timestamp() FOR KEY SHARE), \
    keys AS (INSERT INTO dedupe (key, until, id) SELECT key, until, id FROM input WHERE key IS NOT NULL ORDER BY key \
    ON CONFLICT (key) DO UPDATE SET until = excluded.until, id = excluded.id WHERE dedupe.until <= $18 RETURNING id), \
    stored AS (INSERT INTO fresh (id, session, due_at, received_at, route, scheme, event_type, event_id, request_id, peer, \
    method, path, request_bytes, gateway, details, head, body) SELECT i.id, (SELECT number FROM living), \
    i.received_at + $19, i.received_at, i.route, i.scheme, i.event_type, i.event_id, i.request_id, i.peer, i.method, i.path, \
    i.request_bytes, $20, i.details, i.head, i.body FROM input i WHERE i.key IS NULL OR i.id IN (SELECT id FROM keys) \
    ORDER BY i.place ON CONFLICT (id) DO NOTHING RETURNING row, id, route), \
    counted AS (INSERT INTO counts (part, route, kind, n) SELECT $21, route, 0, count(*) FROM stored GROUP BY route \
    ORDER BY route ON CONFLICT (part, route, kind) DO UPDATE SET n = counts.n + excluded.n) \
    SELECT row, id FROM stored";
/// What attempts have come to, of deliveries that are still fresh: they get their row as settled ones, if anything of them
/// stays, and are counted. Gives ids and routes of those that were there.
pub const SETTLE: &str = "WITH ended AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::text[], \
    $5::boolean[], $6::bytea[], $7::boolean[], $8::bytea[], $9::bigint[], $10::text[], $11::integer[], $12::text[], \
    $13::bigint[], $14::bytea[], $15::bytea[]) AS t (id, session, state, reason, stays, new_head, is_whole, new_body, at, \
    result, status, error, duration_ms, response_head, response_body)), \
    taken AS (DELETE FROM fresh f USING ended e WHERE f.id = e.id AND f.session = e.session RETURNING f.row, f.id, \
    f.received_at, f.route, f.scheme, f.event_type, f.event_id, f.request_id, f.peer, f.method, f.path, f.request_bytes, \
    f.gateway, f.details, coalesce(e.new_head, f.head) AS head, CASE WHEN e.is_whole THEN f.body ELSE e.new_body END AS body, \
    e.state, e.reason, e.stays, e.at, e.result, e.status, e.error, e.duration_ms, e.response_head, e.response_body), \
    settled AS (INSERT INTO deliveries (row, id, received_at, settled_at, route, state, attempts, scheme, reason, status, \
    event_type, event_id, request_id, peer, method, path, request_bytes, duration_ms, gateway, details, head) \
    OVERRIDING SYSTEM VALUE SELECT row, id, received_at, $16, route, state, 1, scheme, reason, status, event_type, event_id, \
    request_id, peer, method, path, request_bytes, duration_ms, gateway, details, head FROM taken WHERE stays ORDER BY row \
    ON CONFLICT (id) DO NOTHING), \
    with_body AS (INSERT INTO bodies (row, body) SELECT row, body FROM taken WHERE stays AND body IS NOT NULL), \
    attempted AS (INSERT INTO attempts (row, destination, number, at, result, status, error, duration_ms, replay, gateway, \
    response_head, response_body) SELECT row, 0, 1, at, result, status, error, duration_ms, false, $17, response_head, \
    response_body FROM taken WHERE stays ORDER BY row), \
    counted AS (INSERT INTO counts (part, route, kind, n) SELECT $18, route, kind, sum(n) FROM (\
    SELECT route, 0 AS kind, -1 AS n FROM taken UNION ALL SELECT route, state, 1 FROM taken WHERE stays) AS c \
    GROUP BY route, kind ORDER BY route, kind ON CONFLICT (part, route, kind) DO UPDATE SET n = counts.n + excluded.n) \
    SELECT id, route FROM taken";

/// Gives deliveries that are fresh their rows as ones that wait, with the claims that they have.
macro_rules! queue_fresh {
    ($which:literal) => {
        concat!(
            "WITH taken AS (DELETE FROM fresh f WHERE ",
            $which,
            " RETURNING f.*), \
             waiting AS (INSERT INTO deliveries (row, id, received_at, route, state, attempts, scheme, event_type, event_id, \
             request_id, peer, method, path, request_bytes, gateway, details, head) OVERRIDING SYSTEM VALUE \
             SELECT row, id, received_at, route, 0, 0, scheme, event_type, event_id, request_id, peer, method, path, \
             request_bytes, gateway, details, head FROM taken ORDER BY row ON CONFLICT (id) DO NOTHING RETURNING row), \
             with_body AS (INSERT INTO bodies (row, body) SELECT t.row, t.body FROM taken t JOIN waiting USING (row)), \
             queued AS (INSERT INTO queue (row, destination, route, due_at, attempts, counted, since, replay, once, owner, \
             fence) SELECT t.row, 0, t.route, t.due_at, 0, 0, t.received_at, false, false, t.session, 1 \
             FROM taken t JOIN waiting USING (row)) \
             SELECT DISTINCT route FROM taken"
        )
    };
}

pub const QUEUE_FRESH: &str = queue_fresh!("f.id = ANY($1)");
pub const QUEUE_OF_SESSIONS: &str = queue_fresh!("f.session = ANY($1)");
pub const QUEUE_OF_NONE: &str = queue_fresh!("NOT EXISTS (SELECT 1 FROM sessions s WHERE s.number = f.session)");
/// Sessions that have ended, and these: nothing can be stored under them any more.
pub const LOCK_ENDED: &str = "SELECT number FROM sessions WHERE lease_until <= clock_timestamp() OR number = ANY($1) \
    ORDER BY number FOR UPDATE SKIP LOCKED";
pub const HAS_ENDED: &str = "SELECT EXISTS (SELECT 1 FROM sessions WHERE lease_until <= clock_timestamp())";

// --- Changes ------------------------------------------------------------------------------------------------------------

/// In the order of rows, so that two gateways do not wait for each other.
pub const LOAD: &str = "SELECT row, id, route, state, attempts, status, duration_ms, settled_at, reason FROM deliveries \
    WHERE row = ANY($1) OR id = ANY($2) ORDER BY row FOR UPDATE";
pub const LOAD_QUEUE: &str = "SELECT q.row, q.destination, q.due_at, q.attempts, q.counted, q.since, q.replay, q.once, \
    q.owner, q.fence FROM queue q \
    WHERE q.row = ANY($1) OR q.row IN (SELECT row FROM deliveries WHERE id = ANY($2)) \
    ORDER BY q.row, q.destination FOR UPDATE";
pub const LOAD_WHOLE: &str = "SELECT d.row FROM deliveries d JOIN bodies b ON b.row = d.row \
    WHERE d.id = ANY($1) AND octet_length(b.body) = d.request_bytes";
pub const LOAD_NUMBERS: &str = "SELECT a.row, a.destination, max(a.number) FROM attempts a \
    WHERE a.row IN (SELECT row FROM deliveries WHERE id = ANY($1)) GROUP BY a.row, a.destination";
pub const UPDATE: &str = "UPDATE deliveries d SET state = u.state, attempts = u.attempts, status = u.status, \
    duration_ms = u.duration_ms, settled_at = u.settled_at, reason = u.reason, head = coalesce(u.head, d.head) \
    FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::integer[], $5::bigint[], $6::bigint[], $7::text[], \
    $8::bytea[]) AS u (row, state, attempts, status, duration_ms, settled_at, reason, head) WHERE d.row = u.row";
pub const PUT_QUEUE: &str = "INSERT INTO queue (row, destination, route, due_at, attempts, counted, since, replay, once, \
    owner, fence) SELECT u.*, 0 FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[], $5::bigint[], \
    $6::bigint[], $7::bigint[], $8::boolean[], $9::boolean[], $10::bigint[]) AS u \
    ON CONFLICT (row, destination) DO UPDATE SET due_at = excluded.due_at, attempts = excluded.attempts, \
    counted = excluded.counted, since = excluded.since, replay = excluded.replay, once = excluded.once, owner = excluded.owner";
pub const DELETE_QUEUE: &str = "DELETE FROM queue q USING unnest($1::bigint[], $2::integer[]) AS u (row, destination) \
    WHERE q.row = u.row AND q.destination = u.destination";
pub const RELEASE: &str = "UPDATE queue q SET owner = NULL \
    FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[]) AS u (row, destination, owner, fence) \
    WHERE q.row = u.row AND q.destination = u.destination AND q.owner = u.owner AND q.fence = u.fence \
    RETURNING q.route";
pub const PUT_ATTEMPTS: &str = "INSERT INTO attempts (row, destination, number, at, result, status, error, duration_ms, \
    replay, gateway, response_head, response_body) SELECT u.row, u.destination, u.number, u.at, u.result, u.status, \
    u.error, u.duration_ms, u.replay, $12, u.response_head, u.response_body \
    FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::integer[], $7::text[], \
    $8::bigint[], $9::boolean[], $10::bytea[], $11::bytea[]) AS u (row, destination, number, at, result, status, error, \
    duration_ms, replay, response_head, response_body) \
    ON CONFLICT (row, destination, number) DO UPDATE SET at = excluded.at, result = excluded.result, \
    status = excluded.status, error = excluded.error, duration_ms = excluded.duration_ms, replay = excluded.replay, \
    gateway = excluded.gateway, response_head = excluded.response_head, response_body = excluded.response_body";
pub const PUT_BODIES: &str = "INSERT INTO bodies (row, body) SELECT * FROM unnest($1::bigint[], $2::bytea[]) \
    ON CONFLICT (row) DO UPDATE SET body = excluded.body";
pub const DELETE_BODIES: &str = "DELETE FROM bodies WHERE row = ANY($1)";
pub const ERASE_DELIVERIES: &str = "UPDATE deliveries SET head = '', details = '', peer = '', method = '', path = '', \
    event_type = NULL, event_id = NULL, request_id = NULL WHERE row = ANY($1)";
pub const ERASE_ATTEMPTS: &str =
    "UPDATE attempts SET response_head = '', response_body = '', error = NULL WHERE row = ANY($1)";
pub const DELETE_ATTEMPTS: &str = "DELETE FROM attempts WHERE row = ANY($1)";
pub const DELETE_DELIVERIES: &str = "DELETE FROM deliveries WHERE row = ANY($1)";
pub const CUT: &str = "UPDATE queue q SET due_at = $2 FROM (SELECT row, destination FROM queue WHERE route = $1 \
    AND destination BETWEEN 0 AND 7 AND due_at > $2 ORDER BY row LIMIT 1000 FOR UPDATE SKIP LOCKED) AS far \
    WHERE q.row = far.row AND q.destination = far.destination";

// --- What is done now and then ------------------------------------------------------------------------------------------

/// One gateway at a time, for the transaction.
pub const TRY_EXPIRE: &str = "SELECT pg_try_advisory_xact_lock(x'686b6c7400000002'::bigint)";
pub const EXPIRED: &str = "SELECT d.row FROM unnest($1::integer[], $2::smallint[], $3::uuid[], $4::bigint[]) \
    AS k (route, state, least, before) CROSS JOIN LATERAL (SELECT e.row FROM deliveries e WHERE e.route = k.route \
    AND e.state = k.state AND e.id < k.least AND e.settled_at <= k.before \
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = e.row) ORDER BY e.id LIMIT $5) AS d LIMIT $5";
pub const OLDEST_OF_STATE: &str = "SELECT d.row FROM deliveries d WHERE d.route = $1 AND d.state = $2 \
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = d.row) ORDER BY d.id LIMIT $3";
pub const LOCK_GONE: &str = "SELECT row FROM deliveries WHERE row = ANY($1) AND state <> 0 ORDER BY row \
    FOR UPDATE SKIP LOCKED";
/// A replay may have been asked for since they were found.
pub const DELETE_GONE: &str = "DELETE FROM deliveries d WHERE d.row = ANY($1) \
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = d.row) RETURNING d.row, d.id, d.route, d.state";
pub const SIZE: &str = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c \
    WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind = 'r'";
/// Routes with deliveries that are due and not claimed.
pub const DUE_ROUTES: &str = concat!(
    "SELECT r.name FROM routes r WHERE NOT r.paused AND EXISTS (SELECT 1 FROM queue q WHERE q.route = r.number \
     AND q.destination BETWEEN 0 AND 7 AND q.due_at <= $1 AND (q.owner IS NULL OR NOT ",
    owner_lives!(),
    "))"
);
pub const TELL: &str = "SELECT pg_notify($1, $2)";

// --- Reading ------------------------------------------------------------------------------------------------------------

/// Claims what is due: the oldest first, so many and so many bytes at most, but at least one. A row may have been claimed since
/// the statement began, under a session that it does not see: so it is asked again of an owner that does not seem to live.
pub const CLAIM: &str = concat!(
    "WITH due AS (SELECT q.row, q.destination, q.due_at FROM queue q JOIN routes r ON r.number = q.route \
     WHERE r.name = $1 AND q.destination = $2 AND q.due_at <= $3 AND (q.owner IS NULL OR (NOT ",
    owner_lives!(),
    " AND NOT session_lives(q.owner))) AND q.row <> ALL($6::bigint[]) ORDER BY q.due_at, q.row LIMIT $4 FOR UPDATE OF q SKIP LOCKED), \
     sized AS (SELECT due.row, due.destination, \
     sum(d.request_bytes + octet_length(d.head)) OVER (ORDER BY due.due_at, due.row) AS bytes, \
     row_number() OVER (ORDER BY due.due_at, due.row) AS place FROM due JOIN deliveries d ON d.row = due.row), \
     claimed AS (UPDATE queue q SET owner = $5, fence = q.fence + 1 FROM sized z \
     WHERE q.row = z.row AND q.destination = z.destination AND (z.place = 1 OR z.bytes <= $7::bigint) \
     AND EXISTS (SELECT 1 FROM sessions s WHERE s.number = $5 AND s.lease_until > clock_timestamp()) RETURNING q.*) \
     SELECT c.row, c.due_at, c.attempts, c.counted, c.since, c.replay, c.once, c.fence, d.id, d.received_at, d.scheme, \
     d.details, d.head, b.body FROM claimed c JOIN deliveries d ON d.row = c.row LEFT JOIN bodies b ON b.row = c.row \
     ORDER BY c.due_at, c.row"
);
pub const NEXT_DUE: &str = "SELECT min(q.due_at) FROM queue q JOIN routes r ON r.number = q.route \
    WHERE r.name = $1 AND q.destination = $2 AND q.due_at > $3";
pub const KEY: &str = "SELECT id FROM dedupe WHERE key = $1 AND until > $2";
pub const ROW: &str = "SELECT row FROM all_deliveries WHERE id = $1";
pub const IS_CLAIMED: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM queue q JOIN deliveries d ON d.row = q.row WHERE d.id = $1 AND ",
    owner_lives!(),
    ") OR EXISTS (SELECT 1 FROM fresh f JOIN sessions s ON s.number = f.session WHERE f.id = $1 \
     AND s.lease_until > clock_timestamp())"
);
pub const OLDEST: &str = "SELECT d.received_at FROM all_deliveries d JOIN routes r ON r.number = d.route \
    WHERE r.name = $1 AND d.state = 0 ORDER BY d.id LIMIT 1";
pub const BODY: &str = "SELECT b.body FROM deliveries d JOIN bodies b ON b.row = d.row WHERE d.id = $1 \
    UNION ALL SELECT f.body FROM fresh f WHERE f.id = $1";
pub const ATTEMPTS: &str = "SELECT destination, number, at, result, status, error, duration_ms, replay, gateway, \
    response_head, response_body FROM attempts WHERE row = $1 ORDER BY destination, number";
pub const DETAIL: &str = concat!(
    "SELECT ",
    summary!(),
    ", d.head, d.details FROM all_deliveries d JOIN routes r ON r.number = d.route WHERE d.id = $1"
);
pub const SUMMARIES: &str =
    concat!("SELECT ", summary!(), " FROM all_deliveries d JOIN routes r ON r.number = d.route WHERE d.id = ANY($1)");
pub const HEADS: &str = "SELECT d.id, d.head, d.details, octet_length(coalesce(d.body, (SELECT b.body FROM bodies b \
    WHERE b.row = d.row))) FROM all_deliveries d WHERE d.id = ANY($1)";

// --- Lists: below an id, from another one on, so many at most ------------------------------------------------------------

pub const LIST_ALL: &str = concat!(
    "SELECT ",
    summary!(),
    " FROM all_deliveries d JOIN routes r ON r.number = d.route WHERE d.id < $1 AND d.id >= $2 ORDER BY d.id DESC LIMIT $3"
);
/// A delivery by an id of the provider, of the request, or its own.
pub const LIST_IDS: &str = concat!(
    "SELECT ",
    summary!(),
    " FROM all_deliveries d JOIN routes r ON r.number = d.route WHERE d.row IN (\
     SELECT row FROM deliveries WHERE md5(event_id) = md5($4::text) AND event_id = $4 \
     UNION SELECT row FROM deliveries WHERE md5(request_id) = md5($5::text) AND request_id = $5 \
     UNION SELECT row FROM all_deliveries WHERE id = $6 \
     UNION SELECT row FROM fresh WHERE event_id = $4 OR request_id = $5) AND d.id < $1 AND d.id >= $2 ORDER BY d.id DESC LIMIT $3"
);
pub const LIST_STATES: &str = concat!(
    "SELECT ",
    summary!(),
    " FROM routes r CROSS JOIN LATERAL unnest($5::smallint[]) AS s (state) CROSS JOIN LATERAL (\
     SELECT * FROM all_deliveries e WHERE e.route = r.number AND e.state = s.state AND e.id < $1 AND e.id >= $2 \
     ORDER BY e.id DESC LIMIT $3) AS d WHERE $4::text[] IS NULL OR r.name = ANY($4) ORDER BY d.id DESC LIMIT $3"
);
pub const LIST_REASONS: &str = concat!(
    "SELECT ",
    summary!(),
    " FROM routes r CROSS JOIN LATERAL unnest($5::text[]) AS s (reason) CROSS JOIN LATERAL (\
     SELECT * FROM all_deliveries e WHERE e.route = r.number AND e.reason = s.reason AND e.id < $1 AND e.id >= $2 \
     ORDER BY e.id DESC LIMIT $3) AS d WHERE $4::text[] IS NULL OR r.name = ANY($4) ORDER BY d.id DESC LIMIT $3"
);
