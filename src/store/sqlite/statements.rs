//! Every SQL statement of the running store, in one place: a test asks SQLite for the plan of each.

/// A delivery; the columns in the order of [`super::row::insert_delivery`].
pub const INSERT_DELIVERY: &str = "INSERT OR IGNORE INTO deliveries (row, id, received_at, settled_at, route, state, scheme, \
    reason, status, event_type, event_id, request_id, peer, method, path, request_bytes, duration_ms, details, head, attempts) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
pub const INSERT_BODY: &str = "INSERT OR REPLACE INTO bodies (row, body) VALUES (?1, ?2)";
pub const DELETE_BODY: &str = "DELETE FROM bodies WHERE row = ?1";
pub const HAS_WHOLE_BODY: &str = "SELECT 1 FROM bodies b JOIN deliveries d ON d.row = b.row \
    WHERE b.row = ?1 AND length(b.body) = d.request_bytes";
pub const INSERT_QUEUE: &str = "INSERT INTO queue (row, destination, route, due_at, attempts, counted, since, replay, \
    once) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8)";
pub const MARK: &str = "SELECT fresh FROM marks WHERE rowid = 1";
pub const SET_MARK: &str = "UPDATE marks SET fresh = ?1 WHERE rowid = 1";
pub const LEFT_OVER: &str = "SELECT row, route, received_at FROM deliveries WHERE row >= ?1 AND state = 0 \
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = deliveries.row)";
pub const INSERT_ROUTE: &str = "INSERT INTO routes (number, name) VALUES (?1, ?2)";
pub const UPDATE_ROUTE: &str = "UPDATE routes SET paused = coalesce(?2, paused), held = coalesce(?3, held), \
    paused_by_file = coalesce(?4, paused_by_file) WHERE number = ?1";
pub const ADD_COUNT: &str = "INSERT INTO counts (route, kind, n) VALUES (?1, ?2, ?3) \
    ON CONFLICT (route, kind) DO UPDATE SET n = n + excluded.n";

pub const FIND_KEY: &str = "SELECT id FROM dedupe WHERE key = ?1 AND until > ?2";
pub const INSERT_KEY: &str = "INSERT OR REPLACE INTO dedupe (key, until, id) VALUES (?1, ?2, ?3)";
pub const NEW_KEYS: &str = "SELECT n, key, until, id FROM new_keys WHERE n > 0 ORDER BY n";
pub const INSERT_NEW_KEY: &str = "INSERT INTO new_keys (n, key, until, id) VALUES (?1, ?2, ?3, ?4)";
pub const TRIM_NEW_KEYS: &str = "DELETE FROM new_keys WHERE n < ?1";
pub const DELETE_NEW_KEY: &str = "DELETE FROM new_keys WHERE n = ?1";
pub const KEY_AFTER: &str = "SELECT key FROM dedupe WHERE key > ?1 ORDER BY key LIMIT 1 OFFSET ?2";
pub const HAS_EXPIRED_KEYS: &str = "SELECT 1 FROM dedupe WHERE key > ?1 AND key <= ?2 AND until <= ?3 LIMIT 1";
pub const EXPIRE_KEYS: &str = "DELETE FROM dedupe WHERE key > ?1 AND key <= ?2 AND until <= ?3";

pub const FIND_ATTEMPTED: &str = "SELECT row, route, state, attempts, \
    (SELECT since FROM queue q WHERE q.row = d.row AND destination = ?2), \
    EXISTS (SELECT 1 FROM queue q WHERE q.row = d.row AND destination <> ?2) FROM deliveries d WHERE row = ?1";
pub const FIND_BY_ID: &str = "SELECT row, route, state, attempts FROM deliveries WHERE id = ?1";
pub const IS_QUEUED: &str = "SELECT 1 FROM queue WHERE row = ?1 LIMIT 1";
pub const DELETE_QUEUE: &str = "DELETE FROM queue WHERE row = ?1 AND destination = ?2";
pub const DELETE_QUEUE_OF_ROW: &str = "DELETE FROM queue WHERE row = ?1";
pub const RETRY: &str = "UPDATE queue SET due_at = ?3, attempts = attempts + 1, counted = counted + 1, \
    replay = 0 WHERE row = ?1 AND destination = ?2";
