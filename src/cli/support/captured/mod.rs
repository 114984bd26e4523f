//! Reads a captured request from a file, in whatever form people have it, so that it can be sent again.
//!
//! [`read`] finds out the format and hands the file to its reader: [`raw`] HTTP, [`har`], [`ngrok`], [`webhook_site`],
//! [`hookdeck`], [`curl_command`] with the forms of [`multipart`], [`curl_verbose`], [`curl_trace`]. Each makes a request of the module [`draft`], which
//! becomes a [`Captured`]. Of several requests in a file, [`pick`] takes one. [`fields`] reads headers in JSON, [`shell`]
//! splits a command into words.
//!
//! Some formats do not keep the bytes of a body. What is known to be missing, or cannot be known, is [`Lost`].
//!
//! No file can make a reader panic. Readers work in time and memory that grow with the file, of at most [`MAX_FILE`].

pub mod curl_command;
pub mod curl_trace;
pub mod curl_verbose;
pub mod draft;
pub mod fields;
pub mod har;
pub mod hookdeck;
pub mod multipart;
pub mod ngrok;
pub mod pick;
pub mod raw;
pub mod shell;
#[cfg(test)]
mod tests;
pub mod webhook_site;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use http::request::Parts;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::loopback::Request;
use crate::config::next_step;

/// The longest file that is read, in bytes.
pub const MAX_FILE: u64 = 64 << 20;

/// What is said of JSON of no known form.
const UNKNOWN_JSON: &str = "is JSON, but no HAR file, and not of ngrok's agent, webhook.site or Hookdeck; if it is the body \
     alone, its headers are needed, too: name the file that has them with --request, and this one with --body";

/// The content of a file.
pub struct Captured {
    /// What the file was taken for.
    pub format: Format,
    pub request: Request,
    /// The head, unless it is not HTTP.
    pub parts: Option<Parts>,
    /// What was tolerated or added, for the user to read.
    pub notes: Vec<String>,
    /// Which part of the body is missing, if the file ends too early.
    pub cut_short: Option<String>,
    /// What the file does not have of the body, although it is complete.
    pub lost: Option<Lost>,
}

/// What a file does not have of the body that was sent, with the reason in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lost {
    /// All of it.
    Body(String),
    /// Some of its bytes may differ from those that were sent.
    Bytes(String),
}

/// What stands beside the file.
pub struct Context<'a> {
    /// The method for a file that does not say it.
    pub method: &'a str,
    /// The path for a file that does not say it, or that says another service's.
    pub path: &'a str,
    /// The host that the route is bound to, if it is.
    pub host: Option<&'a str>,
    /// Which request of the file is wanted, from 1.
    pub entry: Option<usize>,
    /// The body, if it is kept in a file of its own.
    pub body: Option<Vec<u8>>,
    /// Reads a file that a curl command names.
    pub open: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
}

/// The formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    RawHttp,
    Har,
    Ngrok,
    WebhookSite,
    Hookdeck,
    CurlCommand,
    CurlVerbose,
    CurlTrace,
    CurlTraceAscii,
}

impl Format {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RawHttp => "raw HTTP",
            Self::Har => "a HAR file",
            Self::Ngrok => "JSON of ngrok's agent",
            Self::WebhookSite => "JSON of webhook.site",
            Self::Hookdeck => "JSON of Hookdeck",
            Self::CurlCommand => "a curl command",
            Self::CurlVerbose => "the output of curl -v",
            Self::CurlTrace => "the output of curl --trace",
            Self::CurlTraceAscii => "the output of curl --trace-ascii",
        }
    }
}

/// Reads a captured request.
///
/// # Errors
/// Why there is no request in the file, in words that follow the file's name. They have none of its values.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Captured, String> {
    let converted = utf16(file).transpose()?;
    let file = converted.as_ref().map_or(file, String::as_bytes);
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let format = detect(file)?;
    let mut draft = match format {
        Format::RawHttp => pick::only_one(context.entry).and_then(|()| raw::read(file, context)),
        Format::Har => har::read(file, context),
        Format::Ngrok => ngrok::read(file, context),
        Format::WebhookSite => webhook_site::read(file, context),
        Format::Hookdeck => hookdeck::read(file, context),
        Format::CurlCommand => pick::only_one(context.entry).and_then(|()| curl_command::read(file, context)),
        Format::CurlVerbose => curl_verbose::read(file, context),
        Format::CurlTrace => curl_trace::read_hex(file, context),
        Format::CurlTraceAscii => curl_trace::read_ascii(file, context),
    }?;
    if converted.is_some() {
        draft.notes.push("the file is UTF-16, as > of Windows PowerShell writes it".to_owned());
        if !draft.body.is_ascii() || draft.body.contains(&b'\n') {
            let why = "what wrote the file as UTF-16 may have changed line ends, and characters that are not ASCII";
            draft.lost.get_or_insert(Lost::Bytes(why.to_owned()));
        }
    }
    draft.captured(format, context)
}

