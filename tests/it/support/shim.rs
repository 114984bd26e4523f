//! Faults of the disk and jumps of the wall clock for a gateway in a process of its own: a small library in C that the
//! gateway's process loads first. See `faults/shim.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::{BINARY, GatewayProcess};
use super::served::replace;
use super::tools::{succeeds, tool};

/// The library, and the folder by which it is told what to do.
pub struct Shim {
    folder: TempDir,
}

impl Shim {
    /// Compiles it; `None` without a C compiler: the test is then to be passed over.
    pub fn compile() -> Option<Self> {
        let mut compiler = tool("cc")?;
        let shim = Self { folder: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let options = ["-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"];
        succeeds(compiler.args(options).arg(shim.path("shim.so")).arg(source));
        Some(shim)
    }

    /// Starts the gateway with it.
    pub fn serve(&self, file: &Path) -> GatewayProcess {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--log-format", "json", "--log-level", "info", "-c"]).arg(file).env_remove("RUST_LOG");
        GatewayProcess::start_command(self.in_front_of(&mut command))
    }

    /// Has a program load it.
    pub fn in_front_of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", self.path("shim.so")).env("HOOKLATCH_FAULTS", self.folder.path())
    }

    /// From now on, what is synced is kept for [`Shim::lose_power`].
    pub fn keep_synced(&self) {
        fs::create_dir(self.path("synced")).unwrap();
    }

    /// Brings each file of a store back to what was synced of it last. The gateway must have ended.
    pub fn lose_power(&self, store: &Path) {
        for file in fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path()) {
            if !file.ends_with("hooklatch.lock") {
                fs::remove_file(file).unwrap();
            }
        }
        for name in ["hooklatch.db", "hooklatch.db-wal"] {
            let synced = self.path("synced").join(name);
            if synced.exists() {
                fs::copy(synced, store.join(name)).unwrap();
            }
        }
    }

    /// From now on these faults happen and no others, a line each.
    pub fn set(&self, faults: &str) {
        replace(&self.path("faults"), &format!("{faults}\n"));
    }

    /// What it has noted so far.
    pub fn notes(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Whether a line is noted after the first `since` ones.
    pub fn has_noted(&self, since: usize, line: &str) -> bool {
        self.notes().iter().skip(since).any(|noted| noted == line)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
