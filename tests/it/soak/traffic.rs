//! Senders: those that sign, those that do not, and those that mean harm. Each tells what became of every number that it
//! sent; what the gateway answers is checked at once.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Alarm, Random, Shared};
use crate::support::gateway::SECRET;
use crate::support::http::{ANSWER, Connection};
use crate::support::sender::Delivery;

/// What became of a delivery, as its sender knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The upstream answered, to the gateway's knowledge.
    Accepted,
    /// The gateway refused it, with this reason: the upstream has not seen it.
    Refused(String),
    /// The upstream gave no answer; this is the reason.
    Lost(String),
    /// Broken off: the upstream has not seen it, whatever the gateway makes of it.
    Broken,
    /// The sender did not wait.
    Unknown,
}

/// A delivery that was sent.
pub struct Sent {
    /// Where it went, as the gateway counts it.
    pub route: &'static str,
    pub number: u64,
    pub fate: Fate,
}

/// A connection to the gateway that is made anew when it has ended.
struct Client {
    gateway: SocketAddr,
    connection: Option<Connection>,
}

/// The status of an answer, and the gateway's reason if it is not the upstream's.
pub type Told = (u16, Option<&'static str>);

impl Client {
    fn new(gateway: SocketAddr) -> Self {
        Self { gateway, connection: None }
    }

    /// Sends a request and reads its answer: the status, and the gateway's reason if it is not the upstream's.
    fn exchange(&mut self, request: &[u8]) -> (u16, Option<String>) {
        let mut connection = self.connection.take().unwrap_or_else(|| Connection::open(self.gateway));
        // A refusal may come, and the connection end, before all has been sent.
        let sent = connection.try_write(request);
        let answer = connection.receive_head();
        let body = connection.receive_body(&answer);
        let problem: Option<Value> = body.as_ref().ok().and_then(|body| serde_json::from_slice(body).ok());
        if sent.is_ok() && body.is_ok() && answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        (answer.status, problem.and_then(|problem| Some(problem["reason"].as_str()?.to_owned())))
    }
}

fn connect(gateway: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&gateway, ANSWER)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// A body with its number, and some more.
fn body(number: u64, random: &mut Random) -> String {
    let length = if random.one_in(20) { random.below(20_000) } else { random.below(300) };
    format!("{{\"number\":{number},\"filling\":\"{}\"}}", "x".repeat(usize::try_from(length).unwrap()))
}

fn signed(route: &str, number: u64, secret: &str, random: &mut Random) -> Delivery {
    let delivery = match route {
        "icr" => Delivery::icr(&body(number, random)),
        _ => Delivery::circleci_with(secret, body(number, random)),
    };
    let delivery = delivery.target(&format!("/{route}/{number}"));
    if random.one_in(4) { delivery.chunked(1 + usize::try_from(random.below(4000)).unwrap()) } else { delivery }
}

/// Sends deliveries as a provider does; `answers` are those that the route may give, with their reasons.
pub fn provider(shared: &Shared, route: &'static str, answers: &[Told], mut random: Random) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut client = Client::new(shared.gateway);
    let _alarm = Alarm(shared);
    while shared.goes_on() {
        let number = shared.number();
        let secret = if route == "good" { shared.good_secret() } else { SECRET.to_owned() };
        let request = signed(route, number, &secret, &mut random).bytes();
        let (status, reason) = client.exchange(&request);
        assert!(answers.contains(&(status, reason.as_deref())), "{route}: {status} {reason:?}");
        let fate = match reason {
            None => Fate::Accepted,
            Some(reason) if reason.starts_with("upstream_") => Fate::Lost(reason),
            Some(reason) => Fate::Refused(reason),
        };
        sent.push(Sent { route, number, fate });
    }
    sent
}

/// Sends what must be refused, and checks with which words.
pub fn impostor(shared: &Shared, mut random: Random) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut client = Client::new(shared.gateway);
    let _alarm = Alarm(shared);
    while shared.goes_on() {
        let number = shared.number();
        let target = format!("/steady/{number}");
        let body = body(number, &mut random);
        let right = Delivery::circleci(&body).target(&target);
        let unsigned = Delivery::unsigned(&body).target(&target);
        let (route, delivery, status, reason) = match random.below(12) {
            0 => ("steady", unsigned, 401, "missing_signature"),
            1 => ("steady", unsigned.header("circleci-signature", "v2=00"), 401, "malformed_signature"),
            2 => ("steady", right.header("circleci-signature", "v1=00"), 401, "ambiguous_signature"),
            3 => ("steady", right.body(format!("{body} ")), 401, "signature_mismatch"),
            4 => {
                let another = Delivery::circleci_with("another secret", &body).target(&target);
                ("steady", another, 401, "signature_mismatch")
            }
            5 => ("none", right.target(&format!("/nowhere/{number}")), 404, "no_route"),
            6 => ("steady", right.method("DELETE"), 405, "method_not_allowed"),
            7 => ("steady", right.body(vec![b'x'; 70_000]), 413, "body_too_large"),
            8 => ("steady", right.body(vec![b'x'; 70_000]).chunked(1000), 413, "body_too_large"),
            9 => ("none", right.header("Host", "another"), 400, "bad_request"),
            10 => ("none", right.header("Transfer-Encoding", "chunked"), 400, "bad_request"),
            _ => {
                // What is beside the signed payload differs from it.
                let payload = STANDARD.encode(&body);
                let beside = format!("{{\"number\":{},\"signedData\":\"{payload}\"}}", number + 1);
                let icr = Delivery::icr_signed(&payload, &beside).target(&format!("/icr/{number}"));
                ("icr", icr, 401, "payload_mismatch")
            }
        };
        assert_eq!(client.exchange(&delivery.bytes()), (status, Some(reason.to_owned())));
        sent.push(Sent { route, number, fate: Fate::Refused(reason.to_owned()) });
    }
    sent
}

