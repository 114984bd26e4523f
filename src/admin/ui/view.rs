//! Numbers, times and texts as people read them.

use std::time::Duration;

use crate::queue::attempt::rfc3339;
use crate::store::Millis;
use crate::text;

/// A time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// For programs: RFC 3339, UTC, with milliseconds.
    pub full: String,
    /// For people: date and time, in UTC.
    pub short: String,
}

impl Time {
    /// Of milliseconds since 1970-01-01T00:00:00Z.
    pub fn of(millis: Millis) -> Self {
        let full = rfc3339(millis);
        let short = full.trim_end_matches('Z').replacen('T', " ", 1);
        Self { full, short }
    }
}

/// Text of others in one line, with escapes for what cannot be seen.
pub fn shown(text: &str) -> String {
    text::plain(text)
}

/// A number of milliseconds.
pub fn took(millis: f64) -> String {
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

/// A number of milliseconds that was cut to a whole one.
pub fn took_whole(millis: u32) -> String {
    match millis {
        0 => "< 1 ms".to_owned(),
        1..1000 => format!("{millis} ms"),
        _ => took(millis.into()),
    }
}

/// How long something lasts, to its largest unit.
pub fn lasts(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number} {unit}")
}

/// A number with spaces between groups of three digits.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A narrow space that breaks no line.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A value of a query string.
pub fn encoded(text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_that_fits() {
        for (millis, text) in [(0.0, "0.0 ms"), (9.94, "9.9 ms"), (12.0, "12 ms"), (999.0, "999 ms"), (1500.0, "1.5 s")]
        {
            assert_eq!(took(millis), text);
        }
        for (millis, text) in [(0, "< 1 ms"), (1, "1 ms"), (999, "999 ms"), (1500, "1.5 s")] {
            assert_eq!(took_whole(millis), text);
        }
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")] {
            assert_eq!(lasts(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn numbers_have_groups() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")] {
            assert_eq!(number(count), text);
        }
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(2, "row", "rows"), "2 rows");
    }

    #[test]
    fn a_time_is_written_for_programs_and_for_people() {
        let time = Time::of(1_700_000_000_123);
        assert_eq!((time.full.as_str(), time.short.as_str()), ("2023-11-14T22:13:20.123Z", "2023-11-14 22:13:20.123"));
    }
}
