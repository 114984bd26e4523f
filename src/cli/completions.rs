//! `hooklatch completions SHELL`: prints a script that completes the command line in a shell.
//!
//! The script asks hooklatch for every completion, with [`VARIABLE`] in its environment. So a shell knows the commands and options
//! of the hooklatch that is installed, all schemes, and the routes of the configuration that the line names. Of the configuration
//! only the names of its routes are looked at, and no file that it names is opened.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::CommandFactory;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Elvish, Fish, Powershell, Shells, Zsh};
use clap_complete::{CompleteEnv, Shell};

use super::support::bash::{self, Bash};
use super::{Cli, Failure, written};
use crate::config;
use crate::schemes;

/// Set by the scripts: which shell asks.
const VARIABLE: &str = "HOOKLATCH_COMPLETE";

const SHELLS: Shells<'static> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// The words of the line that is completed, without quotes.
static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell that the script is for
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    let shell = args.shell.to_string();
    let completer = SHELLS.completer(&shell).ok_or_else(|| Failure::Usage(format!("no completions for {shell}")))?;
    completer.write_registration(VARIABLE, "hooklatch", "hooklatch", "hooklatch", &mut script)?;
    if args.shell == Shell::Zsh {
        script = for_zsh(&String::from_utf8_lossy(&script)).into_bytes();
    }
    written(io::stdout().write_all(&script))
}

/// clap's script passes the words of the line with their quotes. And zsh runs the file instead of a function when it completes the
/// command for the first time.
fn for_zsh(script: &str) -> String {
    let unquoted = script.replace("\"${words[@]}\"", "\"${(Q@)words}\"");
    format!("{unquoted}if [[ $funcstack[1] == _hooklatch ]]; then _clap_dynamic_completer_hooklatch \"$@\"; fi\n")
}

/// Answers a shell that asks for completions. `false` if none does.
///
/// # Errors
/// The variable names no shell, or the answer cannot be written.
pub(super) fn answer() -> Result<bool, clap::Error> {
    let Some(shell) = env::var_os(VARIABLE) else { return Ok(false) };
    let mut words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    if shell == "bash"
        && let [line] = words.as_slice()
    {
        words = bash::words(&line.to_string_lossy()).into_iter().map(OsString::from).collect();
    }
    let words = WORDS.get_or_init(|| words);
    let arguments = ["hooklatch".into(), "--".into()].into_iter().chain(words.iter().cloned());
    let folder = env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).shells(SHELLS).try_complete(arguments, folder.as_deref())
}

/// The routes of the configuration that the line names.
pub(super) fn routes() -> Vec<CompletionCandidate> {
    let path = configuration(WORDS.get().map_or(&[], Vec::as_slice));
    config::route_names(&path).into_iter().map(CompletionCandidate::new).collect()
}

/// The names of all schemes, with the providers' names.
pub(super) fn schemes() -> Vec<CompletionCandidate> {
    let specs = schemes::names().filter_map(schemes::find);
    specs.map(|spec| CompletionCandidate::new(&spec.name).help(Some(spec.title.clone().into()))).collect()
}

/// The configuration that the words of a line name with `-c`.
fn configuration(words: &[OsString]) -> PathBuf {
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--config").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next(),
            Some(rest) if word.starts_with("--") => rest.strip_prefix('='),
            Some(rest) => Some(rest.strip_prefix('=').unwrap_or(rest)),
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
            ("hooklatch send -c=hooks.yaml ", "hooks.yaml"),
            ("hooklatch send --configuration ", "gateway.yaml"),
            ("hooklatch send -c", "gateway.yaml"),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(configuration(&words), Path::new(expected), "{line}");
        }
    }
}
