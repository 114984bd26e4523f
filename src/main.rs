//! The `hooklatch` binary: parses arguments, hands to a command, and maps its errors to exit statuses.

use std::process::ExitCode;

/// Bodies and buffers of all sizes come and go: takes fewer instructions for them than the system's allocator, and gives the
/// memory back when they have gone; by a thread of its own, but with musl, where that waits for the next request.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    hooklatch::cli::Cli::of_process().run()
}
