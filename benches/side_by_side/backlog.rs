//! What a backlog costs: the time to the start, memory, and the time to deliver it to a handler that answers at once.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::exchange::Connections;
use crate::load::Load;
use crate::memory::{STILL, settled};
use crate::peers::{QUEUE, STORE, Setting, hooklatch_with, queue};
use crate::requests::numbered;
use crate::stores::HTTP;

/// How long a start, or the delivery of a backlog, may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Deliveries between two looks at the memory.
const LOOK: u64 = 1_000;

/// Prints a table.
pub fn run(load: &mut Load, files: &Path, quick: bool) -> io::Result<()> {
    let (small, large) = if quick { (10_000, 20_000) } else { (100_000, 1_000_000) };
    println!(
        "| backlog                        | start to ready | memory at the start | at most | delivered in | delivered/s |"
    );
    println!("| ------------------------------ | --- | --- | --- | --- | --- |");
    for (backlog, body, deliver) in [(0, 200, 0), (small, 3 * 1024, small), (large, 200, small)] {
        let folder = files.join(format!("backlog-{backlog}"));
        std::fs::create_dir_all(&folder)?;
        row(load, &folder, backlog, body, deliver)?;
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// A gateway that starts with `backlog` deliveries, of which the upstream then takes `deliver`.
fn row(load: &mut Load, folder: &Path, backlog: u64, body: usize, deliver: u64) -> io::Result<()> {
    let upstream = load.upstream()?;
    let setting = Setting::new(folder, upstream);
    if backlog > 0 {
        prepare(load, &setting, backlog, body)?;
    }
    let begun = Instant::now();
    let gateway = queue(&setting)?;
    let ready = begun.elapsed();
    // The attempts of the first ones wait for their answers.
    let at_start = settled(&gateway, STILL);
    let (mut at_most, mut seen) = (at_start, 0);
    let (begun, before) = (Instant::now(), load.answered);
    while load.answered - before < deliver {
        load.serve()?;
        let answered = load.answered - before;
        if answered >= seen + LOOK {
            seen = answered;
            at_most = at_most.max(gateway.memory());
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{answered} of {deliver} delivered")));
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0);
    let delivered = if deliver == 0 {
        "– | –".to_owned()
    } else {
        format!("{deliver} in {took:.2} s | {:.0}", deliver as f64 / took)
    };
    println!(
        "| {:<30} | {} ms | {} | {} | {delivered} |",
        format!("{backlog} of {body} B"),
        ready.as_millis(),
        mib(at_start),
        mib(at_most),
    );
    Ok(())
}

/// Has the gateway store one delivery while its route is paused, and copies that in the database.
fn prepare(load: &mut Load, setting: &Setting<'_>, backlog: u64, body: usize) -> io::Result<()> {
    let paused = format!("{QUEUE}    paused: true\n");
    let gateway = hooklatch_with(setting, &paused, STORE)?;
    let connections = Connections::open(gateway.address, 1, &HTTP)?;
    connections.run(load, &HTTP, &numbered(body, 0..1), false, PATIENCE)?;
    drop(gateway);
    copy(&setting.folder.join("store/hooklatch.db"), backlog).map_err(io::Error::other)
}

/// Makes `backlog` deliveries of the only one; each gets a row and an id of its own.
fn copy(database: &Path, backlog: u64) -> rusqlite::Result<()> {
    let backlog = i64::try_from(backlog).unwrap();
    let connection = Connection::open(database)?;
    // A loss of power in the middle of it is the end of the measurement.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN")?;
    let numbers = "WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)";
    for (table, changed) in [("deliveries", &["row", "id"][..]), ("bodies", &["row"]), ("queue", &["row"])] {
        let mut columns = Vec::new();
        let mut statement = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
        for name in statement.query_map([], |row| row.get::<_, String>(0))? {
            columns.push(name?);
        }
        let value = |column: &String| match column.as_str() {
            "row" => "n".to_owned(),
            // The time in an id stays: the first eight bytes.
            "id" if changed.contains(&"id") => "CAST(substr(id, 1, 8) || unhex(printf('%016x', n)) AS BLOB)".to_owned(),
            other => other.to_owned(),
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        let insert = format!("{numbers} INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, n WHERE row = 1");
        connection.execute(&insert, [backlog])?;
    }
    connection.execute("UPDATE counts SET n = ?1 WHERE n > 0", [backlog])?;
    // As the gateway leaves it: all of them have their rows in the queue.
    connection.execute("UPDATE marks SET fresh = ?1 + 1", [backlog])?;
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
}
