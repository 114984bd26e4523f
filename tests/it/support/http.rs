//! A small HTTP/1.1 client that sends exactly the bytes it is given and reads what comes back.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;
use socket2::SockRef;

use super::stream::Stream;

/// How long an answer may keep a test waiting.
pub const ANSWER: Duration = Duration::from_secs(30);

/// An answer, its body put together again.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// As it came, the empty line included.
    pub head: Vec<u8>,
    /// In order, with duplicates; names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An open connection, on which several requests may be sent.
pub struct Connection {
    stream: BufReader<Stream>,
}

impl Response {
    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every header called `name` (lower case), in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, ANSWER).unwrap();
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream.set_write_timeout(Some(ANSWER)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(Stream::Plain(stream)) }
    }

    /// By TLS, its handshake not yet done.
    pub fn open_tls(address: SocketAddr, client: Arc<ClientConfig>) -> Self {
        Self { stream: BufReader::new(Stream::connect_tls(address, client)) }
    }

    /// The stream under it.
    pub fn stream(&mut self) -> &mut Stream {
        self.stream.get_mut()
    }

    /// Writes `bytes` as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Writes `bytes` to a connection that may have ended.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next answer, or `None` if the connection ends instead.
    pub fn try_receive(&mut self) -> Option<Response> {
        let more = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        more.then(|| self.receive())
    }

    /// Shuts the sending side down; answers can still be read.
    pub fn finish(&mut self) {
        self.stream.get_mut().tcp().shutdown(Shutdown::Write).unwrap();
    }

    /// Reads the next final answer; interim ones (1xx) are passed over.
    pub fn receive(&mut self) -> Response {
        loop {
            let mut response = self.receive_head();
            if !(100..200).contains(&response.status) {
                response.body = self.receive_body(&response).unwrap();
                return response;
            }
        }
    }

    /// Reads the next head, of an interim answer too, and nothing of the body.
    pub fn receive_head(&mut self) -> Response {
        let mut head = Vec::new();
        let status_line = self.line(&mut head);
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line(&mut head);
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header line: {line:?}"));
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let status = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        Response { status, head, headers, body: Vec::new() }
    }

    /// Reads the next chunk of a chunked body; empty at its end.
    pub fn receive_chunk(&mut self) -> Vec<u8> {
        let size = self.line(&mut Vec::new());
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        let mut body = vec![0; size];
        self.stream.read_exact(&mut body).unwrap();
        assert_eq!(
            self.line(&mut Vec::new()),
            "",
            "a chunk (or the trailer, of which none is expected) ends in an empty line"
        );
        body
    }

    /// Everything up to the end of the connection, however it ends.
    pub fn receive_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        loop {
            match self.stream.fill_buf() {
                Ok([]) => return rest,
                Ok(bytes) => {
                    let read = bytes.len();
                    rest.extend_from_slice(bytes);
                    self.stream.consume(read);
                }
                // The latter: TLS that ends without saying so.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                    return rest;
                }
                Err(error) => panic!("the connection neither went on nor ended: {error}"),
            }
        }
    }

    /// Whether nothing has come that was not read.
    pub fn is_silent(&mut self) -> bool {
        let stream = self.stream.get_ref().tcp();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        self.stream.buffer().is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Resets the connection.
    pub fn reset(self) {
        SockRef::from(self.stream.get_ref().tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// That the connection ends here, without another byte.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.receive_rest();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// Reads until the connection is reset, which no reader can take for a regular end.
    pub fn expect_reset(&mut self) {
        let error = std::io::copy(&mut self.stream, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    /// Reads the body of an answer whose head has been read; an error if it breaks off.
    pub fn receive_body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if matches!(response.status, 204 | 304) {
            return Ok(body);
        }
        if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                let chunk = self.receive_chunk();
                if chunk.is_empty() {
                    return Ok(body);
                }
                body.extend(chunk);
            }
        }
        match response.header("content-length") {
            Some(length) => {
                body.resize(length.parse().unwrap(), 0);
                self.stream.read_exact(&mut body)?;
            }
            None => {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    /// The next line without its CRLF; `seen` gets it whole.
    fn line(&mut self, seen: &mut Vec<u8>) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        seen.extend_from_slice(&line);
        let line = String::from_utf8_lossy(&line).into_owned();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("the connection ended in a head: {line:?}")).to_owned()
    }
}

impl From<Stream> for Connection {
    fn from(stream: Stream) -> Self {
        Self { stream: BufReader::new(stream) }
    }
}

/// Sends `request` as it is on a connection of its own and reads the answer.
pub fn send(address: SocketAddr, request: &[u8]) -> Response {
    let mut connection = Connection::open(address);
    connection.write(request);
    connection.receive()
}

/// The bytes of a POST with `Host`, `Content-Length` and `headers`.
pub fn post<'a>(path: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: gateway.example\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    request
}

/// The bytes of a GET, for this machine.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}
