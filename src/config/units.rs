//! Durations, sizes and shares as people write them: `500ms`, `10s`, `5m`, `24h`, `30d`; `512KiB`, `1MiB`, `25MB`; `20%`.
//!
//! A whole number directly followed by a unit. Refused: 1. a bare number, because it could mean seconds or milliseconds;
//! 2. fractions (except of a share), signs, spaces, several parts; 3. unknown units (case counts: `m` is minutes, `MB` is
//! 1 000 000 bytes, `MiB` is 1 048 576); 4. durations over 365 days, sizes over 64 bits and shares over 100 %.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::Field;

/// Units of time in milliseconds, smallest first.
pub(super) const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size in bytes, smallest first.
pub(super) const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// The longest duration that is shown in hours or less; longer ones are shown in whole days, if they are such.
const LONGEST_IN_HOURS: Duration = Duration::from_secs(72 * 3600);

/// The longest duration: 365 days. Keeps every deadline far from the clock's end.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// The largest number of requests, attempts or failures.
pub(super) const MAX_COUNT: u32 = 1_000_000;

/// Why a text is not a duration or a size. The display says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Digits alone, where a duration is wanted.
    #[error("a duration needs a unit: write {0}s for seconds or {0}ms for milliseconds")]
    BareDuration(String),
    /// Digits alone, where a size is wanted.
    #[error("a size needs a unit: write {0}B for bytes, or use KiB, MiB or GiB")]
    BareSize(String),
    /// Any other text that is not a duration.
    #[error("not a duration: write a whole number with a unit, such as 500ms, 10s, 5m, 24h or 30d")]
    NotADuration,
    /// Any other text that is not a size.
    #[error("not a size: write a whole number with a unit (B, KB, KiB, MB, MiB, GB, GiB), such as 512KiB or 1MiB")]
    NotASize,
    /// More than 365 days.
    #[error("longer than 365 days (8760h)")]
    DurationTooLong,
    /// More than 64 bits of bytes.
    #[error("too large")]
    SizeTooLarge,
}

/// Reads a duration.
///
/// # Errors
/// See the module's list.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (digits, unit) = split(text).ok_or(UnitError::NotADuration)?;
    if unit.is_empty() {
        return Err(UnitError::BareDuration(shown(digits)));
    }
    let millis = factor(&TIME_UNITS, unit).ok_or(UnitError::NotADuration)?;
    let number: u64 = digits.parse().map_err(|_| UnitError::DurationTooLong)?;
    let duration = Duration::from_millis(number.checked_mul(millis).ok_or(UnitError::DurationTooLong)?);
    if duration > MAX_DURATION { Err(UnitError::DurationTooLong) } else { Ok(duration) }
}

/// Reads a size, in bytes.
///
/// # Errors
/// See the module's list.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (digits, unit) = split(text).ok_or(UnitError::NotASize)?;
    if unit.is_empty() {
        return Err(UnitError::BareSize(shown(digits)));
    }
    let bytes = factor(&SIZE_UNITS, unit).ok_or(UnitError::NotASize)?;
    let number: u64 = digits.parse().map_err(|_| UnitError::SizeTooLarge)?;
    number.checked_mul(bytes).ok_or(UnitError::SizeTooLarge)
}

/// Writes a duration so that [`parse_duration`] reads it back; a fraction of a millisecond is dropped.
pub fn display_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let units = match TIME_UNITS.split_last() {
        Some((_, hours)) if duration <= LONGEST_IN_HOURS => hours,
        _ => &TIME_UNITS,
    };
    let (number, unit) = shortest(units, millis, "s");
    format!("{number}{unit}")
}

/// Writes a size in bytes so that [`parse_size`] reads it back.
pub fn display_size(bytes: u64) -> String {
    let (number, unit) = shortest(&SIZE_UNITS, bytes, "B");
    format!("{number}{unit}")
}

/// Reads a share of a whole, written as a percentage, as a number from 0 to 1: `100%`, `0.5%`.
pub(super) fn parse_share(text: &str) -> Result<f64, &'static str> {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_suffix('%').filter(|number| number.splitn(2, '.').all(is_number));
    let share = number.and_then(|number| number.parse::<f64>().ok()).map(|percent| percent / 100.0);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or("must be a share from 0% to 100%, such as 10% or 0.5%")
}

/// A size that is not zero.
pub(super) fn read_size(field: &Field<'_>) -> Option<u64> {
    let size = field.parsed_or_number(parse_size)?;
    if size == 0 {
        field.error("must not be zero");
        return None;
    }
    Some(size)
}

/// A number of requests, attempts or failures that is not zero.
pub(super) fn read_count(field: &Field<'_>) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(field.integer(1, MAX_COUNT.into())?).ok()?)
}

