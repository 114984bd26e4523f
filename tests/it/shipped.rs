//! What packages ship beside the binary: completions for shells, manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use hooklatch::cli::Cli;

use crate::support::process::BINARY;
use crate::support::tools::{succeeds, tool};

fn completions(shell: &str) -> String {
    succeeds(Command::new(BINARY).args(["completions", shell]))
}

fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn completions_know_every_command_in_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = completions(shell);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("hooklatch.bash");
    fs::write(&script, completions("bash")).unwrap();
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ask = format!(
            "set -eu; source {}; COMP_WORDS=({}); COMP_CWORD={}; _hooklatch hooklatch '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        succeeds(Command::new("bash").args(["--norc", "-c", &ask]).stdin(Stdio::null()))
    };
    assert_eq!(complete("hooklatch che"), "check\n");
    assert_eq!(complete("hooklatch serve --conf"), "--config\n");
    assert_eq!(complete("hooklatch send --ur"), "--url\n");
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
    for command in commands() {
        let page = fs::read_to_string(folder.path().join(format!("man1/hooklatch-{command}.1"))).unwrap();
        assert!(page.contains(&format!(".SH EXAMPLES\n.nf\nhooklatch {command}")), "{page}");
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
