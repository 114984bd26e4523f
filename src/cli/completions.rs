//! `hooklatch completions SHELL`: prints a script that completes the command line in a shell.
//!
//! The script asks hooklatch for every completion, with [`VARIABLE`] in its environment. So a shell knows the commands and options
//! of the hooklatch that is installed, all schemes, and the routes of the configuration that the line names. Of the configuration
//! only the names of its routes are looked at, and no file that it names is opened.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::{Cli, Failure, written};
use crate::config;
use crate::schemes;

/// Set by the scripts: which shell asks.
const VARIABLE: &str = "HOOKLATCH_COMPLETE";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell that the script is for
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_else(|| Failure::Usage(format!("no completions for {shell}")))?;
    completer.write_registration(VARIABLE, "hooklatch", "hooklatch", "hooklatch", &mut script)?;
    if args.shell == Shell::Zsh {
        // zsh runs the file instead of a function when it completes the command for the first time.
        script.extend_from_slice(
            b"if [[ $funcstack[1] == _hooklatch ]]; then _clap_dynamic_completer_hooklatch \"$@\"; fi\n",
        );
    }
    written(io::stdout().write_all(&script))
}

/// Answers a shell that asks for completions, and ends the process. Returns if none does.
pub(super) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// The routes of the configuration that the line names.
pub(super) fn routes() -> Vec<CompletionCandidate> {
    let words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    config::route_names(&configuration(&words)).into_iter().map(CompletionCandidate::new).collect()
}

/// The names of all schemes, with the providers' names.
pub(super) fn schemes() -> Vec<CompletionCandidate> {
    let specs = schemes::names().filter_map(schemes::find);
    specs.map(|spec| CompletionCandidate::new(&spec.name).help(Some(spec.title.clone().into()))).collect()
}

/// The configuration that the words of a line name with `-c`, as the shell gives them.
fn configuration(words: &[OsString]) -> PathBuf {
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--config").or_else(|| word.strip_prefix("-c")) {
            // bash splits a word at `=`.
            Some("") => words.find(|word| *word != "="),
            Some(rest) if word.starts_with("--") => rest.strip_prefix('='),
            Some(rest) => Some(rest.trim_start_matches('=')),
            None => None,
        };
        if let Some(value) = value {
            return unabbreviated(value);
        }
    }
    PathBuf::from("gateway.yaml")
}

/// A path whose `~` the shell has not replaced yet.
fn unabbreviated(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_one_that_the_line_names() {
        for (line, expected) in [
            ("hooklatch send ", "gateway.yaml"),
            ("hooklatch send -c hooks.yaml ", "hooks.yaml"),
            ("hooklatch send -chooks.yaml ", "hooks.yaml"),
            ("hooklatch --log-level debug send --config hooks.yaml a", "hooks.yaml"),
            ("hooklatch send --config=hooks.yaml ", "hooks.yaml"),
            ("hooklatch send --config = hooks.yaml ", "hooks.yaml"),
            ("hooklatch send --configuration ", "gateway.yaml"),
            ("hooklatch send -c", "gateway.yaml"),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(configuration(&words), Path::new(expected), "{line}");
        }
    }
}
