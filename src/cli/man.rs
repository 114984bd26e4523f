//! `hooklatch man FOLDER`: the manual pages, from the description of the command line that is parsed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, Failure, VERSION};

/// What the exit statuses mean, as README.md has it.
const EXIT_STATUSES: [(&str, &str); 4] = [
    ("0", "done"),
    ("1", "failed while running"),
    ("2", "wrong usage"),
    ("78", "the configuration is missing, unreadable or invalid"),
];

const FILES: [(&str, &str); 2] = [
    ("gateway.yaml", "the configuration, in the current folder; another one by -c"),
    ("/etc/hooklatch/gateway.yaml", "the one that packages install, and that their systemd unit takes"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write into; it is made if it is not there
    folder: PathBuf,
}

/// Writes a page for the whole and one for each command.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let cannot =
        |path: &Path, error: &io::Error| Failure::Failed(format!("cannot write to {}: {error}", path.display()));
    fs::create_dir_all(&args.folder).map_err(|error| cannot(&args.folder, &error))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let whole = page(&command, &[("EXIT STATUS", &EXIT_STATUSES), ("FILES", &FILES)]);
    for page in command.get_subcommands().map(|command| page(command, &[])).chain([whole]) {
        let (name, text) = page?;
        let path = args.folder.join(name);
        fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
    }
    Ok(())
}

/// The name of a command's page and its text, with sections of terms that the command line does not describe.
fn page(command: &Command, sections: &[(&str, &[(&str, &str)])]) -> io::Result<(String, Vec<u8>)> {
    // An empty date would be left out, and what follows take its place.
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    let man = Man::new(command.clone()).title(title).date(" ").source(format!("hooklatch {VERSION}"));
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut more = Roff::new();
    for (heading, terms) in sections {
        more.control("SH", [*heading]);
        for (term, meaning) in *terms {
            more.control("TP", []);
            more.text([bold(*term)]);
            more.text([roman(*meaning)]);
        }
    }
    more.to_writer(&mut text)?;
    Ok((man.get_filename(), text))
}
