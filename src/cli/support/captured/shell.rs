//! Splits a command into words, as bash or Windows' command line does it, up to the end of the command.
//!
//! Nothing is expanded: variables and commands in the words stay as they are written, and [`Words::expands`] says so.

use std::iter::Peekable;
use std::str::Chars;

/// The words of a command.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Words {
    pub words: Vec<String>,
    /// Whether the shell would put something else in the place of a variable or of a command.
    pub expands: bool,
    /// Whether a word has bytes that are not UTF-8, or a NUL, at which the shell ends a word: they are replaced, or left out.
    pub is_garbled: bool,
    /// What follows the command, from the pipe, the redirection or the end of the line on.
    pub rest: String,
}

/// Splits a command of bash or another POSIX shell, also with `$'…'`.
///
/// # Errors
/// A quote is not closed.
pub fn bash(text: &str) -> Result<Words, &'static str> {
    let mut out = Words::default();
    let mut chars = text.chars().peekable();
    let mut word: Option<String> = None;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('\n') => {}
                Some('\r') if chars.next_if_eq(&'\n').is_some() => {}
                Some(char) => word.get_or_insert_default().push(char),
                None => {}
            },
            '\'' => single(&mut chars, word.get_or_insert_default())?,
            '"' => out.expands |= double(&mut chars, word.get_or_insert_default())?,
            '$' if chars.next_if_eq(&'\'').is_some() => {
                out.is_garbled |= ansi(&mut chars, word.get_or_insert_default())?;
            }
            '$' if chars.next_if_eq(&'"').is_some() => {
                out.expands |= double(&mut chars, word.get_or_insert_default())?;
            }
            '|' | ';' | '&' | '<' | '>' | '\n' => {
                // The number of a redirection, as in 2>.
                if matches!(char, '<' | '>') && word.as_ref().is_some_and(|word| word.parse::<u8>().is_ok()) {
                    word = None;
                }
                out.rest = chars.fold(String::from(char), with);
                break;
            }
            ' ' | '\t' | '\r' => out.words.extend(word.take()),
            '#' if word.is_none() => {
                chars.by_ref().take_while(|char| *char != '\n').for_each(drop);
                out.rest = chars.collect();
                break;
            }
            char => {
                out.expands |= char == '`' || (char == '$' && chars.peek().is_some_and(begins_expansion));
                word.get_or_insert_default().push(char);
            }
        }
    }
    out.words.extend(word);
    Ok(out)
}

fn with(mut text: String, char: char) -> String {
    text.push(char);
    text
}

const OPEN: &str = "has a quote that is not closed";

fn begins_expansion(char: &char) -> bool {
    char.is_ascii_alphanumeric() || "_{(*@#?$!-".contains(*char)
}

fn single(chars: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), &'static str> {
    for char in chars {
        match char {
            '\'' => return Ok(()),
            char => word.push(char),
        }
    }
    Err(OPEN)
}

/// Reads up to the closing quote. Says whether something would be expanded.
fn double(chars: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<bool, &'static str> {
    let mut expands = false;
    while let Some(char) = chars.next() {
        match char {
            '"' => return Ok(expands),
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(char @ ('$' | '`' | '"' | '\\')) => word.push(char),
                Some(char) => word.extend(['\\', char]),
                None => return Err(OPEN),
            },
            char => {
                expands |= char == '`' || (char == '$' && chars.peek().is_some_and(begins_expansion));
                word.push(char);
            }
        }
    }
    Err(OPEN)
}

/// Reads `$'…'` up to the closing quote. Says whether its bytes are no text.
fn ansi(chars: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<bool, &'static str> {
    let (bytes, closed) = escapes(chars, Some('\''));
    if !closed {
        return Err(OPEN);
    }
    // The shell's own strings end there, too.
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    word.push_str(&String::from_utf8_lossy(text));
    Ok(text.len() < bytes.len() || std::str::from_utf8(text).is_err())
}

/// What the shell's `printf` prints for a format without arguments.
pub fn printf(format: &str) -> Vec<u8> {
    escapes(&mut format.replace("%%", "%").chars().peekable(), None).0
}

/// Undoes escapes with a backslash, up to this character; says whether it came. Those that make no character are left out.
fn escapes(chars: &mut Peekable<Chars<'_>>, end: Option<char>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(char) = chars.next() {
        if Some(char) == end {
            return (bytes, true);
        }
        if char != '\\' {
            bytes.extend(String::from(char).into_bytes());
            continue;
        }
        let byte = match chars.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('a') => 7,
            Some('b') => 8,
            Some('e' | 'E') => 27,
            Some('f') => 12,
            Some('v') => 11,
            Some('x') => number(chars, 16, 2).1 as u8,
            Some(kind @ ('u' | 'U')) => {
                let (_, code) = number(chars, 16, if kind == 'u' { 4 } else { 8 });
                bytes.extend(char::from_u32(code).map(String::from).unwrap_or_default().into_bytes());
                continue;
            }
            Some(char @ '0'..='7') => {
                let (digits, low) = number(chars, 8, 2);
                ((char.to_digit(8).unwrap_or_default() << (3 * digits)) + low) as u8
            }
            Some(char @ ('\\' | '\'' | '"' | '?')) => char as u8,
            other => {
                bytes.push(b'\\');
                bytes.extend(other.map(String::from).unwrap_or_default().into_bytes());
                continue;
            }
        };
        bytes.push(byte);
    }
    (bytes, false)
}

/// How many digits follow, up to `most`, and their number.
fn number(chars: &mut Peekable<Chars<'_>>, base: u32, most: u32) -> (u32, u32) {
    let mut number = 0_u32;
    for count in 0..most {
        let Some(digit) = chars.next_if(|char| char.is_digit(base)).and_then(|char| char.to_digit(base)) else {
            return (count, number);
        };
        number = number.wrapping_mul(base).wrapping_add(digit);
    }
    (most, number)
}

