//! The value of `Date` (RFC 9110 section 6.6.1), formatted once a second.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use crate::clock::Clock;

/// A date as HTTP writes it (RFC 9110 section 5.6.7).
pub type HttpDate = [u8; 29];

/// Formats the dates of a thread's responses.
pub struct Dates {
    clock: Clock,
    /// The second of `written`, since 1970-01-01T00:00:00Z.
    second: Cell<u64>,
    /// The last date.
    written: Cell<HttpDate>,
}

impl Dates {
    /// Dates by `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, second: Cell::new(0), written: Cell::new(write(0)) }
    }

    /// The date at `moment`.
    pub fn at(&self, moment: Instant) -> HttpDate {
        let second = self.clock.unix_at(moment).as_secs();
        if self.second.replace(second) != second {
            self.written.set(write(second));
        }
        self.written.get()
    }
}

fn write(second: u64) -> HttpDate {
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
    text.as_bytes().try_into().expect("a date has a fixed length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_clock() {
        for (second, expected) in [(0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT")]
        {
            let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            let (dates, now) = (Dates::new(clock.clone()), clock.now());
            assert_eq!(dates.at(now), expected.as_bytes());
            assert_eq!(dates.at(now), expected.as_bytes());
        }
    }
}
