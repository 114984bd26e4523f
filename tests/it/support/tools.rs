//! Programs that the deployment is tested with. `scripts/test` puts them under `target/tools`.

use std::path::Path;
use std::process::Command;

/// Names those that `scripts/test` could not install, separated by blanks. It says so in its last line.
const WITHOUT: &str = "HOOKLATCH_TESTS_WITHOUT";

/// The command, or `None` if `scripts/test` could not install it.
///
/// # Panics
/// When it is not there and `scripts/test` does not know about it.
pub fn tool(name: &str) -> Option<Command> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let unpacked = ["usr/bin", "usr/sbin", "python/bin"].map(|folder| tools.join(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = unpacked.into_iter().chain(std::env::split_paths(&path)).chain(["/usr/sbin".into()]);
    if let Some(found) = folders.map(|folder| folder.join(name)).find(|file| file.is_file()) {
        return Some(Command::new(found));
    }
    let without = std::env::var(WITHOUT).unwrap_or_default();
    assert!(without.split(' ').any(|missing| missing == name), "{name} is not there. Run scripts/test, which gets it.");
    eprintln!("SKIPPED: {name} could not be installed");
    None
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
