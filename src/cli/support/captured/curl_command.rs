//! A curl command: what browsers and pages of providers call "copy as cURL", for bash and for Windows' command line.
//!
//! The body is what curl would send (<https://curl.se/docs/manpage.html>): `-d @FILE` drops the newlines of the file, and
//! several `-d` are joined with `&`. A `printf` before it, as hooklatch writes it, gives the body of `@-`. Of curl's own
//! headers only `Content-Type` is added, on which verdicts can depend.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::draft::{Draft, split_url};
use super::multipart::{self, Form};
use super::shell::{self, Words};
use super::{Context, Lost};
use crate::text::plain;

/// Options with a value that do not change the request, or only how it gets to its place.
const IGNORED: [&str; 23] = [
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--retry-delay",
    "-x",
    "--proxy",
    "--cacert",
    "-E",
    "--cert",
    "--key",
    "--resolve",
    "--connect-to",
    "-w",
    "--write-out",
    "--limit-rate",
    "--interface",
    "-D",
    "--dump-header",
    "--trace",
    "--trace-ascii",
];

/// Options without a value that do not change the request. One-letter ones are in [`FLAGS`].
const BARE: [&str; 19] = [
    "--compressed",
    "--location",
    "--insecure",
    "--silent",
    "--show-error",
    "--verbose",
    "--include",
    "--fail",
    "--fail-with-body",
    "--http1.0",
    "--http1.1",
    "--http2",
    "--http2-prior-knowledge",
    "--globoff",
    "--path-as-is",
    "--no-buffer",
    "--tlsv1.2",
    "--progress-bar",
    "--ipv4",
];

/// One-letter options without a value that do not change the request.
const FLAGS: &str = "kLsSvifgN#460123";

/// What `--data-urlencode` leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The error for another command.
const NOT_CURL: &str = "begins like a curl command, but is not one";

/// Where the values that begin with `@` come from.
struct Files<'a> {
    /// What a `printf` before the command writes into it.
    input: Option<Vec<u8>>,
    context: &'a Context<'a>,
}

/// What a command says of its request.
#[derive(Default)]
struct Command {
    method: Option<String>,
    url: Option<String>,
    target: Option<String>,
    headers: Vec<(String, Option<String>)>,
    data: Option<Vec<u8>>,
    json: bool,
    in_query: bool,
    head: bool,
    upload: bool,
    form: Form,
}

/// Whether a line begins a curl command, also behind a prompt, or the `printf` that hooklatch puts before one.
pub fn is_command(line: &[u8]) -> bool {
    let line = without_prompt(line);
    [&b"curl"[..], b"curl.exe", b"printf"].iter().any(|name| {
        let next = line.strip_prefix(*name).map(|rest| rest.first().copied());
        matches!(next, Some(Some(b' ' | b'\t' | b'\\' | b'^')))
    })
}

fn without_prompt(line: &[u8]) -> &[u8] {
    let prompts: [&[u8]; 4] = [b"$ ", b"% ", b"# ", b"> "];
    prompts.iter().find_map(|prompt| line.strip_prefix(*prompt)).unwrap_or(line).trim_ascii_start()
}

/// Reads a command.
///
/// # Errors
/// What in the command is not known, or cannot be known.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let text = std::str::from_utf8(without_prompt(file.trim_ascii_start()));
    let text = text.map_err(|_| "is a curl command with bytes that are not UTF-8".to_owned())?;
    let first_word = text.split_ascii_whitespace().nth(1).unwrap_or_default();
    let of_windows = first_word.starts_with("^\"")
        || text.lines().any(|line| line.ends_with(" ^"))
        || (first_word.starts_with('"') && has_doubled_quote(text));
    let split = if of_windows { shell::cmd } else { shell::bash };
    let split = |text: &str| split(text).map_err(|why| format!("is a curl command that {why}"));
    let mut words = split(text)?;
    let mut input = None;
    if words.words.first().is_some_and(|name| name == "printf") {
        let (Words { words: printf, .. }, Some(behind)) = (&words, words.rest.strip_prefix('|')) else {
            return Err(NOT_CURL.to_owned());
        };
        let [_, format] = printf.as_slice() else { return Err(NOT_CURL.to_owned()) };
        input = Some(shell::printf(format));
        words = split(behind)?;
    }
    let Words { words, expands, is_garbled, rest } = words;
    if words.first().is_none_or(|name| name != "curl" && name != "curl.exe") {
        return Err(NOT_CURL.to_owned());
    }
    let command = Command::of(words.into_iter().skip(1), &Files { input, context })?;
    let mut draft = command.draft()?;
    if !rest.trim().is_empty() {
        draft.notes.push("what follows the first command was left out".to_owned());
    }
    let lost = match (expands, is_garbled) {
        (true, _) => "the command has variables or other commands in it, which are not expanded",
        (false, true) => "the command has bytes in it, as $'\\xff' or a NUL, that are not read as the shell reads them",
        (false, false) => return Ok(draft),
    };
    draft.lost = Some(Lost::Bytes(lost.to_owned()));
    Ok(draft)
}

