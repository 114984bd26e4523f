//! `hooklatch completions SHELL`: prints a script that completes the command line in a shell. It is made from the same
//! description that parses the command line.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, written};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell that the script is for
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hooklatch", &mut script);
    written(io::stdout().write_all(&script))
}
