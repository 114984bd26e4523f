//! Runs the commands of a page in order, and compares their output with the page.
//!
//! Each page has one shell, in a folder of its own that looks like a fresh clone. A fenced block with a file name after its
//! language is written to that file. In a block of the language `console`, each line that begins with `$ ` is a command, and
//! the lines after it are its whole output, on both streams. `…` stands for any text within a line, and on a line of its own
//! for any lines. A command must succeed, unless it ends with `echo` of its status.
//!
//! The last command of a block `console stays` keeps running until the end of the page. The page continues once the command
//! has printed the lines that the block shows. Blocks `console stays either` are alternatives; the page is run once with
//! each. A block `console no-run: REASON` is not run.
//!
//! The port numbers of the pages are replaced by free ones in commands, and restored in the output. `hooklatch` is the binary
//! under test, and logs as on a terminal.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use tempfile::TempDir;

use super::markdown::{Block, Document};
use crate::support::process::{BINARY, Process, poll};

/// The port numbers that pages may use.
const PORTS: [&str; 7] = ["8080", "9797", "8000", "1337", "4040", "8443", "9091"];
/// The range of free ports: below the ports of outgoing connections, above those of common services.
const FREE: std::ops::Range<u16> = 20_000..32_000;
/// The shell prints this after each command, followed by the exit status.
const DONE: &str = "--- done:";
/// The info of blocks that are alternatives.
const EITHER: &str = "stays either";
/// Stands for any text within a line, or for any lines.
const ANYTHING: char = '…';

/// The state of a page that is run.
struct Session {
    shell: Process,
    folder: TempDir,
    /// Each port of [`PORTS`] with the free port that replaces it.
    ports: Vec<(&'static str, String)>,
    /// The number of commands that keep running.
    staying: usize,
}

/// Runs a page, once for each of its alternatives. Returns the number of commands.
pub fn follow(page: &Document) -> usize {
    let blocks = page.blocks_of_any();
    if !blocks.iter().any(|block| block.language == "console" && reason(block).is_none()) {
        return 0;
    }
    let alternatives = blocks.iter().filter(|block| block.info == EITHER).count();
    (0..alternatives.max(1)).map(|choice| follow_one(page, &blocks, choice)).sum()
}

fn follow_one(page: &Document, blocks: &[Block], choice: usize) -> usize {
    let mut session = Session::start(&page.path.display().to_string());
    let (mut typed, mut alternative) = (0, 0);
    for block in blocks {
        match (block.language.as_str(), block.info.as_str()) {
            ("console", EITHER) => {
                if alternative == choice {
                    typed += session.type_in(block, true);
                }
                alternative += 1;
            }
            ("console", _) if reason(block).is_some() => {}
            ("console", "stays") => typed += session.type_in(block, true),
            ("console", "") => typed += session.type_in(block, false),
            ("console", other) => panic!("{}: what is {other:?}?", block.place),
            (_, "") => {}
            (language, file) => session.write(language, file, block),
        }
    }
    typed
}

/// The reason for which a block is not run, if it has one.
pub fn reason(block: &Block) -> Option<&str> {
    block.info.strip_prefix("no-run: ")
}

impl Session {
    fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if name != "target" && name != ".git" {
                symlink(path, folder.path().join(name)).unwrap();
            }
        }
        let programs = folder.path().join(".programs");
        fs::create_dir(&programs).unwrap();
        let wrapper = format!(
            "#!/bin/sh\ncase \" $* \" in *' --log-format '*) ;; *) set -- --log-format text \"$@\" ;; esac\n\
             exec '{BINARY}' \"$@\"\n"
        );
        let wrapped = programs.join("hooklatch");
        fs::write(&wrapped, wrapper).unwrap();
        fs::set_permissions(&wrapped, fs::Permissions::from_mode(0o755)).unwrap();

        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        // A process group of its own, so that commands that keep running end with the shell.
        command.arg("--norc").current_dir(folder.path()).env("PATH", path).env_remove("RUST_LOG").process_group(0);
        let mut shell = Process::start(name, &mut command, "The pages are done in bash.");
        shell.type_in("exec 2>&1");
        Self {
            shell,
            folder,
            ports: PORTS.into_iter().map(|port| (port, free_port().to_string())).collect(),
            staying: 0,
        }
    }

    /// Runs the commands of a block.
    fn type_in(&mut self, block: &Block, last_stays: bool) -> usize {
        let commands = commands(&block.text);
        assert!(!commands.is_empty(), "{}: nothing is typed", block.place);
        for (index, (typed, shown)) in commands.iter().enumerate() {
            if last_stays && index + 1 == commands.len() {
                self.stay(block, typed, shown);
            } else {
                let (printed, status) = self.run(&self.with_free_ports(typed));
                assert_shown(block, typed, shown, &printed);
                let told = typed.contains("; echo ");
                assert!(status == "0" || told, "{}: `{typed}` ended with {status}", block.place);
            }
        }
        commands.len()
    }

    /// Runs a command. Returns its output and its exit status.
    fn run(&mut self, command: &str) -> (Vec<String>, String) {
        self.shell.type_in(&format!("{{ {command}\n}} </dev/null; printf '\\n{DONE}%s\\n' $?"));
        let mut printed = Vec::new();
        let status = self.shell.wait_for(command, |_, line| {
            let status = line.strip_prefix(DONE).map(str::to_owned);
            if status.is_none() {
                printed.push(line.to_owned());
            }
            status
        });
        // The empty line before the status, if the command's output ended with a newline.
        if printed.last().is_some_and(String::is_empty) {
            printed.pop();
        }
        (printed.iter().map(|line| self.with_own_ports(line)).collect(), status)
    }

    /// Starts a command that keeps running, and waits until it has printed the lines that the page shows.
    fn stay(&mut self, block: &Block, typed: &str, shown: &[&str]) {
        self.staying += 1;
        let log = self.log(self.staying);
        let command = self.with_free_ports(typed);
        let (printed, status) = self.run(&format!("{command} >'{}' 2>&1 &", log.display()));
        assert_eq!((printed.as_slice(), status.as_str()), (&[][..], "0"), "{}: {typed}", block.place);
        assert!(!shown.is_empty(), "{}: what shows that `{typed}` has started?", block.place);
        let lines: Vec<&str> = shown.iter().copied().chain(["…"]).collect();
        poll(&format!("{}: `{typed}` prints {shown:#?}", block.place), || {
            let printed = fs::read_to_string(&log).unwrap_or_default();
            let printed: Vec<String> = printed.lines().map(|line| self.with_own_ports(line)).collect();
            are_shown(&lines, &printed)
        });
    }

    /// The file with the output of a command that keeps running.
    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!(".stays-{number}"))
    }

    /// Writes a file of the page.
    fn write(&self, language: &str, name: &str, block: &Block) {
        let path = self.folder.path().join(name);
        assert!(!name.contains(['/', ' ']), "{}: {name:?} is no file's name", block.place);
        let mut text = self.with_free_ports(&block.text);
        // Without these, the gateway would use its default ports, which may be taken.
        if language == "yaml" && text.contains("routes:") {
            for (section, address) in [("server", "0.0.0.0:8080"), ("admin", "127.0.0.1:9797")] {
                if !text.lines().any(|line| line.starts_with(&format!("{section}:"))) {
                    let address = self.with_free_ports(address);
                    text = format!("{section}: {{ listen: \"{address}\" }}\n{text}");
                }
            }
        }
        let _ = fs::remove_file(&path);
        fs::write(path, text).unwrap();
    }

    fn with_free_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (own, free)| replace_number(&text, own, free))
    }

    fn with_own_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (own, free)| replace_number(&text, free, own))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if thread::panicking() {
            for number in 1..=self.staying {
                eprintln!("{}", fs::read_to_string(self.log(number)).unwrap_or_default());
            }
        }
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("sh").args(["-c", "kill -s KILL -- \"$1\"", "sh", &group]).status();
    }
}