pub const NUMBER_QUEUE: &str = "UPDATE queue SET attempts = max(attempts, ?3) WHERE row = ?1 AND destination = ?2";
pub const REQUEUE: &str =
    "UPDATE queue SET due_at = min(due_at, ?2), counted = 0, since = ?2, replay = 1 WHERE row = ?1";
pub const HAS_DUE_REPLAY: &str = "SELECT 1 FROM queue WHERE row = ?1 AND replay = 1 AND due_at <= ?2";
pub const CUT: &str = "UPDATE queue SET due_at = ?2 WHERE (row, destination) IN (SELECT row, destination FROM queue \
    WHERE route = ?1 AND destination = ?3 AND due_at > ?2 LIMIT 1000)";
pub const INSERT_ATTEMPT: &str = "INSERT OR REPLACE INTO attempts (row, destination, number, at, result, status, error, \
    duration_ms, replay, response_head, response_body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
pub const LAST_ATTEMPT: &str = "SELECT max(number) FROM attempts WHERE row = ?1 AND destination = ?2";
pub const COUNT_ATTEMPT: &str =
    "UPDATE deliveries SET attempts = attempts + 1, status = ?2, duration_ms = ?3 WHERE row = ?1";
pub const SETTLE_ATTEMPT: &str = "UPDATE deliveries SET attempts = attempts + 1, status = ?2, duration_ms = ?3, \
    state = ?4, settled_at = ?5, reason = ?6, head = coalesce(?7, head) WHERE row = ?1";
pub const SET_STATE: &str = "UPDATE deliveries SET state = ?2, settled_at = ?3 WHERE row = ?1";
pub const SET_HEAD: &str = "UPDATE deliveries SET head = ?2 WHERE row = ?1";
pub const ERASE_DELIVERY: &str = "UPDATE deliveries SET head = x'', details = x'', peer = '', method = '', path = '', \
    event_type = NULL, event_id = NULL, request_id = NULL WHERE row = ?1";
pub const ERASE_ATTEMPTS: &str =
    "UPDATE attempts SET response_head = x'', response_body = x'', error = NULL WHERE row = ?1";

pub const EXPIRED: &str = "SELECT row FROM deliveries WHERE route = ?1 AND state = ?2 AND id < ?3 \
    AND settled_at <= ?4 AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = deliveries.row) ORDER BY id LIMIT ?5";
pub const OLDEST_OF_STATE: &str = "SELECT row FROM deliveries WHERE route = ?1 AND state = ?2 \
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.row = deliveries.row) ORDER BY id LIMIT ?3";
pub const DELETE_DELIVERY: &str = "DELETE FROM deliveries WHERE row = ?1 RETURNING id";
pub const DELETE_ATTEMPTS: &str = "DELETE FROM attempts WHERE row = ?1";

pub const LAST_ROW: &str = "SELECT max(row) FROM deliveries";
pub const ROUTES: &str = "SELECT number, name, paused, held, paused_by_file FROM routes WHERE number > 0";
pub const COUNTS: &str = "SELECT route, kind, n FROM counts WHERE route > 0 AND n <> 0";

pub const DUE: &str = "SELECT row, due_at FROM queue WHERE route = ?1 AND destination = ?2 AND due_at <= ?3 \
    ORDER BY due_at, row";
pub const NEXT_DUE: &str = "SELECT due_at FROM queue WHERE route = ?1 AND destination = ?2 AND due_at > ?3 \
    ORDER BY due_at LIMIT 1";
pub const CLAIMED: &str = "SELECT d.id, d.received_at, q.attempts, q.counted, q.since, q.replay, q.once, d.head, b.body, \
    d.scheme, d.details \
    FROM queue q JOIN deliveries d ON d.row = q.row LEFT JOIN bodies b ON b.row = q.row \
    WHERE q.row = ?1 AND q.destination = ?2";
pub const ROW: &str = "SELECT row FROM deliveries WHERE id = ?1";
pub const OLDEST: &str = "SELECT received_at FROM deliveries WHERE route = ?1 AND state = 0 ORDER BY id LIMIT 1";
pub const BODY: &str = "SELECT b.body FROM deliveries d JOIN bodies b ON b.row = d.row WHERE d.id = ?1";
pub const ATTEMPTS: &str = "SELECT destination, number, at, result, status, error, duration_ms, replay, response_head, \
    response_body FROM attempts WHERE row = ?1 ORDER BY destination, number";