/// A duration that is not zero.
pub(super) fn read_timeout(field: &Field<'_>) -> Option<Duration> {
    let timeout = field.parsed_or_number(parse_duration)?;
    if timeout.is_zero() {
        field.error("must not be zero");
        return None;
    }
    Some(timeout)
}

/// Leading digits, at least one, and the rest.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// The largest unit that divides `value` without a rest.
fn shortest<'a>(units: &[(&'a str, u64)], value: u64, of_zero: &'a str) -> (u64, &'a str) {
    if value == 0 {
        return (0, of_zero);
    }
    let fitting = units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor));
    fitting.map_or((value, of_zero), |(name, factor)| (value / factor, name))
}

/// A number to show in an example, cut to a sane length.
fn shown(digits: &str) -> String {
    if digits.len() <= 20 { digits.to_owned() } else { "10".to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(2_592_000)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        assert_eq!(parse_size("7B"), Ok(7));
        assert_eq!(parse_size("1KB"), Ok(1000));
        assert_eq!(parse_size("512KiB"), Ok(524_288));
        assert_eq!(parse_size("25MB"), Ok(25_000_000));
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("2GB"), Ok(2_000_000_000));
        assert_eq!(parse_size("1GiB"), Ok(1_073_741_824));
    }

    #[test]
    fn a_bare_number_is_refused_with_what_to_write() {
        let error = parse_duration("10").expect_err("bare").to_string();
        assert_eq!(error, "a duration needs a unit: write 10s for seconds or 10ms for milliseconds");
        let error = parse_size("1024").expect_err("bare").to_string();
        assert_eq!(error, "a size needs a unit: write 1024B for bytes, or use KiB, MiB or GiB");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "s", "1.5s", "-1s", "+1s", "1 s", " 1s", "1s ", "1S", "1h30m", "1D", "1w", "1sec", "١s", "1_000s"]
        {
            assert_eq!(parse_duration(text), Err(UnitError::NotADuration), "{text:?}");
        }
        for text in ["", "MB", "1.5MB", "-1B", "+1B", "1 MB", "1mb", "1m", "1M", "1k", "1TB", "1MiBs", "٣B"] {
            assert_eq!(parse_size(text), Err(UnitError::NotASize), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(parse_duration("8760h"), Ok(MAX_DURATION));
        assert_eq!(parse_duration("365d"), Ok(MAX_DURATION));
        assert_eq!(parse_duration("8761h"), Err(UnitError::DurationTooLong));
        assert_eq!(parse_duration("366d"), Err(UnitError::DurationTooLong));
        assert_eq!(parse_duration("18446744073709551615h"), Err(UnitError::DurationTooLong));
        assert_eq!(parse_duration("99999999999999999999ms"), Err(UnitError::DurationTooLong));
        assert_eq!(parse_size("18446744073709551615B"), Ok(u64::MAX));
        assert_eq!(parse_size("18446744073709551616B"), Err(UnitError::SizeTooLarge));
        assert_eq!(parse_size("17179869184GiB"), Err(UnitError::SizeTooLarge));
    }

    #[test]
    fn the_largest_whole_unit_is_shown() {
        assert_eq!(display_duration(Duration::from_millis(4500)), "4500ms");
        assert_eq!(display_duration(Duration::from_secs(3600)), "1h");
        assert_eq!(display_duration(Duration::from_secs(72 * 3600)), "72h");
        assert_eq!(display_duration(Duration::from_secs(96 * 3600)), "4d");
        assert_eq!(display_duration(Duration::from_secs(97 * 3600)), "97h");
        assert_eq!(display_duration(Duration::ZERO), "0s");
        assert_eq!(display_size(1 << 20), "1MiB");
        assert_eq!(display_size(25_000_000), "25MB");
        assert_eq!(display_size(0), "0B");
    }

    #[test]
    fn a_share_is_a_percentage() {
        for (text, share) in [("100%", 1.0), ("0%", 0.0), ("10%", 0.1), ("0.5%", 0.005), ("12.50%", 0.125)] {
            assert_eq!(parse_share(text), Ok(share), "{text}");
        }
        for text in ["", "%", "1", "0.1", "101%", "-1%", "1e1%", "NaN%", "inf%", "1 %", "+1%", "1.2.3%", ".5%", "5.%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn durations_round_trip(millis in 0u64..=31_536_000_000, unit in 0usize..5) {
            let duration = Duration::from_millis(millis / TIME_UNITS[unit].1 * TIME_UNITS[unit].1);
            prop_assert_eq!(parse_duration(&display_duration(duration)), Ok(duration));
        }

        #[test]
        fn sizes_round_trip(bytes: u64, unit in 0usize..7) {
            let bytes = bytes / SIZE_UNITS[unit].1 * SIZE_UNITS[unit].1;
            prop_assert_eq!(parse_size(&display_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9]{0,25}[a-zA-Zµ ]{0,4}|.*") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
