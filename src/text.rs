//! Text for people. That of others is made harmless before: characters that could mislead are shown as escapes.

use std::fmt::Write as _;

/// Whether a terminal, or a reader, could be misled by a character: control characters, those that change the direction of
/// text or are invisible, and separators of lines and paragraphs.
pub fn misleads(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// One line: characters that could mislead are escaped, as in `\n` and `\u{202e}`.
pub fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, char| {
        if misleads(char) {
            plain.extend(char.escape_default());
        } else {
            plain.push(char);
        }
        plain
    })
}

/// Several lines: the same, but line ends and tabs stay.
pub fn lines(text: &str) -> String {
    let lines: Vec<String> =
        text.split('\n').map(|line| line.split('\t').map(plain).collect::<Vec<_>>().join("\t")).collect();
    lines.join("\n")
}

/// Bytes as several lines; what is not UTF-8 is escaped, as in `\xff`.
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&lines(chunk.valid()));
        for byte in chunk.invalid() {
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// JSON in one line; characters that could mislead are escaped as JSON does it.
pub fn json(value: &serde_json::Value) -> String {
    let mut escaped = String::new();
    for char in value.to_string().chars() {
        if misleads(char) {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                let _infallible = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// A number of bytes, in the largest unit of which there is at least one, with one digit behind the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        // What would be written as 1024.0 is 1.0 of the next unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_units_that_people_read() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (3104, "3.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 20, "1.0 MiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn control_characters_and_those_that_change_the_direction_are_escaped() {
        assert_eq!(plain("a\u{1b}[2J\u{202e}b\r\n\u{9b}é"), r"a\u{1b}[2J\u{202e}b\r\n\u{9b}é");
        assert_eq!(lines("a\tb\r\nc\u{7}"), "a\tb\\r\nc\\u{7}");
        assert_eq!(of_bytes(b"a\n\xffb\0"), "a\n\\xffb\\u{0}");
    }

    #[test]
    fn json_means_the_same_after_it_is_escaped() {
        let value = serde_json::json!({"a\u{202e}": ["\u{9b}\u{1b}é\"\\", 1, null]});
        let text = json(&value);
        assert!(!text.chars().any(misleads), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