/// The columns in the order of [`super::row::stored`].
pub const SUMMARY: &str = "SELECT id, received_at, route, state, attempts, scheme, reason, status, event_type, event_id, \
    request_id, peer, method, path, request_bytes, duration_ms, \
    coalesce((SELECT min(due_at) FROM queue q WHERE q.row = d.row), iif(state = 0, received_at, NULL)) FROM deliveries d WHERE d.row = ?1";
pub const DETAIL: &str = "SELECT id, received_at, route, state, attempts, scheme, reason, status, event_type, event_id, \
    request_id, peer, method, path, request_bytes, duration_ms, \
    coalesce((SELECT min(due_at) FROM queue q WHERE q.row = d.row), iif(state = 0, received_at, NULL)), head, details, row FROM deliveries d WHERE d.id = ?1";

pub const LIST_ALL: &str = "SELECT id, row FROM deliveries WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3";
pub const LIST_EVENT: &str = "SELECT id, row FROM deliveries WHERE event_id = ?4 AND id < ?1 AND id >= ?2 \
    ORDER BY id DESC LIMIT ?3";
pub const LIST_REQUEST: &str = "SELECT id, row FROM deliveries WHERE request_id = ?4 AND id < ?1 AND id >= ?2 \
    ORDER BY id DESC LIMIT ?3";
pub const LIST_STATE: &str = "SELECT id, row FROM deliveries WHERE route = ?4 AND state = ?5 AND id < ?1 AND id >= ?2 \
    ORDER BY id DESC LIMIT ?3";
pub const LIST_REASON: &str = "SELECT id, row FROM deliveries WHERE route = ?4 AND reason = ?5 AND id < ?1 AND id >= ?2 \
    ORDER BY id DESC LIMIT ?3";
pub const LIST_ID: &str = "SELECT id, row FROM deliveries WHERE id = ?4 AND id < ?1 AND id >= ?2 LIMIT ?3";
pub const HEAD_AND_DETAILS: &str = "SELECT head, details, (SELECT length(body) FROM bodies b WHERE b.row = d.row) \
    FROM deliveries d WHERE row = ?1";
pub const BODY_OF_ROW: &str = "SELECT body FROM bodies WHERE row = ?1";

/// All of them.
#[cfg(test)]
pub const ALL: &[&str] = &[
    INSERT_DELIVERY,
    INSERT_BODY,
    DELETE_BODY,
    HAS_WHOLE_BODY,
    HAS_DUE_REPLAY,
    INSERT_QUEUE,
    MARK,
    SET_MARK,
    LEFT_OVER,
    INSERT_ROUTE,
    UPDATE_ROUTE,
    ADD_COUNT,
    FIND_KEY,
    INSERT_KEY,
    NEW_KEYS,
    INSERT_NEW_KEY,
    TRIM_NEW_KEYS,
    DELETE_NEW_KEY,
    KEY_AFTER,
    HAS_EXPIRED_KEYS,
    EXPIRE_KEYS,
    FIND_ATTEMPTED,
    FIND_BY_ID,
    IS_QUEUED,
    DELETE_QUEUE,
    DELETE_QUEUE_OF_ROW,
    RETRY,
    NUMBER_QUEUE,
    REQUEUE,
    CUT,
    INSERT_ATTEMPT,
    LAST_ATTEMPT,
    COUNT_ATTEMPT,
    SETTLE_ATTEMPT,
    SET_STATE,
    SET_HEAD,
    ERASE_DELIVERY,
    ERASE_ATTEMPTS,
    EXPIRED,
    OLDEST_OF_STATE,
    DELETE_DELIVERY,
    DELETE_ATTEMPTS,
    LAST_ROW,
    ROUTES,
    COUNTS,
    DUE,
    NEXT_DUE,
    CLAIMED,
    ROW,
    OLDEST,
    BODY,
    ATTEMPTS,
    SUMMARY,
    DETAIL,
    LIST_ALL,
    LIST_EVENT,
    LIST_REQUEST,
    LIST_STATE,
    LIST_REASON,
    LIST_ID,
    HEAD_AND_DETAILS,
    BODY_OF_ROW,
];
