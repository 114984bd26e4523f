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
/// Its log, which is there while the database is open.
pub const LOG: &str = "hooklatch.db-wal";
const LOCK: &str = "hooklatch.lock";
/// What outcomes of attempts may add to the log while no more deliveries are taken, in bytes.
const SPARE: u64 = 8 << 20;

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
        make(path).map_err(failed)?;
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

    /// As [`sizes`].
    pub fn sizes(&self) -> io::Result<Sizes> {
        sizes(&self.path)
    }

    /// The free bytes of its file system.
    pub fn free(&self) -> io::Result<u64> {
        free(&self.path)
    }
}

/// The bytes of all files in a folder, and the free bytes of its file system. Not counted as free is what it takes to copy the
/// log into the database, which may grow by as much: on a disk without that room the log could never be emptied, and the store
/// would stay full after all was delivered.
pub fn sizes(folder: &Path) -> io::Result<Sizes> {
    let (mut used, mut kept) = (0, SPARE);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                used += metadata.len();
                kept += if entry.file_name() == LOG { metadata.len() } else { 0 };
            }
            Ok(_) => {}
            // SQLite removes its other files when it closes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Sizes { used, free: Some(free(folder)?.saturating_sub(kept)) })
}

fn free(folder: &Path) -> io::Result<u64> {
    let room = statvfs(folder)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Makes a folder and those above it, if they are missing. Their entries are synced, so that what is written into them
/// outlives a loss of power.
pub fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()?;
    }
    Ok(())
}
