//! The `hooklatch` binary: parses arguments, hands to a command, and maps its errors to exit statuses.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    hooklatch::cli::Cli::parse().run()
}