/// The commands of a block, each with the lines that follow it.
fn commands(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut commands: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let unfinished = commands.last_mut().filter(|(typed, shown)| typed.ends_with('\\') && shown.is_empty());
        if let Some(typed) = line.strip_prefix("$ ") {
            commands.push((typed.to_owned(), Vec::new()));
        } else if let Some((typed, _)) = unfinished {
            typed.push('\n');
            typed.push_str(line);
        } else if let Some((_, shown)) = commands.last_mut() {
            shown.push(line);
        }
    }
    commands
}

fn assert_shown(block: &Block, typed: &str, shown: &[&str], printed: &[String]) {
    let (expected, found) = (shown.join("\n"), printed.join("\n"));
    assert!(
        are_shown(shown, printed),
        "{}: `{typed}`\n--- is shown to print\n{expected}\n--- and prints\n{found}",
        block.place
    );
}

/// Whether the printed lines match the lines that the page shows.
fn are_shown(shown: &[&str], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, first) => first.is_none(),
        (Some((&"…", rest)), _) => (0..=printed.len()).any(|skipped| are_shown(rest, &printed[skipped..])),
        (Some(_), None) => false,
        (Some((line, shown)), Some((first, printed))) => is_shown(line, first) && are_shown(shown, printed),
    }
}

/// Whether a printed line matches the line that the page shows.
fn is_shown(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split(ANYTHING);
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// Replaces a number, unless it is part of a longer number or of a word.
fn replace_number(text: &str, number: &str, by: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(number) {
        let (before, after) = (&rest[..at], &rest[at + number.len()..]);
        let alone = !before.ends_with(|c: char| c.is_alphanumeric() || c == '.')
            && !after.starts_with(|c: char| c.is_alphanumeric());
        replaced.push_str(before);
        replaced.push_str(if alone { by } else { number });
        rest = after;
    }
    replaced + rest
}

/// A free port, which this process returns only once. Processes that start one after the other begin at distant ports.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id().wrapping_mul(7919) % u32::from(FREE.end - FREE.start)).unwrap();
    loop {
        let next = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % (FREE.end - FREE.start);
        let port = FREE.start + next;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn what_is_shown_is_compared_line_by_line() {
    let printed = ["a 12 b".to_owned(), "x".to_owned(), "y".to_owned()];
    for right in [&["a 12 b", "x", "y"][..], &["a … b", "…"], &["…", "y"], &["a 1… b", "…", "x", "y"]] {
        assert!(are_shown(right, &printed), "{right:?}");
    }
    for wrong in [&["a 12 b", "x"][..], &["a … c", "…"], &["…", "x"], &[], &["…", "z", "…"]] {
        assert!(!are_shown(wrong, &printed), "{wrong:?}");
    }
}

#[test]
fn a_block_is_taken_apart_into_what_is_typed_and_what_is_shown() {
    let text = "$ one \\\n    two\nshown\n$ three\n";
    assert_eq!(commands(text), [("one \\\n    two".to_owned(), vec!["shown"]), ("three".to_owned(), vec![])]);
}

#[test]
fn ports_are_exchanged_where_they_stand_alone() {
    assert_eq!(replace_number(":8080/ a8080 80801 0.8080 PORT=8080", "8080", "1"), ":1/ a8080 80801 0.8080 PORT=1");
}
