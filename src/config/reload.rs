//! When to load a configuration again: on request, and when a file that it was made from has other content.
//!
//! Every file that the loader reads, or looks for and does not find, is remembered with a [`Mark`] of the very bytes
//! that were loaded; nothing can change unseen between loading and watching. A file is then looked at by its name and
//! its content, again and again, rather than through the kernel's notices: that sees a file that is replaced by
//! rename, the symlink swap of a Kubernetes mount (`..data`) and a change on a network file system alike, and it
//! takes no notice of a touch that changes nothing. The files are small.
//!
//! A change is loaded once it holds still for a moment, so that a file half-way through being written is not taken
//! for a shorter one. What fails to load is watched like what loads: the next change is the next attempt.
//!
//! Not seen: variables of the environment. A process cannot be given others.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::LoadError;
use super::load;
use super::mark::Mark;
use super::model::Config;
use super::sources::{Sources, System};

/// How often the files are looked at. With what it takes to hold still and to load, a change is in force within 5 s.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a change must hold still.
const STILL: Duration = Duration::from_millis(250);
/// How many times a change is given the time to hold still; then it is loaded as it is.
const MAX_STILL: usize = 8;

/// The files that a configuration was made from, as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    path: PathBuf,
    /// The configuration itself.
    own: Look,
    /// The files that it names; a file may be there twice.
    named: Vec<(PathBuf, Look)>,
}

/// What a look at a file gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Content(Mark),
    Unreadable(io::ErrorKind),
}

/// The process's sources; remembers the files asked for.
#[derive(Debug, Default)]
struct Recorder {
    files: RefCell<Vec<(PathBuf, Look)>>,
}

/// As [`load`](super::load), with the files that the result hangs on, whether or not it is a success.
pub fn load_watched(path: &Path) -> (Result<Config, LoadError>, Watched) {
    let bytes = load::read(path);
    let own = Look::at(&bytes);
    let recorder = Recorder::default();
    let loaded = match bytes {
        Ok(bytes) => load::parse_bytes(&bytes, path, &recorder),
        Err(source) => Err(LoadError::Unreadable { path: path.to_owned(), source }),
    };
    (loaded, Watched { path: path.to_owned(), own, named: recorder.files.into_inner() })
}

/// Loads the configuration again whenever `requests` asks for it or a watched file has changed, and hands the result
/// to `publish`. Returns when either is no longer interested: `requests` has ended, or `publish` says false.
pub fn watch(mut watched: Watched, requests: &Receiver<()>, publish: impl Fn(Result<Config, LoadError>) -> bool) {
    loop {
        match requests.recv_timeout(INTERVAL) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) if watched.has_changed() => hold_still(&watched),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let loaded;
        (loaded, watched) = load_watched(&watched.path);
        if !publish(loaded) {
            return;
        }
    }
}

/// Waits until two looks see the same.
fn hold_still(watched: &Watched) {
    let mut before = watched.looked_at_again();
    for _ in 0..MAX_STILL {
        std::thread::sleep(STILL);
        let now = watched.looked_at_again();
        if now == before {
            return;
        }
        before = now;
    }
}

impl Watched {
    /// Whether a file has other content than what was loaded, has appeared or has gone.
    pub fn has_changed(&self) -> bool {
        self.looked_at_again() != *self
    }

    fn looked_at_again(&self) -> Self {
        let named = self.named.iter().map(|(path, _)| (path.clone(), Look::at(&System.file(path)))).collect();
        Self { path: self.path.clone(), own: Look::at(&load::read(&self.path)), named }
    }
}

impl Look {
    fn at(read: &io::Result<impl AsRef<[u8]>>) -> Self {
        match read {
            Ok(bytes) => Self::Content(Mark::of(bytes.as_ref())),
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

impl Sources for Recorder {
    fn env(&self, name: &str) -> Option<OsString> {
        System.env(name)
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let content = System.file(path);
        self.files.borrow_mut().push((path.to_owned(), Look::at(&content)));
        content
    }
}

#[cfg(test)]
mod tests;
