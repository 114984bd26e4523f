//! The `hooklatch` binary. [`hooklatch::cli`] parses the arguments, runs the command, and sets the exit status.

use std::process::ExitCode;

/// jemalloc takes fewer instructions than the system's allocator, and returns memory to the system after a flood. A thread of
/// jemalloc returns it; with musl jemalloc has no such thread and returns memory during later requests. It is measured on Linux
/// alone, so other systems keep their allocator.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    hooklatch::cli::Cli::of_process().run()
}
