//! When to load a configuration again: on request, and when the content of one of its files has changed.
//!
//! Every file that the loader reads, or does not find, is remembered with a [`Mark`] of the bytes that were loaded, so no
//! change between loading and watching is missed. The files are then read again at intervals instead of being watched
//! through the kernel: this detects a replacement by rename, the symlink swap of a Kubernetes mount (`..data`) and a change
//! on a network file system, and ignores a touch that changes nothing. The files are small.
//!
//! A change is loaded once the files stay the same for a moment, so that a half-written file is not loaded. After a failed
//! load the files are watched in the same way: the next change is the next attempt.
//!
//! Environment variables are not watched: those of a running process do not change.

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

/// The interval between two looks. Together with [`STILL`] and the load, a change takes effect within 5 s.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the files must stay the same before they are loaded.
const STILL: Duration = Duration::from_millis(250);
/// How many times to wait for that; then the files are loaded as they are.
const MAX_STILL: usize = 8;

/// The files of a configuration, with their content when it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    path: PathBuf,
    /// The look at the configuration itself.
    own: Look,
    /// The files that it names, with the look at each; a file can be listed twice.
    named: Vec<(PathBuf, Look)>,
}

/// The result of a look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Content(Mark),
    Unreadable(io::ErrorKind),
}

/// The process's sources, which record every file that is read.
#[derive(Debug, Default)]
struct Recorder {
    files: RefCell<Vec<(PathBuf, Look)>>,
}

/// As [`load()`](super::load()), with the files that the result depends on, also after an error.
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

/// What [`watch`] says of its work.
#[derive(Debug)]
pub enum Progress {
    /// It begins to read files, which can take as long as the file system likes.
    Reading,
    /// It has read them, and nothing has changed.
    Unchanged,
    /// It has loaded the configuration again.
    Loaded(Box<Result<Config, LoadError>>),
}

/// Loads the configuration again whenever `requests` asks for it or a watched file has changed. Hands what it does to
/// `publish`. Returns when `requests` has ended or `publish` returns false.
pub fn watch(mut watched: Watched, requests: &Receiver<()>, publish: impl Fn(Progress) -> bool) {
    loop {
        let requested = match requests.recv_timeout(INTERVAL) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if !publish(Progress::Reading) {
            return;
        }
        let progress = if requested || watched.has_changed() {
            if !requested {
                hold_still(&watched);
            }
            let loaded;
            (loaded, watched) = load_watched(&watched.path);
            Progress::Loaded(Box::new(loaded))
        } else {
            Progress::Unchanged
        };
        if !publish(progress) {
            return;
        }
    }
}

/// Waits until two looks give the same result.
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
    /// Whether a file has changed since it was loaded, has appeared or has disappeared.
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
