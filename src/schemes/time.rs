//! Signed times: reading, writing and comparing with a clock.
//!
//! A signature covers the text of the time as sent, so the text is parsed but never rewritten. The clock's whole second is
//! compared, so a time exactly as old as the tolerance is valid during all of that second.

use std::time::Duration;

use super::error::VerifyError;
use super::spec::TimeFormat;

/// From this number on, a bare number means milliseconds; as seconds it would be in the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The milliseconds since 1970-01-01T00:00:00Z that a text says.
pub(super) fn parse(format: TimeFormat, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    match format {
        TimeFormat::UnixSeconds => digits(text)?.checked_mul(1000),
        TimeFormat::UnixMilliseconds => digits(text),
        TimeFormat::Unix => match digits(text)? {
            number if number >= MILLISECONDS_FROM => Some(number),
            number => number.checked_mul(1000),
        },
        TimeFormat::Rfc3339 => rfc3339(text),
        TimeFormat::HttpDate => http_date(text),
    }
}

/// The text that says `now`.
pub(super) fn write(format: TimeFormat, now: Duration) -> String {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    match format {
        TimeFormat::UnixSeconds | TimeFormat::Unix => now.as_secs().to_string(),
        TimeFormat::UnixMilliseconds => now.as_millis().to_string(),
        TimeFormat::Rfc3339 => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
        TimeFormat::HttpDate => {
            let weekday = usize::try_from(days.rem_euclid(7)).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"Thu");
            let month = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
            format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
        }
    }
}

/// Whether a time is within the tolerance of the clock.
///
/// # Errors
/// [`VerifyError::StaleTimestamp`] and, if `future` is to be refused, [`VerifyError::FutureTimestamp`].
pub(super) fn check(signed: i64, now: Duration, tolerance: Duration, future: bool) -> Result<(), VerifyError> {
    let now = i128::from(now.as_secs()) * 1000;
    let tolerance = i128::try_from(tolerance.as_millis()).unwrap_or(i128::MAX);
    let age = now - i128::from(signed);
    if age > tolerance {
        Err(VerifyError::StaleTimestamp)
    } else if future && -age > tolerance {
        Err(VerifyError::FutureTimestamp)
    } else {
        Ok(())
    }
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// A number of exactly so many digits at the front, and the rest.
fn take(text: &str, count: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    Some((digits(number)?, rest))
}

fn rfc3339(text: &str) -> Option<i64> {
    let (year, rest) = take(text, 4)?;
    let (month, rest) = take(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = take(rest.strip_prefix('-')?, 2)?;
    let (clock, rest) = clock(rest.strip_prefix(['T', 't', ' '])?)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let (fraction, rest) = rest.split_at_checked(end)?;
            let milliseconds = format!("{:0<3}", fraction.get(..3).unwrap_or(fraction));
            (if fraction.is_empty() { return None } else { digits(&milliseconds)? }, rest)
        }
    };
    let offset = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, rest) = take(rest.strip_prefix(['+', '-'])?, 2)?;
            let (minutes, rest) = take(rest.strip_prefix(':').unwrap_or(rest), 2)?;
            if hours > 23 || minutes > 59 || !rest.is_empty() {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    Some((days(year, month, day)? * 86400 + clock - offset) * 1000 + fraction)
}

