//! `hooklatch man FOLDER`: writes the manual pages. They are made from the same description that parses the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, Failure, VERSION};

/// The exit statuses, as in docs/commands.md.
const EXIT_STATUSES: [(&str, &str); 4] = [
    ("0", "done"),
    ("1", "failed while running"),
    ("2", "wrong usage"),
    ("78", "the configuration is missing, unreadable or invalid"),
];

const FILES: [(&str, &str); 2] = [
    ("gateway.yaml", "the configuration, in the current folder; -c names another file"),
    ("/etc/hooklatch/gateway.yaml", "the configuration that packages install and their systemd unit uses"),
];

const ENVIRONMENT: [(&str, &str); 1] = [("RUST_LOG", "the log level or filter, unless --log-level overrides it")];

const SIGNALS: [(&str, &str); 2] = [
    ("TERM, INT", "close the listeners and let deliveries in flight finish; a second one stops the gateway at once"),
    ("HUP", "reload the configuration now"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write into; it is created if it does not exist
    folder: PathBuf,
}

/// Writes one page about hooklatch and one for each command.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let cannot =
        |path: &Path, error: &io::Error| Failure::Failed(format!("cannot write to {}: {error}", path.display()));
    fs::create_dir_all(&args.folder).map_err(|error| cannot(&args.folder, &error))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let whole = page(
        &command,
        &[("EXIT STATUS", &EXIT_STATUSES), ("ENVIRONMENT", &ENVIRONMENT), ("FILES", &FILES), ("SIGNALS", &SIGNALS)],
    );
    for page in command.get_subcommands().map(|command| page(command, &[])).chain([whole]) {
        let (name, text) = page?;
        let path = args.folder.join(name);
        fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
    }
    Ok(())
}

/// The name and the text of a command's page, with more sections, each a list of terms and their meanings.
fn page(command: &Command, sections: &[(&str, &[(&str, &str)])]) -> io::Result<(String, Vec<u8>)> {
    // An empty date would be omitted, and the next field would take its place.
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    // The examples get a section of their own, below.
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let described = command.clone().after_help(Resettable::Reset);
    let man = Man::new(described).title(title).date(" ").source(format!("hooklatch {VERSION}"));
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut more = Roff::new();
    more.control("SH", ["EXAMPLES"]);
    more.control("nf", []);
    for example in examples.lines().skip(1) {
        more.text([roman(example.trim())]);
    }
    more.control("fi", []);
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
