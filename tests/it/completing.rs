//! Completions as people get them: a line is typed into a real shell on a terminal, and the key for completions is pressed.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::support::process::BINARY;
use crate::support::tools::{succeeds, tool};

/// How long a shell may take: far more than it needs, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// What each shell shows when it is ready for a line.
const PROMPT: &str = "READY>";
/// The key that makes each shell print the line, between these.
const SHOW: &str = "\u{14}";
const SHOWN: (&str, &str) = ("line<", ">end");

/// What each shell reads at its start: how it prints its line, and the completions.
const BASH: &str = "PS1='READY>'\nset +o history\nbind 'set enable-bracketed-paste off'\n\
                    bind -x '\"\\C-t\": printf \"line<%s>end\\n\" \"$READLINE_LINE\"'\nsource ./script\n";
const ZSH: &str = "PROMPT='READY>'\nunsetopt PROMPT_SP PROMPT_CR\nfpath=($PWD/functions $fpath)\n\
                   autoload -U compinit\ncompinit -u -d $PWD/dump\n\
                   show() { print; print -r -- \"line<$BUFFER>end\" }\nzle -N show\nbindkey '^T' show\n";
const FISH: &str = "source ./script\nset -g fish_autosuggestion_enabled 0\nset -g fish_greeting\n\
                    function fish_prompt; echo -n 'READY>'; end\n\
                    function show; printf '\\nline<%s>end\\n' (commandline | string collect); end\nbind \\ct show\n";

/// A folder with configurations and a shell's settings.
fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let configuration = |route: &str| format!("routes:\n  - {{ name: {route}, scheme: civo }}\n");
    write("gateway.yaml", &configuration("first"));
    for file in ["other.yaml", "my dir/a b.yaml", "q\"uote.yaml", "x:b.yaml"] {
        write(file, &configuration("third"));
    }
    let script = succeeds(Command::new(BINARY).args(["completions", name]));
    match name {
        "bash" => write("bashrc", BASH),
        "zsh" => write(".zshrc", ZSH),
        _ => write("config.fish", FISH),
    }
    write(if name == "zsh" { "functions/_hooklatch" } else { "script" }, &script);
    folder
}

/// An interactive shell on a terminal of its own, and our end of that terminal.
struct Typist {
    shell: Child,
    terminal: fs::File,
    shown: Receiver<Vec<u8>>,
    seen: String,
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Typist {
    fn new(name: &str, folder: &Path) -> Option<Self> {
        let program = tool(name)?.get_program().to_owned();
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let end = || Stdio::from(fs::File::options().read(true).write(true).open(&path).unwrap());
        let path = format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
        // setsid makes the terminal the one that controls the shell.
        let mut command = tool("setsid")?;
        command.arg("--ctty").arg(program).args(match name {
            "bash" => &["--noprofile", "--rcfile", "./bashrc", "-i"][..],
            "zsh" => &["-d", "-i"],
            _ => &["--no-config", "-i", "-C", "source ./config.fish"],
        });
        command.current_dir(folder).env("PATH", path).env("HOME", folder).env("ZDOTDIR", folder);
        command.env("XDG_CONFIG_HOME", folder).env("XDG_DATA_HOME", folder).env("TERM", "vt100").env_remove("INPUTRC");
        let shell = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let terminal = fs::File::from(terminal);
        let (mut source, (sender, shown)) = (terminal.try_clone().unwrap(), mpsc::channel());
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            // Fails once no process has the terminal open.
            while let Ok(count @ 1..) = source.read(&mut bytes) {
                let _ = sender.send(bytes[..count].to_vec());
            }
        });
        Some(Self { shell, terminal, shown, seen: String::new() })
    }

    /// Reads until `last` has been shown: what came before it, from `first` on.
    fn wait_for(&mut self, first: &str, last: &str) -> String {
        loop {
            if let Some((_, after)) = self.seen.split_once(first)
                && let Some((between, _)) = after.split_once(last)
            {
                return between.to_owned();
            }
            let Ok(bytes) = self.shown.recv_timeout(DEADLINE) else {
                panic!("not shown: {last}. It showed: {:?}", self.seen)
            };
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

/// The line as it is after the key was pressed at its end. `None` without the shell.
fn completed(name: &str, folder: &Path, line: &str) -> Option<String> {
    let mut typist = Typist::new(name, folder)?;
    typist.wait_for(PROMPT, "");
    typist.terminal.write_all(format!("{line}\t{SHOW}").as_bytes()).unwrap();
    Some(typist.wait_for(SHOWN.0, SHOWN.1))
}

/// Checks pairs of a line and what the shell makes of it, in which `…` stands for the line.
#[track_caller]
fn check<'a>(name: &str, cases: impl Iterator<Item = &'a (&'a str, &'a str)>) {
    let folder = folder(name);
    for (line, expected) in cases {
        let Some(completed) = completed(name, folder.path(), line) else { return };
        assert_eq!(completed, expected.replace('…', line), "{name}: {line}");
    }
}

/// What all of them make of a line.
const ALIKE: [(&str, &str); 17] = [
    ("hooklatch che", "…ck "),
    ("hooklatch send fi", "…rst "),
    ("hooklatch sign --scheme gith", "…ub "),
    ("hooklatch sign --scheme=gith", "…ub "),
    ("hooklatch check -c oth", "…er.yaml "),
    ("hooklatch check --config=oth", "…er.yaml "),
    ("hooklatch check -c my", "…\\ dir/"),
    ("hooklatch check -c q", "…\\\"uote.yaml "),
    ("hooklatch check -c x", "…:b.yaml "),
    ("hooklatch send -c other.yaml th", "…ird "),
    ("hooklatch send -c ~/other.yaml th", "…ird "),
    ("hooklatch send --config=other.yaml th", "…ird "),
    ("hooklatch send -c 'my dir/a b.yaml' th", "…ird "),
    ("hooklatch send -c \"my dir/a b.yaml\" th", "…ird "),
    ("hooklatch send -c my\\ dir/a\\ b.yaml th", "…ird "),
    ("hooklatch send --config=my\\ dir/a\\ b.yaml th", "…ird "),
    ("hooklatch send -c x:b.yaml th", "…ird "),
];

#[test]
fn bash_completes_names_and_leaves_file_names_to_itself() {
    check("bash", ALIKE.iter().filter(|(line, _)| !line.ends_with(" x")));
    let files = [
        ("hooklatch send --body $HOME/oth", "…er.yaml "),
        ("hooklatch check -c ~/oth", "…er.yaml "),
        ("hooklatch check -c 'my d", "…ir'/"),
        ("hooklatch check -c my\\ d", "…ir/"),
        ("hooklatch check > oth", "…er.yaml "),
    ];
    let others = [("hooklatch sign --scheme='gith", "…ub' "), ("true | A=b hooklatch send fi", "…rst ")];
    check("bash", files.iter().chain(&others));
}

#[test]
fn zsh_and_fish_complete_names_and_quote_files() {
    check("zsh", ALIKE.iter().chain(&[("hooklatch check -c my\\ d", "…ir/")]));
    check("fish", ALIKE.iter().chain(&[("hooklatch check -c ~/oth", "…er.yaml ")]));
}