/// Splits a command of Windows' command line: first the carets of `cmd`, then the quotes of the program's own arguments.
///
/// # Errors
/// A quote is not closed.
pub fn cmd(text: &str) -> Result<Words, &'static str> {
    let mut out = Words::default();
    let mut line = String::new();
    let mut chars = text.chars().filter(|char| *char != '\r').peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match char {
            '^' if !quoted => {
                // A caret before the end of a line goes on with the next one, whose first character it escapes.
                chars.next_if_eq(&'\n');
                line.extend(chars.next());
            }
            '\n' | '|' | '&' | '<' | '>' if !quoted => {
                out.rest = chars.fold(String::from(char), with);
                break;
            }
            char => {
                quoted ^= char == '"';
                out.expands |= char == '%' && chars.peek().is_some_and(char::is_ascii_alphabetic);
                line.push(char);
            }
        }
    }
    out.words = arguments(&line)?;
    Ok(out)
}

/// Splits a line as programs of Windows do: a backslash counts only before a quote, and two quotes in a quoted part are one.
fn arguments(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quoted, mut backslashes) = (Vec::new(), None::<String>, false, 0);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\\' {
            backslashes += 1;
            continue;
        }
        let kept = if char == '"' { backslashes / 2 } else { backslashes };
        let literal = char != '"' || backslashes % 2 == 1;
        if backslashes > 0 {
            word.get_or_insert_default().push_str(&"\\".repeat(kept));
            backslashes = 0;
        }
        match char {
            '"' if !literal && quoted && chars.next_if_eq(&'"').is_some() => word.get_or_insert_default().push('"'),
            '"' if !literal => {
                word.get_or_insert_default();
                quoted = !quoted;
            }
            ' ' | '\t' | '\n' if !quoted => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    if backslashes > 0 {
        word.get_or_insert_default().push_str(&"\\".repeat(backslashes));
    }
    words.extend(word);
    if quoted { Err(OPEN) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_words_are_what_bash_makes_of_them() {
        for text in [
            "curl 'https://a.example/x?y=1' \\\n  -H 'a: b' \\\r\n -d '{\"a\":\"b\\n\"}'",
            r#"a "b \" \\ \$ \x c" d\ e\'f 'g'"h"i"#,
            r"$'a\'b\nc\x41\u00e9\101\0601\t\\\?\q\1' ''",
            "$'\\xc3\\xa9' $'' a$ \"b$\"",
            "$'a\\0b'c $'\\u0000'",
            "# comment",
            "a b# c",
        ] {
            let script = format!("printf '%s\\0' {}", text.replace("\\\r\n", "\\\n"));
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            let theirs: Vec<&str> = theirs.strip_suffix('\0').unwrap().split('\0').collect();
            let ours = bash(text).unwrap();
            let ours: Vec<&str> = ours.words.iter().map(String::as_str).collect();
            assert_eq!(if ours.is_empty() { vec![""] } else { ours }, theirs, "{text}");
        }
    }

    #[test]
    fn a_command_ends_where_the_shell_ends_it() {
        for (text, words, rest) in [
            ("a b 2>&1 | c", &["a", "b"][..], ">&1 | c"),
            ("a b2>c", &["a", "b2"], ">c"),
            ("a; b", &["a"], "; b"),
            ("a\n\n", &["a"], "\n\n"),
            ("a # b\nc", &["a"], "c"),
        ] {
            let split = bash(text).unwrap();
            assert_eq!(
                (split.words.as_slice(), split.rest.as_str()),
                (&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..], rest)
            );
        }
        for (text, expands) in
            [("\"$A\"", true), ("'$A'", false), ("`a`", true), ("$(a)", true), ("\\$A \"\\$B\" $", false)]
        {
            assert_eq!(bash(text).unwrap().expands, expands, "{text}");
        }
        for (text, is_garbled) in [("$'\\xff'", true), ("$'a\\0'", true), ("$'\\xc3\\xa9' 'é'", false)] {
            assert_eq!(bash(text).unwrap().is_garbled, is_garbled, "{text}");
        }
        for open in ["'a", "\"a", "$'a", "\"a\\", "$'\\"] {
            assert_eq!(bash(open), Err(OPEN), "{open}");
        }
    }

    #[test]
    fn both_forms_of_windows_are_split() {
        let old = "curl.exe \"https://a.example/\" ^\r\n  -H \"a: b\" ^\r\n  --data-raw \"{\\\"a\\\":\\\"b c\\\"}\"";
        let new = "curl ^\"https://a.example/^\" ^\n  -H ^\"a: b^\" ^\n  --data-raw ^\"^{^\\^\"a^\\^\":^\\^\"b c^^^\\^\"^}^\"";
        for (text, name, body) in [(old, "curl.exe", r#"{"a":"b c"}"#), (new, "curl", r#"{"a":"b c^"}"#)] {
            let words = cmd(text).unwrap().words;
            assert_eq!(words, [name, "https://a.example/", "-H", "a: b", "--data-raw", body]);
        }
        assert_eq!(cmd("a ^\"b^\n\nc^\" d\\\\e \"f\\\\\"").unwrap().words, ["a", "b\nc", r"d\\e", r"f\"]);
        assert_eq!(cmd(r#"a "" "b ""c""" """d""""#).unwrap().words, ["a", "", r#"b "c""#, r#""d""#]);
        assert!(cmd("a \"b").is_err() && cmd("a %PATH% | b").unwrap().expands);
    }
}