/// Holds connections, floods them and aborts them. Its responses are not checked, but the upstream sees none of it that is not
/// signed and whole, and the gateway ends it.
pub fn vandal(shared: &Shared, mut random: Random) -> Vec<Sent> {
    let mut sent = Vec::new();
    let _alarm = Alarm(shared);
    while shared.goes_on() {
        let number = shared.number();
        let body = body(number, &mut random);
        let target = format!("/vandalised/{number}");
        let unsigned = Delivery::unsigned(&body).target(&target).bytes();
        let right = Delivery::circleci(&body).target(&target);
        let Ok(mut stream) = connect(shared.gateway) else { continue };
        // The gateway may end it at any moment: no error is one here.
        let fate = match random.below(10) {
            // A head that never ends; the gateway ends it.
            0 => {
                let _ = stream.write_all(b"POST /vandalised/0 HTTP/1.1\r\nHost: a\r\nX: ");
                let _ = stream.read_to_end(&mut Vec::new());
                Fate::Broken
            }
            // A body that never ends.
            1 => {
                let _ = stream.write_all(&right.body(vec![b'x'; 60_000]).head());
                let _ = stream.write_all(&[b'x'; 30_000]);
                let _ = stream.read_to_end(&mut Vec::new());
                Fate::Broken
            }
            2 => {
                let noise: Vec<u8> = (0..random.below(5000)).flat_map(|_| random.next().to_le_bytes()).collect();
                let _ = stream.write_all(&noise);
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
                Fate::Broken
            }
            3 => {
                let _ = stream.write_all(b"POST /vandalised/0 HTTP/1.1\r\nHost: a\r\n");
                let _ = stream.write_all(&b"X-Filling: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(3000));
                Fate::Broken
            }
            // Many requests, and not a single answer read.
            4 => {
                let _ = stream.write_all(&unsigned.repeat(20));
                Fate::Broken
            }
            5 => {
                reset(&mut stream, half(&unsigned));
                Fate::Broken
            }
            6 => {
                reset(&mut stream, half(&right.bytes()));
                Fate::Broken
            }
            7 => {
                reset(&mut stream, &right.bytes());
                Fate::Unknown
            }
            8 => {
                let _ = stream.write_all(&right.bytes());
                let _ = stream.shutdown(Shutdown::Both);
                Fate::Unknown
            }
            // Connections for nothing.
            _ => {
                let idle: Vec<_> = (0..30).filter_map(|_| connect(shared.gateway).ok()).collect();
                let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                let _ = stream.read(&mut [0]);
                drop(idle);
                Fate::Broken
            }
        };
        sent.push(Sent { route: "vandalised", number, fate });
    }
    sent
}

fn half(bytes: &[u8]) -> &[u8] {
    bytes.split_at(bytes.len() / 2).0
}

/// Sends and closes with a reset.
fn reset(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
    let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
}
