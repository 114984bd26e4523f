//! Deliveries as the three providers sign them, with a MAC of the tests' own, byte by byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::gateway::SECRET;

/// A request before it is bytes.
#[derive(Clone)]
pub struct Delivery {
    method: String,
    target: String,
    version: String,
    lines: Vec<Vec<u8>>,
    body: Vec<u8>,
    chunks: Option<usize>,
}

impl Delivery {
    /// Without a signature.
    pub fn unsigned(body: impl AsRef<[u8]>) -> Self {
        Self {
            method: "POST".to_owned(),
            target: "/hook".to_owned(),
            version: "HTTP/1.1".to_owned(),
            lines: vec![b"Host: gateway.example".to_vec()],
            body: body.as_ref().to_vec(),
            chunks: None,
        }
    }

    /// Signed as CircleCI does it.
    pub fn circleci(body: impl AsRef<[u8]>) -> Self {
        Self::circleci_with(SECRET, body)
    }

    pub fn circleci_with(secret: &str, body: impl AsRef<[u8]>) -> Self {
        let signature = format!("v1={}", sha256(secret, body.as_ref()));
        Self::unsigned(body).header("circleci-signature", &signature)
    }

    /// Signed as Civo does it.
    pub fn civo(body: impl AsRef<[u8]>) -> Self {
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body.as_ref());
        let signature = base16ct::lower::encode_string(&mac.finalize().into_bytes());
        Self::unsigned(body).header("X-Civo-Signature", &signature).header("X-Civo-Event", "an-event")
    }

    /// Signed as ICR does it: `payload` (a JSON object) as it is, and once more in `signedData`.
    pub fn icr(payload: &str) -> Self {
        let signed = STANDARD.encode(payload);
        let fields = payload.trim().strip_suffix('}').unwrap();
        Self::icr_signed(&signed, &format!("{fields},\"signedData\":\"{signed}\"}}"))
    }

    /// With ICR's signature over `signed`, whatever the body is.
    pub fn icr_signed(signed: &str, body: &str) -> Self {
        let signature = format!("sha256={}", sha256(SECRET, signed.as_bytes()));
        Self::unsigned(body).header("x-icr-signature-256", &signature)
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    pub fn target(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        self.line(format!("{name}: {value}"))
    }

    /// A header line as it is, without its CRLF.
    pub fn line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.push(line.as_ref().to_vec());
        self
    }

    /// Without any header called `name`.
    pub fn without(mut self, name: &str) -> Self {
        let before = self.lines.len();
        self.lines.retain(|line| !(line.to_ascii_lowercase().starts_with(format!("{name}:").as_bytes())));
        assert_ne!(self.lines.len(), before, "{name} must have been there");
        self
    }

    pub fn host(self, host: &str) -> Self {
        self.without("host").header("Host", host)
    }

    /// With another body than the one that was signed.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        assert_ne!(self.body, body.as_ref(), "the body must have been changed");
        self.body = body.as_ref().to_vec();
        self
    }

    /// With the body in chunks of `size` bytes.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunks = Some(size);
        self
    }

    /// The head as it goes out, with `Content-Length` or `Transfer-Encoding`.
    pub fn head(&self) -> Vec<u8> {
        let framing = match self.chunks {
            Some(_) => "Transfer-Encoding: chunked".to_owned(),
            None => format!("Content-Length: {}", self.body.len()),
        };
        self.head_with(&[framing.as_bytes()])
    }

    /// The head with these lines at its end instead of what frames the body.
    pub fn head_with(&self, framing: &[&[u8]]) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for line in self.lines.iter().map(Vec::as_slice).chain(framing.iter().copied()) {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The whole as it goes out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        match self.chunks {
            None => bytes.extend_from_slice(&self.body),
            Some(size) => {
                for chunk in self.body.chunks(size) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

/// HMAC-SHA256 in lower-case hex.
pub fn sha256(secret: &str, content: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(content);
    base16ct::lower::encode_string(&mac.finalize().into_bytes())
}
