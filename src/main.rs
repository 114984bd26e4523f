//! The `hooklatch` binary: parses arguments, hands to a command, and maps its errors to exit statuses.

use std::process::ExitCode;

/// Takes fewer instructions than the system's allocator, and gives memory back after a flood, which that one keeps. A
/// thread of jemalloc does this; with musl it has none, and memory is given back with the next requests.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    hooklatch::cli::Cli::of_process().run()
}
