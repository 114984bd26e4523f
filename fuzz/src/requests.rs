//! Any bytes as a connection to a running gateway: only what it lets on reaches the upstream, once, in one unambiguous
//! framing, with the bytes that came.
//!
//! The gateway is the real one, over loopback, with a route that verifies and one that only reports, so that what it
//! makes of odd requests is seen. The upstream reads strictly and complains of everything that is not as promised.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hooklatch::app;
use hooklatch::clock::Clock;
use hooklatch::config::{self, Sources};
use zeroize::Zeroizing;

/// In each answer of the upstream.
const MARKER: &str = "upstream-marker: ynzqh";
/// Far longer than the gateway's own limits.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the upstream saw since it was last asked.
static SEEN: Mutex<Vec<Result<Seen, String>>> = Mutex::new(Vec::new());
/// Inputs go through the gateway one by one: what the upstream saw is then due to the one input.
static GATEWAY: LazyLock<Mutex<SocketAddr>> = LazyLock::new(|| Mutex::new(start()));

/// A request as the upstream saw it.
struct Seen {
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

struct OneSecret;

impl Sources for OneSecret {
    fn env(&self, _: &str) -> Option<std::ffi::OsString> {
        Some("unknown".into())
    }

    fn file(&self, _: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// Sends `data` on a connection of its own and looks at what came of it, on both sides.
///
/// # Panics
/// When the gateway lets on what it must not, or in another form than it promises.
pub fn check(data: &[u8]) {
    let gateway = GATEWAY.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, whole) = exchange(*gateway, data);
    let seen: Vec<Seen> =
        SEEN.lock().unwrap().drain(..).collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}"));
    let answered = count(&answer, MARKER.as_bytes());
    assert!(answered <= seen.len() && (answered == seen.len() || !whole), "{answered} of {} answered", seen.len());
    for seen in &seen {
        seen.check(data);
    }
}

impl Seen {
    fn check(&self, data: &[u8]) {
        let suffix = self.target.strip_prefix("/in/").unwrap_or_else(|| panic!("target {:?}", self.target));
        assert!(contains(data, suffix.as_bytes()), "the path is other bytes than came: {suffix:?}");
        if !contains(&data.to_ascii_lowercase(), b"chunked") {
            assert!(contains(data, &self.body), "the body is other bytes than came");
        }
        assert_eq!(self.all("hooklatch-verified"), [b"false"], "nobody can sign, and nobody else says it is signed");
        assert_eq!(self.all("hooklatch-route"), [b"lax"]);
        assert_eq!(self.all("hooklatch-scheme").len(), 1);
        assert!(self.all("hooklatch-secret-id").is_empty());
        for once in ["host", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-request-id"] {
            assert_eq!(self.all(once).len(), 1, "{once}");
        }
        for gone in
            ["connection", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "proxy-connection", "expect"]
        {
            assert!(self.all(gone).is_empty(), "{gone}");
        }
    }

    fn all(&self, name: &str) -> Vec<&[u8]> {
        // Underscores as CGI-like handlers see them.
        let is_it = |key: &str| key.replace('_', "-") == name;
        self.headers.iter().filter(|(key, _)| is_it(key)).map(|(_, value)| value.as_slice()).collect()
    }
}

/// Everything that comes back, and whether the connection ended in order.
fn exchange(gateway: SocketAddr, data: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // The gateway may end the connection at any byte.
    let sent = stream.write_all(data).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if let Err(error) = &read {
        let is_late = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        assert!(!is_late, "the gateway neither answers nor ends the connection");
    }
    (answer, sent.is_ok() && read.is_ok())
}

fn start() -> SocketAddr {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    thread::spawn(move || {
        for stream in upstream.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    let yaml = format!(
        "server: {{ listen: 127.0.0.1:0, threads: 1, access_log: none }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n  \
         - {{ name: lax, path: /lax/*, scheme: circleci, enforce: false, secrets: [{{ env: A }}], upstream: 'http://{address}/in', \
         max_body: 64KiB, methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS] }}\n  \
         - {{ name: hook, path: /hook/*, scheme: icr, secrets: [{{ env: A }}], upstream: 'http://{address}/in' }}\n"
    );
    let config = config::parse(&yaml, Path::new(""), &OneSecret).unwrap();
    let listeners = app::bind(&config).unwrap();
    let server = listeners.addresses()[0];
    thread::spawn(move || app::run(config, listeners, Clock::system(), std::future::pending()));
    // Without this, a mistake here could leave nothing to check.
    exchange(server, b"POST /lax/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(SEEN.lock().unwrap().drain(..).count(), 1, "the upstream sees a plain request");
    server
}

fn serve(stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    loop {
        let read = read(&mut stream);
        let goes_on = matches!(read, Ok(Some(_)));
        if let Some(read) = read.transpose() {
            SEEN.lock().unwrap().push(read);
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{MARKER}\r\n\r\n");
        if !goes_on || stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request, in the narrowest reading of RFC 9112; `None` at the end of the connection between two.
fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Seen>, String> {
    let Some(request_line) = line(stream)? else { return Ok(None) };
    let text = std::str::from_utf8(&request_line).map_err(|_| format!("request line {request_line:?}"))?;
    let parts: Vec<&str> = text.split(' ').collect();
    let [_, target, "HTTP/1.1"] = parts.as_slice() else { return Err(format!("request line {text:?}")) };
    let mut seen = Seen { target: (*target).to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let line = line(stream)?.ok_or("the head has no end")?;
        if line.is_empty() {
            break;
        }
        let wrong = || format!("header line {:?}", String::from_utf8_lossy(&line));
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let name = std::str::from_utf8(&line[..colon]).map_err(|_| wrong())?;
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            return Err(wrong());
        }
        let value = line[colon + 1..].trim_ascii();
        if value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err(wrong());
        }
        seen.headers.push((name.to_ascii_lowercase(), value.to_vec()));
    }
    let lengths = seen.all("content-length");
    let [length] = lengths.as_slice() else { return Err(format!("{} lengths", lengths.len())) };
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()).ok_or("no length")?;
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body).map_err(|error| format!("half a body: {error}"))?;
    Ok(Some(seen))
}

/// The next line without its CRLF, which both bytes must be there for.
fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    match stream.read_until(b'\n', &mut line) {
        Ok(0) | Err(_) if line.is_empty() => Ok(None),
        _ => match line.strip_suffix(b"\r\n") {
            Some(rest) if !rest.contains(&b'\r') => Ok(Some(rest.to_vec())),
            _ => Err(format!("a line with another end than CRLF: {:?}", String::from_utf8_lossy(&line))),
        },
    }
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    count(all, part) > 0 || part.is_empty()
}

fn count(all: &[u8], part: &[u8]) -> usize {
    if part.is_empty() { 0 } else { all.windows(part.len()).filter(|window| *window == part).count() }
}
