//! `hooklatch man FOLDER`: writes the manual pages. They are made from the same description that parses the command line, and from
//! what stands at the end of each `--help`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::notes::{COMMON, GENERAL, OF_CONFIGURATION};
use super::{Cli, Failure, VERSION};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write into; it is created if it does not exist
    folder: PathBuf,
}

/// A section of the help: its heading, and its lines without the indent.
struct Section<'a> {
    heading: &'a str,
    lines: Vec<&'a str>,
}

/// Writes one page about hooklatch and one for each command.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let cannot =
        |path: &Path, error: &io::Error| Failure::Failed(format!("cannot write to {}: {error}", path.display()));
    fs::create_dir_all(&args.folder).map_err(|error| cannot(&args.folder, &error))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let whole = [command.get_name()];
    let subcommands = command.get_subcommands().map(|command| {
        let below = command.get_subcommands().flat_map(Command::get_arguments);
        let has_configuration = command.get_arguments().chain(below).any(|argument| argument.get_id() == "config");
        let more = if has_configuration { &OF_CONFIGURATION[..] } else { &[] };
        page(command, &[&COMMON[..], more].concat(), &whole)
    });
    let others: Vec<&str> = command.get_subcommands().filter_map(Command::get_display_name).collect();
    for page in subcommands.chain([page(&command, &[], &others)]) {
        let (name, text) = page?;
        let path = args.folder.join(name);
        fs::write(&path, text).map_err(|error| cannot(&path, &error))?;
    }
    Ok(())
}

/// The name and the text of a command's page. `more` are terms of the general help that hold for this command too; `others` are the
/// names of pages to read as well.
fn page(command: &Command, more: &[&str], others: &[&str]) -> io::Result<(String, Vec<u8>)> {
    // An empty date would be omitted, and the next field would take its place.
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    // The notes get sections of their own, below.
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let described = command.clone().after_help(Resettable::Reset);
    let man = Man::new(described).title(title).date(" ").source(format!("hooklatch {VERSION}"));
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut roff = Roff::new();
    for Section { heading, lines } in with_more(&sections(&notes), more) {
        roff.control("SH", [heading.to_uppercase().as_str()]);
        if heading == "Examples" {
            roff.control("nf", []);
            for line in lines {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
            continue;
        }
        for (term, meaning) in lines.into_iter().map(entry) {
            roff.control("TP", []);
            roff.text([bold(term)]);
            roff.text([roman(meaning)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    for (index, name) in others.iter().enumerate() {
        let end = if index + 1 < others.len() { "(1)," } else { "(1)" };
        roff.control("BR", [name.replace('-', "\\-").as_str(), end]);
    }
    roff.to_writer(&mut text)?;
    Ok((man.get_filename(), text))
}

/// The sections of a help's end.
fn sections(notes: &str) -> Vec<Section<'_>> {
    let blocks = notes.split("\n\n").filter_map(|block| block.split_once(":\n"));
    blocks.map(|(heading, lines)| Section { heading, lines: lines.lines().map(str::trim).collect() }).collect()
}

/// The term of a line and its meaning.
fn entry(line: &str) -> (&str, &str) {
    let (term, meaning) = line.split_once("  ").unwrap_or((line, ""));
    (term, meaning.trim_start())
}

/// The sections in the order of the general help, with those of its terms that `more` names and they do not have.
fn with_more<'a>(own: &[Section<'a>], more: &[&str]) -> Vec<Section<'a>> {
    let mut whole = sections(GENERAL);
    for section in &mut whole {
        let own = own.iter().find(|own| own.heading == section.heading);
        let mut lines = own.map(|own| own.lines.clone()).unwrap_or_default();
        let is_missing = |line: &&str| {
            let (term, _) = entry(line);
            more.contains(&term) && !lines.iter().any(|own| entry(own).0 == term)
        };
        let missing: Vec<&str> = section.lines.iter().copied().filter(is_missing).collect();
        lines.extend(missing);
        section.lines = lines;
    }
    whole.retain(|section| !section.lines.is_empty());
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_at_the_end_of_a_help_is_an_example_or_a_term_with_its_meaning() {
        let mut command = Cli::command();
        command.build();
        let headings: Vec<&str> = sections(GENERAL).iter().map(|section| section.heading).collect();
        assert_eq!(headings, ["Examples", "Exit status", "Environment", "Files", "Signals"]);
        let commands = command.get_subcommands().filter(|command| command.get_name() != "help");
        for command in commands.chain([&command]) {
            let notes = command.get_after_help().unwrap().to_string();
            let found = sections(&notes);
            assert_eq!(found.len(), notes.split("\n\n").count(), "{notes}");
            assert_eq!(found[0].heading, "Examples");
            // The page has them in this order.
            let place = |own: &Section<'_>| headings.iter().position(|heading| *heading == own.heading).unwrap();
            assert!(found.iter().map(place).is_sorted(), "{notes}");
            for line in found.iter().skip(1).flat_map(|section| &section.lines) {
                let (term, meaning) = entry(line);
                assert!(!term.is_empty() && !meaning.is_empty() && line.len() <= 100, "{line}");
            }
        }
        for term in [COMMON, OF_CONFIGURATION].concat() {
            assert!(sections(GENERAL).iter().any(|section| section.lines.iter().any(|line| entry(line).0 == term)));
        }
    }
}
