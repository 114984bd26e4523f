//! What durable acceptance is compared with: Redis Streams, PostgreSQL, a bare file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::exchange::Protocol;
use crate::peers::{Gateway, Setting, free};
use crate::programs;

/// What each delivery consists of: the head as a gateway stores it, and a body of 3 KB.
pub const HEAD: usize = 400;
pub const BODY: usize = 3 * 1024;

/// HTTP: any answer of 200.
pub const HTTP: Protocol = Protocol { greet: |_| Ok(()), is_whole: is_http };
/// Redis: the id of an entry.
pub const REDIS: Protocol = Protocol { greet: |_| Ok(()), is_whole: is_redis };
/// PostgreSQL's protocol, version 3: a prepared statement, executed and synced.
pub const POSTGRES: Protocol = Protocol { greet: greet_postgres, is_whole: is_postgres };

/// Redis with an append-only file that is synced before each answer.
pub fn redis(setting: &Setting<'_>) -> io::Result<Gateway> {
    let address = free()?;
    let (port, ip) = (address.port().to_string(), address.ip().to_string());
    let args = ["--port", &port, "--bind", &ip, "--dir", ".", "--save", "", "--appendonly", "yes"];
    // A rewrite of the file would come in the middle of the measurement.
    let sync = ["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    Gateway::start("Redis", setting, address, Path::new("redis-server"), &[&args[..], &sync].concat())
}

/// An entry of a stream.
pub fn redis_request() -> Vec<u8> {
    let (head, body) = ("h".repeat(HEAD), "b".repeat(BODY));
    let words = ["XADD", "deliveries", "MAXLEN", "~", "100000", "*", "head", &head, "body", &body];
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    request.into_bytes()
}

/// PostgreSQL with its defaults, which sync each commit; commits that come together share a sync.
pub fn postgres(setting: &Setting<'_>) -> io::Result<Gateway> {
    let address = free()?;
    let data = setting.folder.join("data");
    programs::give(setting.folder)?;
    let mut init = programs::unprivileged("initdb");
    init.args(["-U", "bench", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8", "-D"]).arg(&data);
    succeeds(init.current_dir(setting.folder))?;
    let mut serve = programs::unprivileged("postgres");
    serve.arg("-D").arg(data);
    for setting in [
        format!("listen_addresses={}", address.ip()),
        format!("port={}", address.port()),
        "unix_socket_directories=".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "max_wal_size=4GB".to_owned(),
    ] {
        serve.args(["-c", &setting]);
    }
    let args: Vec<&str> = serve.get_args().filter_map(|arg| arg.to_str()).collect();
    let gateway = Gateway::start("PostgreSQL", setting, address, Path::new(serve.get_program()), &args)?;
    create_table(&gateway)?;
    Ok(gateway)
}

fn create_table(server: &Gateway) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    // It takes connections before it takes users.
    let mut stream = loop {
        let mut stream = TcpStream::connect(server.address)?;
        match log_in(&mut stream) {
            Ok(()) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::yield_now(),
        }
    };
    let table =
        "CREATE TABLE deliveries (id uuid PRIMARY KEY, received_at timestamptz NOT NULL, head bytea, body bytea)\0";
    stream.write_all(&message(b'Q', table.as_bytes()))?;
    until_ready(&mut stream)
}

fn greet_postgres(stream: &mut TcpStream) -> io::Result<()> {
    log_in(stream)?;
    let statement = "insert\0INSERT INTO deliveries VALUES (gen_random_uuid(), now(), $1, $2)\0\0\0";
    stream.write_all(&[message(b'P', statement.as_bytes()), message(b'S', b"")].concat())?;
    until_ready(stream)
}

fn log_in(stream: &mut TcpStream) -> io::Result<()> {
    let parameters = b"\0\x03\0\0user\0bench\0database\0postgres\0\0";
    let length = u32::try_from(parameters.len() + 4).unwrap().to_be_bytes();
    stream.write_all(&[&length, &parameters[..]].concat())?;
    until_ready(stream)
}

fn until_ready(stream: &mut TcpStream) -> io::Result<()> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !is_postgres(&answer)? {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    Ok(())
}

/// Binds the prepared statement, executes it, and ends the transaction.
pub fn postgres_request() -> Vec<u8> {
    let mut bind = b"\0insert\0\0\x01\0\x01\0\x02".to_vec();
    for value in [vec![b'h'; HEAD], vec![b'b'; BODY]] {
        bind.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        bind.extend_from_slice(&value);
    }
    bind.extend_from_slice(b"\0\0");
    [message(b'B', &bind), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], content].concat()
}

/// Whether the server is ready for the next query.
fn is_postgres(mut answer: &[u8]) -> io::Result<bool> {
    while let [kind, a, b, c, d, ..] = *answer {
        let end = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(content) = answer.get(5..end) else { return Ok(false) };
        match kind {
            b'E' => return Err(io::Error::other(format!("PostgreSQL: {}", String::from_utf8_lossy(content)))),
            b'Z' => return Ok(true),
            _ => answer = &answer[end..],
        }
    }
    Ok(false)
}

fn is_redis(answer: &[u8]) -> io::Result<bool> {
    if !answer.starts_with(b"$") {
        return Err(io::Error::other(format!("Redis: {}", String::from_utf8_lossy(answer))));
    }
    Ok(answer.ends_with(b"\r\n") && answer.iter().filter(|byte| **byte == b'\n').count() == 2)
}

fn is_http(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other(String::from_utf8_lossy(answer).into_owned()));
    }
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Ok(answer.len() >= end + 4 + length.unwrap_or(0))
}

/// Appends what this many deliveries have to a file and syncs it, again and again: how long each took.
pub fn append(folder: &Path, together: usize, time: Duration) -> io::Result<Vec<Duration>> {
    let mut file = File::create(folder.join("appended"))?;
    let bytes = vec![b'b'; together * (HEAD + BODY)];
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

pub fn succeeds(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}
