//! The store's folder: its permissions, its lock, the room in it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

use super::OpenError;
use crate::store::types::Sizes;

/// The database's file.
pub const DATABASE: &str = "hooklatch.db";
const LOCK: &str = "hooklatch.lock";

/// A folder that is locked for this process, until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock; the kernel lets go of it when the process ends, in whatever way.
    _lock: File,
}

impl Folder {
    /// Makes the folder with mode 0700 if it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Folder { path: path.to_owned(), error };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        }
        let lock = path.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(lock).map_err(failed)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            let mut pid = String::new();
            // A holder that has not yet written its pid leaves the message without it.
            let _unread = file.take(20).read_to_string(&mut pid);
            return Err(OpenError::Locked { path: path.to_owned(), pid: pid.trim().parse().ok() });
        }
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk the lock holds without the pid in it.
        if let Err(error) = write(&mut file)
            && error.kind() != io::ErrorKind::StorageFull
        {
            return Err(failed(error));
        }
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database's path.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Makes the database's file, readable by its owner alone, if it is missing. SQLite gives its other files the same
    /// permissions. The folder's entry is synced, so that the file outlives a loss of power.
    pub fn make_database(&self) -> io::Result<()> {
        let path = self.database();
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                file.sync_all()?;
                File::open(&self.path)?.sync_all()
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mode = path.metadata()?.permissions().mode();
                if mode & 0o077 != 0 {
                    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes of all files in the folder, and the free bytes of its file system.
    pub fn sizes(&self) -> io::Result<Sizes> {
        let mut used = 0;
        for entry in std::fs::read_dir(&self.path)? {
            match entry?.metadata() {
                Ok(metadata) if metadata.is_file() => used += metadata.len(),
                Ok(_) => {}
                // SQLite removes its other files when it closes.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let room = statvfs(&self.path)?;
        Ok(Sizes { used, free: Some(room.f_bavail.saturating_mul(room.f_frsize)) })
    }
}
