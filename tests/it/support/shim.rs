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
        command.args(["serve", "--log-format", "json", "--log-level", "info", "-c"]).arg(file);
        command.env_remove("RUST_LOG").env("LD_PRELOAD", self.path("shim.so"));
        GatewayProcess::start_command(command.env("HOOKLATCH_FAULTS", self.folder.path()))
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
