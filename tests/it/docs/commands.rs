//! The commands that documents show, and `docs/commands.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use clap::{CommandFactory, Parser};
use hooklatch::cli::Cli;

use super::markdown::{Document, shell_commands, spans};
use super::read;

/// The page that has every command.
fn commands_page() -> Document {
    Document::read("docs/commands.md")
}

fn hooklatch(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hooklatch"));
    command.args(arguments).env_remove("RUST_LOG").output().unwrap()
}

/// The commands of a document that run hooklatch, each as the list of its arguments.
fn commands(document: &Document) -> Vec<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for block in document.blocks(&["console"]) {
        let text = block.text.replace("\\\n", " ");
        lines.extend(text.lines().filter_map(|line| {
            let typed = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "))?;
            Some(typed.to_owned())
        }));
    }
    // Another test checks the table of commands.
    let prose = document.prose();
    let prose: Vec<&str> = prose.lines().filter(|line| !line.starts_with("| `hooklatch ")).collect();
    lines.extend(spans(&prose.join("\n")).into_iter().filter(|span| !span.contains(['[', '\n'])));
    let run = lines.iter().flat_map(|line| shell_commands(line)).filter_map(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).take_while(|word| *word != ">").collect();
        match words.as_slice() {
            ["hooklatch", _, ..] => Some(words.iter().map(ToString::to_string).collect()),
            ["cargo", "run", rest @ ..] => {
                let after = rest.iter().skip_while(|word| **word != "--").skip(1);
                Some(["hooklatch"].iter().chain(after).map(ToString::to_string).collect())
            }
            _ => None,
        }
    });
    run.collect()
}

#[test]
fn every_command_that_is_shown_is_understood() {
    let mut run: Vec<Vec<String>> = Document::all().iter().flat_map(commands).collect();
    assert!(run.len() >= 10, "{run:?}");
    let unit = read("deploy/systemd/hooklatch.service");
    let starts = unit.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/"));
    let in_unit: Vec<Vec<String>> = starts.flat_map(shell_commands).collect();
    let dockerfile = read("deploy/Dockerfile");
    let in_image: Vec<Vec<String>> = dockerfile
        .lines()
        .filter_map(|line| line.trim().strip_prefix("CMD "))
        .map(|list| {
            let words: Vec<String> = serde_json::from_str(list).unwrap();
            // The entry point is the binary; a health check names it.
            let arguments = words.into_iter().filter(|word| word != "/usr/bin/hooklatch");
            ["hooklatch".to_owned()].into_iter().chain(arguments).collect()
        })
        .collect();
    assert_eq!((in_unit.len(), in_image.len()), (1, 2));
    run.extend(in_unit.into_iter().chain(in_image));
    for words in run {
        // Help and version are not errors.
        if let Err(error) = Cli::try_parse_from(&words)
            && error.use_stderr()
        {
            panic!("{words:?}: {error}");
        }
    }
}

#[test]
fn the_table_of_commands_is_that_of_the_command_line() {
    let cli = Cli::command();
    let documented: BTreeMap<String, BTreeSet<String>> =
        commands_page().table("Command").iter().map(|row| usage(row)).collect();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for command in cli.get_subcommands() {
        let actions: Vec<_> = command.get_subcommands().map(|action| (Some(action.get_name()), action)).collect();
        let of_itself = if actions.is_empty() { vec![(None, command)] } else { actions };
        for (action, leaf) in of_itself {
            let name = [Some(command.get_name()), action].into_iter().flatten().collect::<Vec<_>>().join(" ");
            known.insert(name, leaf.get_arguments().map(argument).collect());
        }
    }
    assert_eq!(documented, known);
    let text = commands_page().prose();
    for global in cli.get_arguments().filter(|argument| argument.is_global_set()) {
        assert!(text.contains(&format!("`--{}", global.get_long().unwrap())), "{global}");
    }
}

/// The command of a row and its arguments, with long names of options instead of short ones.
fn usage(row: &[String]) -> (String, BTreeSet<String>) {
    let words = row[0].replace("-c ", "--config ");
    let mut words = words.split(|c: char| "`[]()|… ".contains(c)).filter(|word| !word.is_empty()).skip(1).peekable();
    let mut name = words.next().unwrap().to_owned();
    // A command with actions of its own.
    if name == "store" {
        name = format!("{name} {}", words.next().unwrap());
    }
    let mut arguments = BTreeSet::new();
    while let Some(word) = words.next() {
        let value = words.next_if(|next| word.starts_with('-') && !next.starts_with('-'));
        arguments.insert([Some(word), value].into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    (name, arguments)
}

/// An argument in the form of the table: `ROUTE`, `--once`, `--url URL`.
fn argument(argument: &clap::Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let value = value.unwrap_or_else(|| argument.get_id().as_str().to_uppercase());
    match argument.get_long() {
        None => value,
        Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
    }
}

#[test]
fn the_exit_statuses_are_those_of_the_binary() {
    let documented: Vec<String> = commands_page().table("Exit status").into_iter().map(|row| row[0].clone()).collect();
    let seen = [
        hooklatch(&["schemes"]),
        hooklatch(&["sign", "--scheme", "civo", "--secret-file", "there-is-no-such-file"]),
        hooklatch(&["schemes", "nobody"]),
        hooklatch(&["check", "-c", "there-is-no-such-file"]),
    ];
    let seen: Vec<String> = seen.iter().map(|output| output.status.code().unwrap().to_string()).collect();
    assert_eq!(documented, seen);
    assert_eq!(hooklatch(&["no-such-command"]).status.code(), Some(2));
}

#[test]
fn the_demo_prints_what_is_shown() {
    let blocks = commands_page().blocks(&["text"]);
    let demo = blocks.iter().find(|block| block.text.starts_with("hooklatch demo:")).unwrap();
    let printed = hooklatch(&["demo", "--once"]);
    assert!(printed.status.success());
    assert_eq!(without_ports(&String::from_utf8(printed.stdout).unwrap()), without_ports(&demo.text));
}

/// Removes port numbers: the demo uses free ports if the usual ones are taken.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}
