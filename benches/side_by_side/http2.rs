//! HTTP/2 (RFC 9113) as far as a sender needs it that has one small request at a time on a connection.

use std::io::{self, ErrorKind, Read, Write};

use super::ready;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What each end may send at first, of a body and of all bodies (section 6.9.2).
const WINDOW: usize = 65_535;
/// What the gateway may send in all: as much as can be said.
const ENDLESS: u32 = (1 << 31) - 1 - WINDOW as u32;
/// The largest frame (section 4.2).
const FRAME: usize = 16_384;
/// Bytes of a frame before its payload.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The state of a connection.
pub struct Http2 {
    /// The next stream's number.
    stream: u32,
    /// What may still be sent of bodies.
    window: usize,
    /// What is left to write.
    out: Vec<u8>,
    /// What has arrived and is no whole frame.
    arrived: Vec<u8>,
}

impl Http2 {
    pub fn new() -> Self {
        let mut out = PREFACE.to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &ENDLESS.to_be_bytes());
        Self { stream: 1, window: WINDOW, out, arrived: Vec::new() }
    }

    /// Begins a request, which is given as HTTP/1.1.
    pub fn begin(&mut self, request: &[u8]) -> io::Result<()> {
        let end = request.windows(4).position(|window| window == b"\r\n\r\n").ok_or(ErrorKind::InvalidInput)?;
        let body = &request[end + 4..];
        if body.len() > self.window.min(FRAME) {
            return Err(io::Error::other("the gateway's window for bodies is used up"));
        }
        let block = header_block(&String::from_utf8_lossy(&request[..end]));
        frame(&mut self.out, HEADERS, END_HEADERS, self.stream, &block);
        frame(&mut self.out, DATA, END_STREAM, self.stream, body);
        self.window -= body.len();
        self.stream += 2;
        Ok(())
    }

    /// Writes and reads what is possible. Whether the response has come to its end, which must be a 200.
    pub fn step(&mut self, wire: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<bool> {
        if !self.out.is_empty()
            && let Some(written) = ready(wire.write(&self.out))?
        {
            self.out.drain(..written);
        }
        match ready(wire.read(buffer))? {
            None => return Ok(false),
            Some(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the gateway closed without a response")),
            Some(read) => self.arrived.extend_from_slice(&buffer[..read]),
        }
        let mut is_complete = false;
        while let Some(head) = self.arrived.first_chunk::<HEAD>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let [kind, flags] = [head[3], head[4]];
            let Some(payload) = self.arrived.get(HEAD..HEAD + length) else { break };
            match kind {
                // The first field is the status, and 200 is number 8 of the static table (RFC 7541 appendix A).
                HEADERS if payload.first() != Some(&0x88) => {
                    return Err(io::Error::other(format!("expected 200, got: {payload:?}")));
                }
                DATA | HEADERS => is_complete |= flags & END_STREAM != 0,
                SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
                WINDOW_UPDATE if head[5..] == [0; 4] => {
                    let more = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                    self.window += more as usize;
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Err(io::Error::other(format!("a frame of type {kind}: {payload:?}"))),
            }
            self.arrived.drain(..HEAD + length);
        }
        Ok(is_complete)
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The fields of a head of HTTP/1.1 in HPACK (RFC 7541), none of which the gateway has to remember.
fn header_block(head: &str) -> Vec<u8> {
    let mut lines = head.split("\r\n");
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    // `:method: POST` and `:scheme: https` of the static table, then `:path` by its name.
    let mut block = vec![0x83, 0x87, 0x04];
    text(&mut block, target);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name.to_ascii_lowercase().as_str() {
            "connection" => continue,
            "host" => block.push(0x01),
            name => {
                block.push(0);
                text(&mut block, name);
            }
        }
        text(&mut block, value);
    }
    block
}

/// A text with its length, which one byte can hold.
fn text(block: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "{text} is too long");
    block.push(text.len() as u8);
    block.extend_from_slice(text.as_bytes());
}
