//! The programs of Debian's package `postgresql`, for tests and benchmarks.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user whom PostgreSQL runs as if root starts it: it refuses root. The package makes this user.
const UNPRIVILEGED: &str = "postgres";

/// The folder of the newest ones, which are not in the path.
pub fn folder() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib/postgresql").ok()?.map_while(Result::ok).map(|entry| entry.path());
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = folders.filter(|folder| folder.join("bin/initdb").exists()).max_by_key(version)?;
    Some(newest.join("bin"))
}

/// One of them, run as an unprivileged user. It is started if it is there.
pub fn unprivileged(name: &str) -> Command {
    let program = folder().unwrap_or_default().join(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={UNPRIVILEGED}"), &format!("--regid={UNPRIVILEGED}"), "--clear-groups"]);
    command.arg(program);
    command
}

/// Gives a folder to the user whom PostgreSQL runs as.
pub fn give(folder: &Path) -> io::Result<()> {
    let (user, is_given) = (UNPRIVILEGED, !is_root());
    if is_given || Command::new("chown").arg(user).arg(folder).status()?.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} cannot be given to {user}", folder.display())))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
