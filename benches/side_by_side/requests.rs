//! The requests that are sent.

use std::ops::Range;
use std::time::Duration;

use hooklatch::schemes::{self, SchemeOptions, Secret};

use crate::load::find;
use crate::peers::{PATH, SECRET};

/// Deliveries that are signed for each second of a slice: more than any gateway takes.
const SIGNED_A_SECOND: f64 = 70_000.0;

/// A CircleCI delivery with a body of this many bytes.
pub fn signed(size: usize) -> Vec<u8> {
    numbered(size, 1..2).remove(0)
}

/// The same with these lines in its head.
pub fn signed_with(size: usize, lines: &str) -> Vec<u8> {
    let mut request = signed(size);
    let first = request.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    request.splice(first..first, lines.bytes());
    request
}

/// The same with this many field lines: those that it needs, and others.
pub fn signed_with_lines(size: usize, lines: usize) -> Vec<u8> {
    let request = signed(size);
    let end = find(&request, b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let is_needed = |line: &&str| !["User-Agent: ", "Accept"].iter().any(|other| line.starts_with(other));
    let mut kept: Vec<String> = head.split("\r\n").filter(is_needed).map(str::to_owned).collect();
    // The first line is that of the request.
    let more = (lines + 1).saturating_sub(kept.len());
    kept.extend((0..more).map(|line| format!("X-Field-{line}: what a provider adds")));
    [kept.join("\r\n").as_bytes(), &request[end..]].concat()
}

/// CircleCI deliveries with bodies of this many bytes, whose ids are these numbers.
pub fn numbered(size: usize, numbers: Range<usize>) -> Vec<Vec<u8>> {
    let secret = Secret::from(SECRET.as_bytes().to_vec());
    let verifier = schemes::find("circleci").unwrap().compile(&SchemeOptions::default(), &[secret]).unwrap();
    let sign = |number| {
        let before = format!(r#"{{"type":"workflow-completed","id":"{number}","filler":""#);
        let filler = "x".repeat(size - before.len() - 2);
        let body = [&before, &filler, r#""}"#].concat().into_bytes();
        let (_, value) = verifier.sign_body(0, &body, Duration::ZERO).unwrap().remove(0);
        request(PATH, Some(value.to_str().unwrap().trim_start_matches("v1=")), &body)
    };
    numbers.map(sign).collect()
}

/// Deliveries with bodies of 3 KB for a slice of this length, whose ids are the next numbers after those used.
pub fn never_used(slice: Duration, used: &mut usize) -> Vec<Vec<u8>> {
    let first = *used;
    *used += (SIGNED_A_SECOND * slice.as_secs_f64()) as usize;
    numbered(3 * 1024, first..*used)
}

/// The same with a body of 3 KB to any path, with any digest or none.
pub fn refused(path: &str, digest: Option<&str>) -> Vec<u8> {
    request(path, digest, &[b'x'; 3 * 1024])
}

fn request(path: &str, digest: Option<&str>, body: &[u8]) -> Vec<u8> {
    let signature = digest.map(|digest| format!("circleci-signature: v1={digest}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: CircleCI-Webhook/1.0\r\n\
         Content-Type: application/json\r\ncircleci-event-type: workflow-completed\r\nAccept: */*\r\n\
         Accept-Encoding: gzip\r\n{signature}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
