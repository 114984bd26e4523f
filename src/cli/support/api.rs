//! Calls the API of a running gateway, by the client of `send`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use serde_json::Value;
use zeroize::Zeroizing;

use super::super::{Failure, failure};
use super::http::{Transport, is_it_there, next_piece, open, reachable};
use crate::config;
use crate::schemes::Secret;
use crate::upstream::pool::ResponseBody;

/// How long an answer may take, from the first byte sent to the last byte read.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is read into memory.
const MAX_ANSWER: usize = 256 << 20;

/// Which gateway to ask.
#[derive(Debug, clap::Args)]
pub struct GatewayArgs {
    /// The configuration file of the gateway, for the address and the token of its admin listener
    #[arg(short, long, value_name = "FILE", default_value = "gateway.yaml")]
    pub config: PathBuf,
    /// The URL of the admin listener, instead of a configuration
    #[arg(long, conflicts_with = "config")]
    pub url: Option<Uri>,
    /// A file with the token of the admin listener
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The API of a gateway.
#[derive(Debug)]
pub struct Api {
    /// The URL of the admin listener, without a slash at the end.
    base: String,
    token: Option<Secret>,
}

impl Api {
    /// The API that the arguments name.
    pub fn new(args: &GatewayArgs) -> Result<Self, Failure> {
        let given = args.token_file.as_deref().map(read_token).transpose()?;
        if let Some(url) = &args.url {
            if url.authority().is_none() || !matches!(url.scheme_str(), Some("http" | "https")) {
                return Err(Failure::Usage(format!(
                    "--url needs a complete URL, such as http://127.0.0.1:9797, not {url}"
                )));
            }
            return Ok(Self { base: url.to_string().trim_end_matches('/').to_owned(), token: given });
        }
        let (address, token) = match given {
            Some(token) => (config::admin_address(&args.config), Some(token)),
            None => match config::admin(&args.config) {
                Ok(admin) => (Ok(admin.listen), admin.token),
                Err(error) => (Err(error), None),
            },
        };
        let address = address.map_err(|error| failure(&args.config, error))?;
        if address.port() == 0 {
            let message = "admin.listen has port 0, so the port is unknown: name the address with --url";
            return Err(Failure::Usage(message.to_owned()));
        }
        Ok(Self { base: format!("http://{}", reachable(address)), token })
    }

    /// The URL of the admin listener, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The answer of a GET, which is JSON.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path, None)
    }

    /// The answer of a POST, which is JSON.
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.json(Method::POST, path, Some(body.unwrap_or(&Value::Object(serde_json::Map::new()))))
    }

    /// The answer of a DELETE, which may be JSON.
    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        self.bytes(Method::DELETE, path, None).map(drop)
    }

    /// The answer of a GET, whatever it is.
    pub fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.bytes(Method::GET, path, None)
    }

    fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.bytes(method, path, body)?;
        serde_json::from_slice(&answer)
            .map_err(|error| Failure::Failed(format!("the answer of {} is not the API's: {error}", self.base)))
    }

    /// The status and the body of the answer of a GET.
    pub fn ask(&self, path: &str) -> Result<(StatusCode, Vec<u8>), Failure> {
        self.exchange(Method::GET, path, None)
    }

    fn bytes(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Failure> {
        let (status, answer) = self.exchange(method, path, body)?;
        if status.is_success() { Ok(answer) } else { Err(self.refusal(status, &answer)) }
    }

    fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Vec<u8>), Failure> {
        let exchange = async {
            let response = self.open(method, path, body, &[]).await?;
            let status = response.status();
            let answer = read(response.into_body()).await?;
            Ok((status, answer))
        };
        let timed = async {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            tokio::time::timeout(TIMEOUT, exchange).await.map_err(late)?
        };
        crate::app::runtime()?.block_on(timed).map_err(|error| self.unreachable(&error))
    }

    /// Sends a request and waits for the head of the response.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        more: &[(HeaderName, &str)],
    ) -> io::Result<Response<ResponseBody>> {
        let url: Uri = format!("{}{path}", self.base).parse().map_err(io::Error::other)?;
        let host = url.authority().map(Authority::as_str).unwrap_or_default();
        let value = |text: &str| HeaderValue::from_str(text).map_err(io::Error::other);
        let mut headers = HeaderMap::from_iter([(HOST, value(host)?), (ACCEPT, HeaderValue::from_static("*/*"))]);
        if let Some(token) = &self.token {
            let mut line = Zeroizing::new(b"Bearer ".to_vec());
            line.extend_from_slice(token.expose());
            let mut line = HeaderValue::from_bytes(&line).map_err(io::Error::other)?;
            line.set_sensitive(true);
            headers.insert(AUTHORIZATION, line);
        }
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        if method != Method::GET {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        for (name, text) in more {
            headers.insert(name, value(text)?);
        }
        open(&url, Transport::default(), (method, headers), body, TIMEOUT).await
    }

    /// The failure of a gateway that does not answer.
    pub fn unreachable(&self, error: &io::Error) -> Failure {
        Failure::Failed(format!("no answer from {}: {error}{}", self.base, is_it_there(error)))
    }

    /// The failure of an answer that is an error, by RFC 9457 if it is the API's.
    pub fn refusal(&self, status: StatusCode, answer: &[u8]) -> Failure {
        let problem: Value = serde_json::from_slice(answer).unwrap_or_default();
        let text = |key: &str| problem.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let said = match (text("title"), text("detail")) {
            (Some(title), Some(detail)) if title != detail => format!("{title}: {detail}"),
            (Some(text), _) | (None, Some(text)) => text.to_owned(),
            (None, None) => format!("{} answered {status}", self.base),
        };
        let said = crate::text::plain(&said);
        match status {
            StatusCode::BAD_REQUEST => Failure::Usage(said),
            StatusCode::UNAUTHORIZED if self.token.is_none() => Failure::Failed(format!(
                "{said}; name the file with the token of the admin listener: --token-file FILE"
            )),
            _ => Failure::Failed(said),
        }
    }
}

