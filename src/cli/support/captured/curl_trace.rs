//! The output of `curl --trace` and `--trace-ascii` (<https://curl.se/docs/manpage.html#--trace>).
//!
//! The first has every byte in hexadecimal. The second has a full stop for every byte that is not printable ASCII, and a new
//! line for CRLF; the position at the beginning of each line tells where one was.

use super::curl_verbose::{method, without_time};
use super::draft::Draft;
use super::pick::{Candidate, pick};
use super::{Context, Format, Lost, raw};

/// What a section of the output has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Section {
    Head,
    Body,
    /// What was received, and what curl says.
    Other,
}

/// A request as it was sent.
#[derive(Default)]
struct Sent {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// Which of the two formats a file has, if it has one.
pub fn detect(file: &[u8]) -> Option<Format> {
    let mut lines = lines(file).skip_while(|line| section(line).is_none_or(|(section, _)| section != Section::Head));
    lines.next()?;
    let (_, row) = row(lines.next()?)?;
    let is_hex = of_hex(row).is_some_and(|bytes| bytes.first().is_some_and(u8::is_ascii_alphabetic));
    Some(if is_hex { Format::CurlTrace } else { Format::CurlTraceAscii })
}

/// Reads the output of `--trace`.
///
/// # Errors
/// There is no such request.
pub fn read_hex(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let (mut all, mut section_now) = (Vec::<Sent>::new(), Section::Other);
    for line in lines(file) {
        if let Some((section, _)) = section(line) {
            section_now = section;
            if section == Section::Head {
                all.push(Sent::default());
            }
        } else if let (Some((_, row)), Some(sent)) = (row(line), all.last_mut()) {
            let bytes = of_hex(row).unwrap_or_default();
            match section_now {
                Section::Head => sent.head.extend(bytes),
                Section::Body => sent.body.extend(bytes),
                Section::Other => {}
            }
        }
    }
    chosen(all, context)
}

/// Reads the output of `--trace-ascii`.
///
/// # Errors
/// There is no such request.
pub fn read_ascii(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let mut all = Vec::<Sent>::new();
    let (mut now, mut length, mut content) = (Section::Other, 0, Vec::new());
    for line in lines(file).map(Some).chain([None]) {
        let next = line.map_or(Some((Section::Other, 0)), section);
        let Some((section, announced)) = next else {
            if let Some((at, row)) = line.and_then(row) {
                fill(&mut content, at);
                content.extend_from_slice(row);
            }
            continue;
        };
        fill(&mut content, length);
        let content = std::mem::take(&mut content);
        match (now, all.last_mut()) {
            (Section::Head, _) => all.push(Sent { head: content, body: Vec::new() }),
            (Section::Body, Some(sent)) => sent.body.extend(content),
            _ => {}
        }
        (now, length) = (section, announced);
    }
    let mut draft = chosen(all, context)?;
    let stops = draft.body.iter().filter(|byte| **byte == b'.').count();
    if stops > 0 {
        draft.lost = Some(Lost::Bytes(format!(
            "--trace-ascii writes a full stop for every byte that is not printable, and the body has {stops} of them; \
             --trace keeps the bytes"
        )));
    }
    Ok(draft)
}

/// The request that is taken.
fn chosen(mut all: Vec<Sent>, context: &Context<'_>) -> Result<Draft, String> {
    let methods: Vec<String> = all.iter().map(|sent| method(&sent.head)).collect();
    let (at, note) = pick(methods.iter().map(|method| Candidate { method, at: None }), context.entry)?;
    let Sent { head, body } = all.swap_remove(at);
    let mut draft = raw::read(&[head, body].concat(), context)?;
    draft.notes.extend(note);
    Ok(draft)
}

/// Adds the CRLF that stood between the content so far and this position.
fn fill(content: &mut Vec<u8>, to: usize) {
    while content.len() + 2 <= to && to - content.len() <= 2 {
        content.extend_from_slice(b"\r\n");
    }
}

/// The lines of the output.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// What begins with this line, and of which length: `=> Send header, 145 bytes (0x91)`.
fn section(line: &[u8]) -> Option<(Section, usize)> {
    let line = without_time(line);
    let kinds = [
        (&b"=> Send header, "[..], Section::Head),
        (b"=> Send data, ", Section::Body),
        (b"=> ", Section::Other),
        (b"<= ", Section::Other),
        (b"== ", Section::Other),
    ];
    let (rest, section) = kinds.iter().find_map(|(begin, section)| Some((line.strip_prefix(*begin)?, *section)))?;
    let length =
        rest.split(|byte| *byte == b' ').next().and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    Some((section, length.unwrap_or_default()))
}

/// The position and the rest of a line of content: `0010: 50 4f …`.
fn row(line: &[u8]) -> Option<(usize, &[u8])> {
    let end = line.iter().take(17).position(|byte| *byte == b':').filter(|end| *end >= 4)?;
    let at = usize::from_str_radix(std::str::from_utf8(line.get(..end)?).ok()?, 16).ok()?;
    // An editor may have taken the blank from the end of the line.
    let rest = line.get(end + 1..)?;
    Some((at, rest.strip_prefix(b" ").or_else(|| rest.is_empty().then_some(rest))?))
}

/// The bytes of a row in hexadecimal: sixteen at most, of three characters each; `None` if it is none.
fn of_hex(row: &[u8]) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = row
        .chunks(3)
        .take(16)
        .map_while(|chunk| match chunk {
            [high, low, b' '] | [high, low] => {
                let digit = |char: u8| char::from(char).to_digit(16);
                u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
            }
            _ => None,
        })
        .collect();
    (!bytes.is_empty()).then_some(bytes)
}
