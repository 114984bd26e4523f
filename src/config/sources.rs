//! Where secrets and certificates come from: the process's environment and files, or what a test makes up.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// The longest file in bytes that a configuration can name. A system's bundle of root certificates is a quarter of it.
pub(super) const MAX_FILE: usize = 1 << 20;

/// The buffer for a file whose size is reported as 0, as that of a pipe is. A secret fits into it.
const ROOM: usize = 64 << 10;

/// Where secrets are read from: the process's environment and files, or what a test makes up.
pub trait Sources {
    /// The variable's value; `None` if it is not set.
    fn env(&self, name: &str) -> Option<OsString>;

    /// The file's content, cut one byte after the first MiB.
    ///
    /// # Errors
    /// As for any read; `NotFound` means that the file is absent.
    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>>;
}

/// The process's environment and the file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Sources for System {
    fn env(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let file = std::fs::File::open(path)?;
        let limit = MAX_FILE as u64 + 1;
        // One buffer for the whole file: a buffer that grows would leave copies of a secret in memory.
        let length = file.metadata()?.len().clamp(ROOM as u64, limit) + 1;
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(ROOM)));
        file.take(limit).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// The context in which secrets and files are read.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The folder that relative file names start from.
    pub(super) folder: &'a Path,
    pub(super) sources: &'a dyn Sources,
}
