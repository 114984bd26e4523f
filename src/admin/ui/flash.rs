//! What a page says once after an act: "Erased: …".
//!
//! The address of the page that follows a form has a random number in it, for which the gateway remembers what to say, and on
//! which page. So a foreign link cannot make a page say that something was done.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::lock::lock;

/// The key in the address.
pub const KEY: &str = "said";
/// How long it is said, also when the page is loaded again.
const LASTS: Duration = Duration::from_secs(60);
/// Remembered at most; the oldest ones make room.
const MOST: usize = 256;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A delivery is sent again.
    Replay,
    /// A delivery is not sent any more.
    Discard,
    /// A delivery's bytes are gone.
    Erase,
    /// A route's deliveries wait.
    Pause,
    /// A route's deliveries go on.
    Resume,
    /// A route's refused requests are recorded.
    Capture,
}

impl Said {
    /// What the page says.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Replay => "It is sent again: the attempt is below once it has ended.",
            Self::Discard => "Discarded: it is not sent any more.",
            Self::Erase => "Erased: head and body are overwritten.",
            Self::Pause => "Paused: deliveries wait until the route is resumed.",
            Self::Resume => "Resumed: deliveries go on.",
            Self::Capture => "Capture is on: the next refused requests are recorded with their bodies.",
        }
    }
}

/// What is going to be said.
#[derive(Debug, Default)]
pub struct Flashes(Mutex<VecDeque<Flash>>);

#[derive(Debug)]
struct Flash {
    id: Uuid,
    /// The path of the page that says it.
    path: String,
    said: Said,
    ends: Instant,
}

impl Flashes {
    /// The address of the page at `path` that says this.
    pub fn address(&self, path: &str, said: Said, now: Instant) -> String {
        let id = Uuid::new_v4();
        let mut flashes = lock(&self.0);
        flashes.retain(|flash| flash.ends > now);
        if flashes.len() >= MOST {
            flashes.pop_front();
        }
        flashes.push_back(Flash { id, path: path.to_owned(), said, ends: now + LASTS });
        format!("{path}?{KEY}={id}")
    }

    /// What the page at `path` says for what stands in its address; `None` for what was made up, or some time ago.
    pub fn find(&self, path: &str, key: Option<&str>, now: Instant) -> Option<Said> {
        let id = Uuid::try_parse(key?).ok()?;
        let flashes = lock(&self.0);
        let found = flashes.iter().find(|flash| flash.id == id && flash.path == path && flash.ends > now);
        found.map(|flash| flash.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn key(address: &str) -> Option<&str> {
        address.split_once("?said=").map(|(_, key)| key)
    }

    #[test]
    fn a_page_says_what_was_done_on_it_for_a_minute() {
        let (flashes, now) = (Flashes::default(), Clock::system().now());
        let address = flashes.address("/ui/deliveries/a", Said::Erase, now);
        let find = |path, key, after| flashes.find(path, key, now + after);
        let almost = LASTS - Duration::from_millis(1);
        assert_eq!(find("/ui/deliveries/a", key(&address), Duration::ZERO), Some(Said::Erase));
        assert_eq!(find("/ui/deliveries/a", key(&address), almost), Some(Said::Erase), "also when it is loaded again");
        assert_eq!(find("/ui/deliveries/a", key(&address), LASTS), None);
        assert_eq!(
            find("/ui/deliveries/b", key(&address), Duration::ZERO),
            None,
            "of another delivery nothing is said"
        );
        for made_up in [None, Some(""), Some("erase"), Some("00000000-0000-0000-0000-000000000000")] {
            assert_eq!(find("/ui/deliveries/a", made_up, Duration::ZERO), None, "{made_up:?}");
        }
    }

    #[test]
    fn they_are_bounded() {
        let (flashes, now) = (Flashes::default(), Clock::system().now());
        let first = flashes.address("/ui/routes/a", Said::Pause, now);
        for _ in 0..MOST {
            flashes.address("/ui/routes/a", Said::Resume, now);
        }
        assert_eq!(lock(&flashes.0).len(), MOST);
        assert_eq!(flashes.find("/ui/routes/a", key(&first), now), None);
    }
}
