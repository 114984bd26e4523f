//! Where secrets and certificates come from: the process's environment and files, or what a test makes up.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// The longest file in bytes that a configuration can name. A system's bundle of root certificates is a quarter of it.
pub(super) const MAX_FILE: usize = 1 << 20;

/// The buffer for a file whose size is reported as 0, as those of /proc are. A secret fits into it.
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
        let file = open(path)?;
        let limit = MAX_FILE as u64 + 1;
        // One buffer for the whole file: a buffer that grows would leave copies of a secret in memory.
        let length = file.metadata()?.len().clamp(ROOM as u64, limit) + 1;
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(ROOM)));
        file.take(limit).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// Opens a regular file to read it. Without waiting: to open a FIFO waits for its writer, and to read a terminal for its user.
///
/// # Errors
/// Those of the system; `IsADirectory` or `InvalidInput` for what is no regular file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(rustix::io::Errno::ISDIR.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// The context in which secrets and files are read.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The folder that relative file names start from.
    pub(super) folder: &'a Path,
    pub(super) sources: &'a dyn Sources,
}
