//! A client of the API.

use std::net::SocketAddr;

use serde_json::Value;

use super::http::{self, Connection, Response};

/// A request to the admin listener, which starts as one that is let in.
#[derive(Clone)]
pub struct Call {
    method: &'static str,
    target: String,
    lines: Vec<String>,
    body: Vec<u8>,
}

impl Call {
    pub fn get(target: &str) -> Self {
        Self::of("GET", target)
    }

    /// With a body of JSON.
    pub fn post(target: &str, body: &Value) -> Self {
        let call = Self::of("POST", target).line("Content-Type: application/json");
        Self { body: body.to_string().into_bytes(), ..call }
    }

    pub fn of(method: &'static str, target: &str) -> Self {
        Self { method, target: target.to_owned(), lines: vec!["Host: localhost".to_owned()], body: Vec::new() }
    }

    /// A further line.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Another host, or none.
    pub fn host(mut self, host: Option<&str>) -> Self {
        self.lines.retain(|line| !line.starts_with("Host:"));
        self.lines.extend(host.map(|host| format!("Host: {host}")));
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.line(&format!("Authorization: Bearer {token}"))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for line in &self.lines {
            bytes.extend_from_slice(format!("{line}\r\n").as_bytes());
        }
        if !matches!(self.method, "GET" | "HEAD") || !self.body.is_empty() {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn send(&self, admin: SocketAddr) -> Response {
        http::send(admin, &self.bytes())
    }
}

/// GETs JSON.
#[track_caller]
pub fn json(admin: SocketAddr, target: &str) -> Value {
    let response = Call::get(target).send(admin);
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")), "{response:?}");
    response.json()
}

/// Status and reason of a refusal, which must be a whole problem (RFC 9457).
#[track_caller]
pub fn problem(response: &Response) -> (u16, String) {
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let problem = response.json();
    let reason = problem["reason"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:hooklatch:problem:{reason}"));
    assert_eq!(problem["status"], response.status);
    assert!(problem["title"].is_string() && !problem["detail"].as_str().unwrap().is_empty(), "{problem}");
    (response.status, reason.to_owned())
}

/// A stream of server-sent events.
pub struct Events {
    connection: Connection,
    text: String,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Events {
    /// Opens a stream, which must be let in.
    #[track_caller]
    pub fn open(admin: SocketAddr, call: &Call) -> Self {
        Self::try_open(admin, call).unwrap_or_else(|head| panic!("{head:?}"))
    }

    /// Opens a stream; the head of the answer if it is not let in.
    pub fn try_open(admin: SocketAddr, call: &Call) -> Result<Self, Response> {
        let mut connection = Connection::open(admin);
        connection.write(&call.bytes());
        let head = connection.receive_head();
        match (head.status, head.header("content-type")) {
            (200, Some("text/event-stream")) => Ok(Self { connection, text: String::new() }),
            _ => Err(head),
        }
    }

    /// The next event; `None` at the end.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = self.connection.receive_chunk();
            if chunk.is_empty() {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The gateway ends the connection, and sends nothing before.
    #[track_caller]
    pub fn expect_end(mut self) {
        self.connection.expect_end();
    }

    /// The ids of the deliveries of the next event, which must have this name.
    #[track_caller]
    pub fn ids(&mut self, name: &str) -> Vec<String> {
        let event = self.next().expect("an event");
        assert_eq!(event.name, name, "{event:?}");
        event.deliveries().iter().map(|delivery| delivery["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Event {
    /// The deliveries of an event of one or of several.
    pub fn deliveries(&self) -> Vec<Value> {
        match self.data["deliveries"].as_array() {
            Some(several) => several.clone(),
            None => vec![self.data.clone()],
        }
    }
}

/// An event; `None` for a block without data.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data")?;
    Some(Event {
        name: field("event").unwrap().to_owned(),
        id: field("id").map(str::to_owned),
        data: serde_json::from_str(data).unwrap(),
    })
}