/// Whether a quote is written as two, as older versions of Firefox do for Windows. An empty word is no such.
fn has_doubled_quote(text: &str) -> bool {
    text.match_indices("\"\"").any(|(at, quotes)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + quotes.len()..).and_then(|after| after.chars().next());
        let is_blank = |char: Option<char>| char.is_none_or(char::is_whitespace);
        before != Some('\\') && !(is_blank(before) && is_blank(after))
    })
}

impl Command {
    fn of(mut words: impl Iterator<Item = String>, files: &Files<'_>) -> Result<Self, String> {
        let mut command = Self::default();
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                command.take(&word, &mut words, files)?;
                continue;
            }
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                command.url.get_or_insert(word);
                continue;
            };
            // Letters without a value can stand together, and the value of the last one can follow it at once.
            for (at, letter) in letters.char_indices() {
                match letter {
                    'G' => command.in_query = true,
                    'I' => command.head = true,
                    letter if FLAGS.contains(letter) => {}
                    letter => {
                        let attached = letters.get(at + letter.len_utf8()..).unwrap_or_default();
                        let attached = (!attached.is_empty()).then(|| attached.to_owned());
                        command.take(&format!("-{letter}"), &mut attached.into_iter().chain(&mut words), files)?;
                        break;
                    }
                }
            }
        }
        Ok(command)
    }

    /// Takes an option, with its value if it has one.
    fn take(&mut self, option: &str, words: &mut dyn Iterator<Item = String>, files: &Files<'_>) -> Result<(), String> {
        match option {
            "--get" => self.in_query = true,
            "--head" => self.head = true,
            option if BARE.contains(&option) => {}
            option => {
                let value = words.next();
                let value = value.ok_or_else(|| format!("has the option {} without a value", plain(option)))?;
                self.take_value(option, value, files)?;
            }
        }
        Ok(())
    }

    fn take_value(&mut self, option: &str, value: String, files: &Files<'_>) -> Result<(), String> {
        match option {
            "-X" | "--request" => self.method = Some(value),
            "--url" => self.url = Some(value),
            "--request-target" => self.target = Some(value),
            "-H" | "--header" => self.add_header(&value)?,
            "-A" | "--user-agent" => self.headers.push(("User-Agent".to_owned(), Some(value))),
            "-e" | "--referer" => self.headers.push(("Referer".to_owned(), Some(value))),
            "-b" | "--cookie" => self.headers.push(("Cookie".to_owned(), Some(value))),
            "-u" | "--user" => {
                let value = format!("Basic {}", BASE64_STANDARD.encode(value));
                self.headers.push(("Authorization".to_owned(), Some(value)));
            }
            "--oauth2-bearer" => self.headers.push(("Authorization".to_owned(), Some(format!("Bearer {value}")))),
            "-d" | "--data" | "--data-ascii" => {
                let mut bytes = at_file(&value, files)?;
                if value.starts_with('@') {
                    bytes.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
                }
                self.add_data(bytes);
            }
            "--data-raw" => self.add_data(value.into_bytes()),
            "--data-binary" => self.add_data(at_file(&value, files)?),
            "--data-urlencode" => {
                let bytes = encoded(&value, files)?;
                self.add_data(bytes);
            }
            "--json" => {
                self.json = true;
                let bytes = at_file(&value, files)?;
                let before = self.data.take().unwrap_or_default();
                self.data = Some([before, bytes].concat());
            }
            "-T" | "--upload-file" => {
                self.upload = true;
                self.data = Some(at_file(&format!("@{value}"), files)?);
            }
            "-F" | "--form" => self.form.add(&value, |name| at_file(&format!("@{name}"), files))?,
            "--form-string" => self.form.add_text(&value)?,
            option if IGNORED.contains(&option) => {}
            option => {
                return Err(format!(
                    "is a curl command with an option that is not known here, {}: take it out",
                    plain(option)
                ));
            }
        }
        Ok(())
    }

    /// `Name: value`, `Name;` for an empty one, `Name:` to take out curl's own.
    fn add_header(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with('@') {
            return Err("is a curl command that reads headers from a file: put them into the command".to_owned());
        }
        match (line.split_once(':'), line.strip_suffix(';')) {
            (Some((name, value)), _) => {
                let value = value.trim();
                self.headers.push((name.to_owned(), (!value.is_empty()).then(|| value.to_owned())));
            }
            (None, Some(name)) => self.headers.push((name.to_owned(), Some(String::new()))),
            (None, None) => {}
        }
        Ok(())
    }

    fn add_data(&mut self, bytes: Vec<u8>) {
        match &mut self.data {
            Some(data) => {
                data.push(b'&');
                data.extend(bytes);
            }
            none => *none = Some(bytes),
        }
    }

    fn draft(mut self) -> Result<Draft, String> {
        let url = self.url.take().ok_or_else(|| "is a curl command without a URL".to_owned())?;
        let (host, target) = split_url(&url);
        let mut target = self.target.take().unwrap_or(target);
        if self.in_query
            && let Some(data) = self.data.take()
        {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&String::from_utf8_lossy(&data));
        }
        let is_form = !self.form.is_empty();
        if is_form {
            if self.data.is_some() {
                return Err("is a curl command with both a form (-F) and data (-d), which curl refuses".to_owned());
            }
            let own = self.headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            let own = own.and_then(|at| self.headers.remove(at).1);
            self.headers.push(("Content-Type".to_owned(), Some(Form::content_type(own.as_deref()))));
            self.data = Some(self.form.body());
        }
        let method = self.method.as_deref().unwrap_or(match &self.data {
            _ if self.head => "HEAD",
            Some(_) if self.upload => "PUT",
            Some(_) => "POST",
            None => "GET",
        });
        let named = |name: &str| self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let kind = if self.json { "application/json" } else { "application/x-www-form-urlencoded" };
        let kind = (self.data.is_some() && !self.upload && !named("content-type")).then_some(("Content-Type", kind));
        let pairs = self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
        let told = named("content-length");
        let mut draft = Draft::described(method, &target, pairs.chain(kind), self.data.unwrap_or_default());
        draft.host_or(Some(host));
        if told && !is_form {
            draft.compare_length(None);
        }
        if is_form {
            draft.lost = Some(Lost::Bytes(multipart::LOST.to_owned()));
        }
        Ok(draft)
    }
}

/// A text, or the content of the file whose name follows an `@`.
fn at_file(value: &str, files: &Files<'_>) -> Result<Vec<u8>, String> {
    match value.strip_prefix('@') {
        Some("-") => files
            .input
            .clone()
            .ok_or_else(|| "is a curl command that reads its body from standard input: name a file there".to_owned()),
        Some(name) => (files.context.open)(name).map_err(|why| format!("is a curl command that reads a file: {why}")),
        None => Ok(value.as_bytes().to_vec()),
    }
}

/// `content`, `=content`, `name=content`, `@file` or `name@file`, with the content percent-encoded.
fn encoded(value: &str, files: &Files<'_>) -> Result<Vec<u8>, String> {
    let (name, content) = match value.find(['=', '@']) {
        None => ("", value.as_bytes().to_vec()),
        Some(at) => {
            let (name, rest) = value.split_at(at);
            let content = match rest.strip_prefix('=') {
                Some(content) => content.as_bytes().to_vec(),
                None => at_file(rest, files)?,
            };
            (name, content)
        }
    };
    let equals = if name.is_empty() { "" } else { "=" };
    Ok(format!("{name}{equals}{}", percent_encode(&content, ENCODED)).into_bytes())
}