/// The text of a file that begins with the mark of UTF-16, in either order of bytes.
fn utf16(file: &[u8]) -> Option<Result<String, String>> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match file {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return None,
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
    let wrong = || "begins as UTF-16, but is none".to_owned();
    Some(text.ok().filter(|_| odd.is_empty()).ok_or_else(wrong))
}

/// Reads a file of at most [`MAX_FILE`] bytes; `-` is standard input.
///
/// # Errors
/// Why it cannot be read, in a sentence that names it.
pub fn load(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().take(MAX_FILE + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)),
    };
    match read {
        Ok(count) if count as u64 > MAX_FILE => Err(format!("{} has more than {} MiB", path.display(), MAX_FILE >> 20)),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("cannot read {}: {error}{}", path.display(), next_step(&error))),
    }
}

/// The keys at the top of a JSON file by which formats are told apart.
#[derive(Deserialize)]
struct Keys {
    log: Option<Box<RawValue>>,
    requests: Option<IgnoredAny>,
    request: Option<Box<RawValue>>,
    token_id: Option<IgnoredAny>,
    models: Option<IgnoredAny>,
    data: Option<Box<RawValue>>,
    per_page: Option<IgnoredAny>,
    team_id: Option<IgnoredAny>,
    source_id: Option<IgnoredAny>,
}

/// The keys below those, without which the others are in a body of JSON, too.
#[derive(Deserialize)]
struct Inner {
    entries: Option<IgnoredAny>,
    raw: Option<IgnoredAny>,
    headers: Option<IgnoredAny>,
}

fn inner(value: &Option<Box<RawValue>>) -> Inner {
    let inner = value.as_ref().and_then(|value| serde_json::from_str(value.get()).ok());
    inner.unwrap_or(Inner { entries: None, raw: None, headers: None })
}

/// Which format a file has.
fn detect(file: &[u8]) -> Result<Format, String> {
    let mut lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines.next() else { return Err("is empty".to_owned()) };
    if raw::is_request_line(first) {
        return Ok(Format::RawHttp);
    }
    if first.starts_with(b"{") || first.starts_with(b"[") {
        return detect_json(file);
    }
    if curl_command::is_command(first) {
        return Ok(Format::CurlCommand);
    }
    if let Some(format) = curl_trace::detect(file) {
        return Ok(format);
    }
    if curl_verbose::is_verbose(file) {
        return Ok(Format::CurlVerbose);
    }
    if raw::is_header_line(first) {
        return Ok(Format::RawHttp);
    }
    Err("is not a request in a form that is known: raw HTTP (POST /path HTTP/1.1, headers, an empty line, the body), a \
         HAR file, JSON of ngrok's agent, webhook.site or Hookdeck, a curl command, or the output of curl -v, --trace or \
         --trace-ascii"
        .to_owned())
}

fn detect_json(file: &[u8]) -> Result<Format, String> {
    let keys = match file.trim_ascii_start().starts_with(b"[") {
        true => serde_json::from_slice::<Vec<Keys>>(file),
        false => serde_json::from_slice(file).map(|keys| vec![keys]),
    };
    let keys = keys.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => UNKNOWN_JSON.to_owned(),
        _ => format!("begins as JSON, but is none: line {}, column {}", error.line(), error.column()),
    })?;
    let Some(keys) = keys.first() else { return Err("is an empty list".to_owned()) };
    match keys {
        _ if inner(&keys.log).entries.is_some() => Ok(Format::Har),
        Keys { models: Some(_), .. } => Ok(Format::Hookdeck),
        Keys { token_id: Some(_), .. } | Keys { per_page: Some(_), data: Some(_), .. } => Ok(Format::WebhookSite),
        _ if inner(&keys.data).headers.is_some() => Ok(Format::Hookdeck),
        // An export without `data`: the reader says how to get it.
        Keys { team_id: Some(_), source_id: Some(_), .. } => Ok(Format::Hookdeck),
        Keys { requests: Some(_), .. } => Ok(Format::Ngrok),
        _ if inner(&keys.request).raw.is_some() => Ok(Format::Ngrok),
        _ => Err(UNKNOWN_JSON.to_owned()),
    }
}

/// The requests of a JSON file: a list of them, a page with a list, or one.
///
/// # Errors
/// The place of what is missing or of another type. An error has no value of the file: it may be a secret.
fn requests<P, T>(file: &[u8], format: Format, of_page: impl Fn(P) -> Vec<T>) -> Result<Vec<T>, String>
where
    P: DeserializeOwned,
    T: DeserializeOwned,
{
    let list = match file.trim_ascii_start().starts_with(b"[") {
        true => serde_json::from_slice(file),
        false => match serde_json::from_slice(file).map(of_page) {
            Ok(list) => Ok(list),
            // What one of the two lacks altogether is missed at the end of the file; what is wrong in the other, before.
            Err(page) => serde_json::from_slice(file)
                .map(|one| vec![one])
                .map_err(|one| if (one.line(), one.column()) < (page.line(), page.column()) { one } else { page }),
        },
    };
    list.map_err(|error| {
        let (name, line, column) = (format.name(), error.line(), error.column());
        format!("was taken for {name}, and something in it is missing or of another type: line {line}, column {column}")
    })
}