fn http_date(text: &str) -> Option<i64> {
    let (weekday, rest) = text.split_once(", ")?;
    let (day, rest) = take(rest, 2)?;
    let (month, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let (year, rest) = take(rest, 4)?;
    let (clock, rest) = clock(rest.strip_prefix(' ')?)?;
    if !DAYS.contains(&weekday) || rest != " GMT" {
        return None;
    }
    Some((days(year, i64::try_from(month).ok()? + 1, day)? * 86400 + clock) * 1000)
}

/// `hh:mm:ss` as seconds; 60 for a leap second.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = take(text, 2)?;
    let (minute, rest) = take(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = take(rest.strip_prefix(':')?, 2)?;
    (hour < 24 && minute < 60 && second <= 60).then_some((hour * 3600 + minute * 60 + second, rest))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year.rem_euclid(400) * 365 + year.rem_euclid(400) / 4 - year.rem_euclid(400) / 100 + of_year;
    Some(year.div_euclid(400) * 146_097 + of_era - 719_468)
}

/// The date of a number of days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_era_years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_years + of_era_years / 4 - of_era_years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = of_era_years + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// The time since 1970-01-01T00:00:00Z that a text says: RFC 3339, or seconds in digits.
pub fn parse_time(text: &str) -> Option<Duration> {
    let formats = [TimeFormat::UnixSeconds, TimeFormat::Rfc3339];
    let milliseconds = formats.iter().find_map(|format| parse(*format, text.as_bytes()))?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeFormat::{HttpDate, Rfc3339, Unix, UnixMilliseconds, UnixSeconds};

    fn at(format: TimeFormat, text: &str) -> Option<i64> {
        parse(format, text.as_bytes())
    }

    #[test]
    fn every_format_says_the_same_time() {
        for (format, text) in [
            (UnixSeconds, "784111777"),
            (UnixMilliseconds, "784111777000"),
            (Unix, "784111777"),
            (Unix, "784111777000"),
            (Rfc3339, "1994-11-06T08:49:37Z"),
            (Rfc3339, "1994-11-06T08:49:37"),
            (Rfc3339, "1994-11-06T08:49:37.000000000Z"),
            (Rfc3339, "1994-11-06 09:49:37+01:00"),
            (Rfc3339, "1994-11-06T00:19:37-0830"),
            (HttpDate, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            assert_eq!(at(format, text), Some(784_111_777_000), "{text}");
        }
        assert_eq!(at(Rfc3339, "2024-03-27T15:42:29.551"), Some(1_711_554_149_551));
        assert_eq!(at(Rfc3339, "2024-01-19T09:19:28.9372196Z"), Some(1_705_655_968_937));
        assert_eq!(at(Rfc3339, "2024-02-29T00:00:00.5Z"), Some(1_709_164_800_500));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", " 1", "+1", "-1", "1.0", "1e9", "0x1", "१", "1234567890123456789"] {
            assert_eq!(at(UnixSeconds, text), None, "{text}");
            assert_eq!(at(Unix, text), None, "{text}");
        }
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00Zx",
            "2024-01-01",
            "24-01-01T00:00:00Z",
        ] {
            assert_eq!(at(Rfc3339, text), None, "{text}");
        }
        for text in ["Sun, 06 Nov 1994 08:49:37", "Sunday, 06-Nov-94 08:49:37 GMT", "Xxx, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(at(HttpDate, text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 951_782_400, 951_868_799, 1_709_164_800, 1_700_000_000, 4_102_444_800] {
            let now = Duration::from_secs(seconds);
            for format in [UnixSeconds, UnixMilliseconds, Unix, Rfc3339, HttpDate] {
                let text = write(format, now);
                assert_eq!(at(format, &text), Some(i64::try_from(seconds).unwrap() * 1000), "{text}");
            }
        }
        assert_eq!(write(HttpDate, Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn exactly_the_tolerance_passes_and_a_second_more_does_not_either_way() {
        let now = Duration::from_millis(1_700_000_000_900);
        let tolerance = Duration::from_secs(300);
        for (signed, verdict) in [
            (1_699_999_700_000, Ok(())),
            (1_699_999_699_000, Err(VerifyError::StaleTimestamp)),
            (1_700_000_300_000, Ok(())),
            (1_700_000_301_000, Err(VerifyError::FutureTimestamp)),
        ] {
            assert_eq!(check(signed, now, tolerance, true), verdict, "{signed}");
        }
        assert_eq!(check(i64::MAX, now, tolerance, false), Ok(()));
        assert_eq!(check(i64::MAX, now, tolerance, true), Err(VerifyError::FutureTimestamp));
        assert_eq!(check(i64::MIN, now, tolerance, false), Err(VerifyError::StaleTimestamp));
    }
}
