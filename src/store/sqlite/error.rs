//! What SQLite's errors mean for the store.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use thiserror::Error;

use crate::store::types::StoreError;

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store {} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that holds the lock, where it could be read.
        pid: Option<u32>,
    },
    /// The folder cannot be used.
    #[error("cannot use the folder {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The database belongs to another application.
    #[error("{} is a database of another application (application_id {id:#010x}); set store.path to a folder of its own", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// Its `application_id`.
        id: i32,
    },
    /// The database was written by a newer hooklatch.
    #[error("{} has schema {found}, written by a newer version of hooklatch; this version knows schemas up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// The file is no database, or is damaged.
    #[error("{} is damaged or no database ({error}); it was left as it is. Run `hooklatch store check`, then `hooklatch store recover`", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        error: String,
    },
    /// There is no room to bring the schema up to date.
    #[error("bringing {} up to date needs {needed} bytes of free space, the file system has {free}", path.display())]
    NoRoom {
        /// The database.
        path: PathBuf,
        /// The bytes that the migration may take.
        needed: u64,
        /// The bytes that are free.
        free: u64,
    },
    /// Anything else.
    #[error("cannot open {}: {error}", path.display())]
    Other {
        /// The database.
        path: PathBuf,
        /// The error.
        error: String,
    },
}

impl OpenError {
    /// The error for what SQLite says on opening `path`.
    pub fn sqlite(path: PathBuf, error: &rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, error: text },
            _ => Self::Other { path, error: text },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// The store's error for an error of SQLite in a running store.
pub fn store_error(error: &rusqlite::Error) -> StoreError {
    // The index of the log could not grow: the disk is full.
    if error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE) {
        return StoreError::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        // Another program, `sqlite3` say, is writing.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Slow,
        Some(ErrorCode::OperationInterrupted) => StoreError::TimedOut,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            let what = "the database is damaged; run `hooklatch store check`, then `hooklatch store recover`";
            StoreError::Failed(format!("{error}: {what}").into())
        }
        _ => StoreError::Failed(error.to_string().into()),
    }
}
