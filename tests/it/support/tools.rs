//! Programs that tests run beside hooklatch. `scripts/test` installs them, those for the deployment under `target/tools`.
//!
//! Plain `cargo test` passes over a test whose program is missing, and prints which. `scripts/test` demands every program
//! that it could install.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by `scripts/test`: a missing program fails its test.
const REQUIRED: &str = "HOOKLATCH_TESTS_REQUIRE_TOOLS";
/// Names the programs that `scripts/test` could not install, separated by blanks. It says so in its last line.
const WITHOUT: &str = "HOOKLATCH_TESTS_WITHOUT";

/// The command, or `None` if the test is to be passed over.
///
/// # Panics
/// When it is missing and required.
pub fn tool(name: &str) -> Option<Command> {
    let found = find(name);
    if found.is_none() {
        pass_over(name);
    }
    found.map(Command::new)
}

/// Whether all these programs are installed; if one is missing, the test is to be passed over.
///
/// # Panics
/// When one is missing and required.
pub fn have(names: &[&str]) -> bool {
    names.iter().all(|name| tool(name).is_some())
}

/// Whether the packages of Node.js are installed that a folder of this repository lists, as `npm ci` does it; if not, the
/// test is to be passed over.
///
/// # Panics
/// When they are missing and required.
pub fn have_packages(folder: &str) -> bool {
    let packages = format!("{folder}/node_modules");
    let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&packages).is_dir();
    if !there {
        pass_over(&packages);
    }
    there
}

fn find(name: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let unpacked = ["usr/bin", "usr/sbin", "python/bin"].map(|folder| tools.join(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = unpacked.into_iter().chain(std::env::split_paths(&path)).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Says that the test, or a part of it, is passed over, past the capture of its output.
pub fn pass_over(missing: &str) {
    let without = std::env::var(WITHOUT).unwrap_or_default();
    let is_required = std::env::var_os(REQUIRED).is_some() && !without.split(' ').any(|name| name == missing);
    assert!(!is_required, "{missing} is not there. scripts/test installs it.");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("SKIPPED in {test}: {missing} is not there; scripts/test installs it\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Runs it to its end, which must be a success: what it said.
///
/// # Panics
/// When it fails, with what it said.
#[track_caller]
pub fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}
