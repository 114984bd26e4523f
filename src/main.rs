//! The `hooklatch` binary: parses arguments, hands to a command, and maps its errors to exit statuses.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Bodies and buffers of all sizes come and go: takes fewer instructions for them than the system's allocator, and gives the
/// memory back when they have gone.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    hooklatch::cli::Cli::of_process().run()
}
