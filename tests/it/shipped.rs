//! What packages ship beside the binary: completions for shells, manual pages.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use hooklatch::cli::Cli;
use tempfile::TempDir;

use crate::support::process::BINARY;
use crate::support::tools::{succeeds, tool};

fn completions(shell: &str) -> String {
    succeeds(Command::new(BINARY).args(["completions", shell]))
}

fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// A shell that has hooklatch and its completions, in a folder with two configurations.
struct Shell {
    program: OsString,
    arguments: &'static [&'static str],
    folder: TempDir,
}

/// Stands in a configuration, and must not be offered.
const CANARY: &str = "a-secret-that-stands-in-the-file";

impl Shell {
    /// `None` without the shell.
    fn new(name: &str, arguments: &'static [&'static str]) -> Option<Self> {
        let program = tool(name)?.get_program().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
        write("script", &completions(name));
        let route = |name: &str| format!("  - {{ name: {name}, scheme: civo, secrets: [{{ file: missing }}] }}\n");
        write("gateway.yaml", &format!("routes:\n{}{}", route("first"), route("second")));
        // It has errors, too, and a secret in the wrong place.
        let wrong = format!("  - {{ name: 'A B', secrets: [{CANARY}] }}\n  - {CANARY}\n{CANARY}: 1\n");
        write("other.yaml", &format!("routes:\n{}{wrong}", route("third")));
        Some(Self { program, arguments, folder })
    }

    /// What a program in the shell's language prints. It is given a line to complete; a blank at its end begins a new word.
    fn ask(&self, program: &str, line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let asked = program.replace("@LINE", line).replace("@WORDS", &words.join(" "));
        let path = format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new(&self.program);
        shell.args(self.arguments).arg("-c").arg(asked).env("PATH", path).env("HOME", self.folder.path());
        let said = succeeds(shell.current_dir(self.folder.path()).stdin(Stdio::null()));
        assert!(!said.contains(CANARY), "{line}: {said}");
        said
    }
}

const BASH: &str = "source ./script; COMP_LINE='@LINE'; COMP_POINT=${#COMP_LINE}; \
                    _hooklatch hooklatch \"${COMP_LINE##* }\"; \
                    for word in \"${COMPREPLY[@]}\"; do echo \"$word\"; done";
const FISH: &str = "source ./script; complete -C '@LINE'";
/// As `compinit` finds the file, for the first completion of a shell; what it offers is printed.
const ZSH: &str = "compdef() { : }; _describe() { print -l -- ${(P)3} }; cp script _hooklatch; fpath=(. $fpath); \
                   autoload -U _hooklatch; words=(@WORDS); CURRENT=$#words; _hooklatch";

/// Each with arguments that keep it from reading the user's settings, and the program that asks it.
const SHELLS: [(&str, &[&str], &str); 3] =
    [("bash", &["--norc"], BASH), ("fish", &["--no-config"], FISH), ("zsh", &["-f"], ZSH)];

