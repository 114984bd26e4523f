//! Senders: those that sign, those that do not, and those that mean harm. Each tells what became of every number that it
//! sent; what the gateway answers is checked at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Alarm, Random, Shared};
use crate::support::gateway::SECRET;
use crate::support::http::ANSWER;
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
    stream: Option<BufReader<TcpStream>>,
}

/// The status of an answer, and the gateway's reason if it is not the upstream's.
pub type Told = (u16, Option<&'static str>);

/// An answer.
struct Answer {
    status: u16,
    reason: Option<String>,
    is_whole: bool,
}

impl Client {
    fn new(gateway: SocketAddr) -> Self {
        Self { gateway, stream: None }
    }

    /// Sends a request and reads its answer; an error if the connection ended before the answer's head did.
    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(self.gateway)?),
        };
        // A refusal may come, and the connection end, before all has been sent.
        let sent = stream.get_mut().write_all(request);
        let (answer, stays) = receive(&mut stream)?;
        if stays && sent.is_ok() && answer.is_whole {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn connect(gateway: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&gateway, ANSWER)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// An answer, and whether the connection stays open.
fn receive(stream: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let (mut status, mut length, mut chunked, mut stays) = (0, None, false, true);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        if status == 0 {
            status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        } else if line.is_empty() {
            break;
        } else if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok(),
                "transfer-encoding" => chunked = true,
                "connection" => stays = !value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }
    let mut body = Vec::new();
    let is_whole = match (chunked, length) {
        _ if status == 204 => true,
        (true, _) => {
            // The only chunked answer here ends so.
            while !body.ends_with(b"0\r\n\r\n") && stream.read_until(b'\n', &mut body).is_ok_and(|read| read > 0) {}
            body.ends_with(b"0\r\n\r\n")
        }
        (false, length) => {
            let length: usize = length.unwrap_or(0);
            stream.take(length as u64).read_to_end(&mut body).is_ok() && body.len() == length
        }
    };
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let reason = problem.and_then(|problem| Some(problem.get("reason")?.as_str()?.to_owned()));
    Ok((Answer { status, reason, is_whole }, stays))
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
        let answer = client.exchange(&request).unwrap_or_else(|error| panic!("{route}: no answer: {error}"));
        let told = (answer.status, answer.reason.as_deref());
        assert!(answers.contains(&told), "{route}: {told:?}");
        let fate = match answer.reason {
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
        let answer = client.exchange(&delivery.bytes()).unwrap_or_else(|error| panic!("{reason}: no answer: {error}"));
        assert_eq!((answer.status, answer.reason.as_deref()), (status, Some(reason)));
        sent.push(Sent { route, number, fate: Fate::Refused(reason.to_owned()) });
    }
    sent
}

/// Ties up, floods and breaks off. What it gets for it is nobody's promise, but the upstream sees none of it that is not
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
