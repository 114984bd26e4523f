//! The output of `curl -v` (<https://curl.se/docs/manpage.html#-v>): the head in lines that begin with `> `. The body is not
//! in it.

use super::draft::{Draft, is};
use super::pick::{Candidate, pick};
use super::{Context, Lost, raw};

/// Whether a line of the file is a request line behind `> `.
pub fn is_verbose(file: &[u8]) -> bool {
    file.split(|byte| *byte == b'\n').any(|line| sent(line).is_some_and(raw::is_request_line))
}

/// Reads a request.
///
/// # Errors
/// There is no such request.
pub fn read(file: &[u8], context: &Context<'_>) -> Result<Draft, String> {
    let mut heads: Vec<Vec<&[u8]>> = Vec::new();
    // A body may have such lines, too.
    let mut is_open = false;
    for line in file.split(|byte| *byte == b'\n').filter_map(sent) {
        match heads.last_mut() {
            _ if raw::is_request_line(line) => {
                heads.push(vec![line]);
                is_open = true;
            }
            Some(head) if is_open && !line.is_empty() => head.push(line),
            _ => is_open = false,
        }
    }
    let methods: Vec<String> = heads.iter().map(|head| method(head.first().copied().unwrap_or_default())).collect();
    let (at, note) = pick(methods.iter().map(|method| Candidate { method, at: None }), context.entry)?;
    let head = heads.swap_remove(at);
    let named = |name: &str| head.iter().any(|line| is(line, name));
    let has_body = named("transfer-encoding")
        || !(named("content-length") || methods.get(at).is_some_and(|method| method == "GET" || method == "HEAD"));
    let lines = head.iter().filter(|line| !is(line, "transfer-encoding"));
    let text: Vec<u8> = lines.flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
    let mut draft = raw::read(&[&text, &b"\r\n"[..]].concat(), context)?;
    if (draft.cut_short.take().is_some() || has_body) && context.body.is_none() {
        let why = "curl -v does not print the body: name its file with --body";
        draft.lost = Some(Lost::Body(why.to_owned()));
    }
    draft.notes.extend(note);
    Ok(draft)
}

/// The method of a request line.
pub fn method(line: &[u8]) -> String {
    String::from_utf8_lossy(line.split(|byte| *byte == b' ').next().unwrap_or_default()).into_owned()
}

/// What was sent, of a line of the output. It may have a time and ids before it.
fn sent(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = without_time(line);
    line.strip_prefix(b"> ").or_else(|| line.strip_prefix(b">").filter(|rest| rest.is_empty()))
}

/// A line without what `--trace-time` and `--trace-ids` write before it: `12:34:56.789012 [0-0] `.
pub fn without_time(line: &[u8]) -> &[u8] {
    let line = match line.split_at_checked(16) {
        Some((time, rest)) if is_time(time) => rest,
        _ => line,
    };
    let ids = line.strip_prefix(b"[").and_then(|rest| Some((rest, rest.iter().position(|byte| *byte == b']')?)));
    match ids {
        Some((rest, end)) if rest.iter().take(end).all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'x')) => {
            rest.get(end + 1..).and_then(|rest| rest.strip_prefix(b" ")).unwrap_or(line)
        }
        _ => line,
    }
}

fn is_time(text: &[u8]) -> bool {
    text.len() == 16
        && text.iter().enumerate().all(|(at, byte)| match at {
            2 | 5 => *byte == b':',
            8 => *byte == b'.',
            15 => *byte == b' ',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids_before_a_line_are_taken_off() {
        for line in ["> a", "09:39:49.145695 > a", "09:39:49.145695 [0-x] > a", "[1-0] > a"] {
            assert_eq!(sent(line.as_bytes()), Some(&b"a"[..]), "{line}");
        }
        assert_eq!(sent(b">\r"), Some(&b""[..]));
        for line in ["< a", "* > a", "09:39:49.14569 > a", "[a] > a", ">a", ""] {
            assert_eq!(sent(line.as_bytes()), None, "{line}");
        }
    }
}