#[test]
fn completions_know_the_routes_of_the_configuration_on_the_line_and_all_schemes() {
    for (name, arguments, program) in SHELLS {
        let Some(shell) = Shell::new(name, arguments) else { continue };
        // Some shells show what it is behind the word.
        let complete = |line: &str| {
            let said = shell.ask(program, line);
            said.lines().map(|line| line.split(['\t', ':', ' ']).next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(complete("hooklatch che"), ["check"], "{name}");
        assert_eq!(complete("hooklatch serve --conf"), ["--config"], "{name}");
        // bash completes file names itself.
        let file = if name == "bash" { &[][..] } else { &["other.yaml"] };
        assert_eq!(complete("hooklatch serve --config oth"), file, "{name}");
        for command in ["send", "explain", "listen", "pause", "resume"] {
            assert_eq!(complete(&format!("hooklatch {command} f")), ["first"], "{name}");
            let all = complete(&format!("hooklatch {command} "));
            assert!(all.starts_with(&["first".to_owned(), "second".to_owned()]), "{name}: {all:?}");
            assert_eq!(complete(&format!("hooklatch {command} -c other.yaml t")), ["third"], "{name}");
            assert_eq!(complete(&format!("hooklatch {command} -c ~/other.yaml t")), ["third"], "{name}");
        }
        assert_eq!(complete("hooklatch send -c missing.yaml f"), [""; 0], "{name}");
        for before in ["init", "init github", "sign --scheme", "schemes", "conformance"] {
            assert_eq!(complete(&format!("hooklatch {before} civ")), ["civo"], "{name}");
        }
    }
}

#[test]
fn completions_offer_every_command_and_every_shell_has_some() {
    let Some(shell) = Shell::new("bash", &["--norc"]) else { return };
    let offered = shell.ask(BASH, "hooklatch ");
    let offered: BTreeSet<&str> = offered.lines().collect();
    for command in commands() {
        assert!(offered.contains(command.as_str()), "{command}: {offered:?}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = completions(shell);
        assert!(script.contains("hooklatch") && script.contains("HOOKLATCH_COMPLETE"), "{shell}: {script}");
    }
}

/// The pages, in a folder.
fn pages(folder: &Path) -> BTreeSet<String> {
    assert_eq!(succeeds(Command::new(BINARY).arg("man").arg(folder.join("man1"))), "");
    let files = fs::read_dir(folder.join("man1")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let expected: BTreeSet<String> =
        commands().iter().map(|command| format!("hooklatch-{command}.1")).chain(["hooklatch.1".to_owned()]).collect();
    assert_eq!(pages(folder.path()), expected);
    let whole = fs::read_to_string(folder.path().join("man1/hooklatch.1")).unwrap();
    for part in [".SH \"EXIT STATUS\"", "\\fB78\\fR", ".SH FILES", ".SH SIGNALS", "RUST_LOG", hooklatch::REVISION] {
        assert!(whole.contains(part), "{part}: {whole}");
    }
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let page = fs::read_to_string(folder.path().join(format!("man1/hooklatch-{name}.1"))).unwrap();
        let (_, notes) = page.split_once(&format!(".SH EXAMPLES\n.nf\nhooklatch {name}")).expect(&page);
        let headings: Vec<&str> = notes.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let mut expected = vec!["\"EXIT STATUS\"", "ENVIRONMENT"];
        let below = command.get_subcommands().flat_map(clap::Command::get_arguments);
        let has_configuration = command.get_arguments().chain(below).any(|argument| argument.get_id() == "config");
        if has_configuration {
            expected.push("FILES");
        }
        if ["serve", "demo", "tail", "listen", "replay"].contains(&name) {
            expected.push("SIGNALS");
        }
        expected.push("\"SEE ALSO\"");
        assert_eq!(headings, expected, "{page}");
        assert!(page.ends_with(".SH \"SEE ALSO\"\n.BR hooklatch (1)\n"), "{page}");
        assert!(whole.contains(&format!("\n.BR hooklatch\\-{name} (1)")), "{name}: {whole}");
        let of_configuration = ["78", "gateway.yaml"].into_iter().filter(|_| has_configuration);
        for term in ["0", "1", "2", "RUST_LOG"].into_iter().chain(of_configuration) {
            let found = notes.lines().filter(|line| *line == format!("\\fB{term}\\fR"));
            assert_eq!(found.count(), 1, "{term}: {page}");
        }
    }
}

#[test]
fn man_shows_the_pages_without_a_warning() {
    let Some(mandoc) = tool("mandoc") else { return };
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()) {
        let page = folder.path().join("man1").join(page);
        let text = succeeds(Command::new(mandoc.get_program()).args(["-T", "html"]).arg(&page));
        assert!(text.contains("id=\"SYNOPSIS\"") && text.contains("<b>hooklatch"), "{text}");
        // Its own report: a date is left out on purpose, and clap_mangen doubles line breaks.
        let lint =
            Command::new(mandoc.get_program()).args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        let lint = String::from_utf8(lint.stdout).unwrap();
        let known = ["date", "skipping paragraph macro: br"];
        let other: Vec<&str> = lint.lines().filter(|line| !known.iter().any(|known| line.contains(known))).collect();
        assert!(other.is_empty(), "{other:#?}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_ends_man_with_1() {
    let output = Command::new(BINARY).args(["man", "/dev/null/man1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("hooklatch: cannot write to /dev/null/man1: "));
}