/// Reads a body to its end.
pub async fn read(mut body: ResponseBody) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(data) = next_piece(&mut body).await? {
        if bytes.len() + data.len() > MAX_ANSWER {
            return Err(io::Error::other("the answer is too long"));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The token in a file, without the line ends after it.
fn read_token(path: &Path) -> Result<Secret, Failure> {
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        Failure::Failed(format!("cannot read {}: {error}{}", path.display(), config::next_step(&error)))
    })?;
    let token = bytes.trim_ascii_end();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Failure::Usage(format!("{} has no token: it must be of visible ASCII characters", path.display())));
    }
    Ok(token.to_vec().into())
}

/// A path of the API with a query: the values are percent-encoded, and those that are `None` left out.
pub fn with_query<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut target = path.to_owned();
    let mut separator = '?';
    for (key, value) in pairs {
        let Some(value) = value else { continue };
        target.push(separator);
        target.push_str(key);
        target.push('=');
        target.push_str(&encoded(value));
        separator = '&';
    }
    target
}

/// A text percent-encoded as one segment of a path, or as a value of a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => encoded.push(char::from(byte)),
            // A segment of dots alone would be another path.
            b'.' if !text.bytes().all(|byte| byte == b'.') => encoded.push('.'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(token: Option<&str>) -> Api {
        Api { base: "http://h".to_owned(), token: token.map(|token| token.as_bytes().to_vec().into()) }
    }

    #[test]
    fn what_people_type_stays_one_value() {
        let target = with_query("/a", [("q", Some("a:\"b c\"&é")), ("limit", None), ("before", Some("x"))]);
        assert_eq!(target, "/a?q=a%3A%22b%20c%22%26%C3%A9&before=x");
        assert_eq!(encoded("../.."), "..%2F..");
        assert_eq!(encoded(".."), "%2E%2E");
    }

    #[test]
    fn a_problem_is_told_in_its_words_and_without_control_characters() {
        let problem = br#"{"type":"urn:x","title":"Not found","status":404,"detail":"no \u001b[2J delivery"}"#;
        let Failure::Failed(said) = api(None).refusal(StatusCode::NOT_FOUND, problem) else { panic!("failed") };
        assert_eq!(said, r"Not found: no \u{1b}[2J delivery");
        assert!(matches!(api(None).refusal(StatusCode::BAD_REQUEST, problem), Failure::Usage(_)));
        let Failure::Failed(said) = api(None).refusal(StatusCode::UNAUTHORIZED, b"") else { panic!("failed") };
        assert!(said.contains("--token-file"), "{said}");
    }

    #[test]
    fn the_token_is_in_no_debug_output() {
        assert!(!format!("{:?}", api(Some("canary"))).contains("canary"));
    }
}
