//! Completions for bash.
//!
//! bash gives a completion the words of the line with their quotes and split at `=` and `:`, and inserts what it gets without
//! quotes. So the script of this module hands over the line itself. File names are left to bash: it quotes them, and it knows
//! variables and `~`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, Command, ValueHint};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::EnvCompleter;

/// Takes the place of clap's own completer for bash, which passes words on as bash gives them.
pub(in crate::cli) struct Bash;

/// Set by the script: the end of the line that bash replaces.
const REPLACED: &str = "HOOKLATCH_COMPLETE_WORD";

/// Marks what stands for file names.
const FILE: &str = "file";

/// Also for bash 3.2, which macOS has: without mapfile, and `-o nosort` is not known before 4.4. With no match, bash offers
/// file names (`-o default`).
const SCRIPT: &str = r#"_NAME() {
    local match
    COMPREPLY=()
    while IFS= read -r match; do
        COMPREPLY+=("$match")
    done < <(REPLACED="$2" VAR=bash COMPLETER -- "${COMP_LINE:0:COMP_POINT}")
}
complete -o bashdefault -o default -o nosort -F _NAME BIN 2>/dev/null ||
    complete -o bashdefault -o default -F _NAME BIN
"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> io::Result<()> {
        let filled = [("NAME", name), ("BIN", bin), ("COMPLETER", completer), ("REPLACED", REPLACED), ("VAR", var)];
        let text = filled.iter().fold(SCRIPT.to_owned(), |text, (part, value)| text.replace(part, value));
        script.write_all(text.as_bytes())
    }

    /// The arguments are the words of the line, without quotes.
    fn write_complete(
        &self,
        command: &mut Command,
        arguments: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(last) = arguments.len().checked_sub(1) else { return Ok(()) };
        let word = arguments.get(last).and_then(|word| word.to_str()).unwrap_or_default().to_owned();
        let replaced = env::var(REPLACED).unwrap_or_default();
        // Of `--scheme=gi` only what is behind the `=`.
        let kept = word.strip_suffix(&words(&replaced).concat()).unwrap_or_default();
        let mut command = with_files_marked(std::mem::take(command));
        let offered = engine::complete(&mut command, arguments, last, folder)?;
        if offered.iter().any(|candidate| candidate.get_tag().is_some_and(|tag| tag.to_string() == FILE)) {
            return Ok(());
        }
        for candidate in offered {
            let value = candidate.get_value().to_string_lossy();
            writeln!(answer, "{}", value.strip_prefix(kept).unwrap_or(&value))?;
        }
        Ok(())
    }
}

/// The command, which offers one mark in the place of file names.
fn with_files_marked(command: Command) -> Command {
    let is_file = |argument: &Arg| {
        matches!(argument.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
    };
    let mark = |_: &OsStr| vec![CompletionCandidate::new("").tag(Some(FILE.into()))];
    command
        .mut_args(|argument| if is_file(&argument) { argument.add(ArgValueCompleter::new(mark)) } else { argument })
        .mut_subcommands(with_files_marked)
}

/// The words of a line that is being written, without their quotes. The last one is where the cursor is; it may be empty.
pub(in crate::cli) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_begun, mut quote) = (String::new(), false, None);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, char) if char.is_whitespace() => {
                if std::mem::take(&mut is_begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            (None, '\\') => word.extend(chars.next()),
            (Some('"'), '\\') => {
                // Within these quotes it is a character like others, but before these.
                let next = chars.next();
                if !matches!(next, Some('"' | '\\' | '$' | '`')) {
                    word.push('\\');
                }
                word.extend(next);
            }
            (_, char) => word.push(char),
        }
        is_begun = true;
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_and_unquoted_as_bash_does_it() {
        for (line, expected) in [
            ("", &[""][..]),
            ("hooklatch", &["hooklatch"]),
            ("hooklatch  send\t", &["hooklatch", "send", ""]),
            ("send -c 'my dir/a b.yaml' f", &["send", "-c", "my dir/a b.yaml", "f"]),
            ("send -c my\\ dir/a\\ b.yaml f", &["send", "-c", "my dir/a b.yaml", "f"]),
            ("send -c \"a \\\"b\\c\" '' f", &["send", "-c", "a \"b\\c", "", "f"]),
            ("send --config='a'\"b\"c:d=e ", &["send", "--config=abc:d=e", ""]),
            ("send 'not closed", &["send", "not closed"]),
            ("send 'a\\' b\\", &["send", "a\\", "b"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
