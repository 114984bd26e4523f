//! What the long runs of `scripts/soak` share.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::process::BINARY;

/// Set by `scripts/soak`: which binary runs, instead of the one that is tested.
const RELEASED: &str = "HOOKLATCH_SOAK_BINARY";

/// Serves the configuration in `file`, by the binary of the run.
pub fn serve(file: &Path) -> Command {
    let mut command = Command::new(std::env::var_os(RELEASED).unwrap_or_else(|| BINARY.into()));
    command.args(["serve", "--log-format", "json", "--log-level", "info", "-c"]).arg(file).env_remove("RUST_LOG");
    command
}

/// Says on drop that it is over: also after a failed assertion, so that senders end.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
