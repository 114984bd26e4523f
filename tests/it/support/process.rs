//! Child processes of the tests: the gateway's own binary and the handlers behind it.
//!
//! A process is ready when it says so on its output; nothing here sleeps. What it prints is read by a thread a stream,
//! so that a full pipe never stalls it. It is killed when its value is dropped; when the test has failed, its last lines are shown.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

/// How long a process may take to say that it is ready, or to end: far more than it needs, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// How many of its last lines are shown when a test fails.
const LAST: usize = 200;

/// The binary that is tested.
pub const BINARY: &str = env!("CARGO_BIN_EXE_hooklatch");

/// Which of a process's streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A running child process. Its standard input stays open as long as this value lives.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<(Stream, String)>,
    printed: Vec<(Stream, String)>,
}

/// The gateway, serving; `server` and `admin` are the addresses that it listens on.
pub struct GatewayProcess {
    pub process: Process,
    pub server: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts `command`; `name` stands in the message of a failure.
    ///
    /// # Panics
    /// When it cannot be started, with `hint`.
    pub fn start(name: &str, command: &mut Command, hint: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}. {hint}"));
        let (sender, lines) = mpsc::channel();
        read_lines(Stream::Stdout, child.stdout.take().unwrap(), sender.clone());
        read_lines(Stream::Stderr, child.stderr.take().unwrap(), sender);
        Self { name: name.to_owned(), child, lines, printed: Vec::new() }
    }

    /// Starts a command whose stdout is a terminal, and with `stderr` that too: both are then read as [`Stream::Stdout`].
    pub fn start_on_terminal(name: &str, command: &mut Command, stderr: bool) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let end = || fs::File::options().read(true).write(true).open(&path).unwrap();
        command.stdin(Stdio::piped()).stdout(end());
        command.stderr(if stderr { end().into() } else { Stdio::piped() });
        let mut child = command.spawn().unwrap();
        // The command's own ends would keep the terminal open.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (sender, lines) = mpsc::channel();
        read_lines(Stream::Stdout, fs::File::from(terminal), sender.clone());
        if let Some(stderr) = child.stderr.take() {
            read_lines(Stream::Stderr, stderr, sender);
        }
        Self { name: name.to_owned(), child, lines, printed: Vec::new() }
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When it has closed it.
    pub fn type_in(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// Reads on until `pick` takes something from a line.
    ///
    /// # Panics
    /// When the process ends first or the deadline passes, with all that it printed.
    pub fn wait_for<T>(&mut self, what: &str, mut pick: impl FnMut(Stream, &str) -> Option<T>) -> T {
        let deadline = now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok((stream, line)) => {
                    let picked = pick(stream, &line);
                    self.printed.push((stream, line));
                    if let Some(picked) = picked {
                        return picked;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("did not print {what} within {DEADLINE:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended before it printed {what}")),
            }
        }
    }

    /// The next line that it has printed; `None` if there is none yet.
    pub fn try_line(&mut self) -> Option<String> {
        let line = self.lines.try_recv().ok()?;
        self.printed.push(line.clone());
        Some(line.1)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When the process has not ended within the deadline.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Its number for the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id]).status().unwrap();
        assert!(sent.success(), "cannot send SIG{name} to {}", self.name);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When the process has not ended within the deadline.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(line) => self.printed.push(line),
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("did not end within {DEADLINE:?}")),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
            }
        }
    }

    /// Whether a line of what it has printed so far has these words.
    pub fn has_printed(&mut self, words: &str) -> bool {
        self.printed.extend(self.lines.try_iter());
        self.printed.iter().any(|(_, line)| line.contains(words))
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What has been read so far of what it printed on a stream; after [`Process::wait`], all of it.
    pub fn printed(&self, stream: Stream) -> Vec<&str> {
        self.printed.iter().filter(|(from, _)| *from == stream).map(|(_, line)| line.as_str()).collect()
    }

    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let status = self.child.wait();
        let printed: Vec<String> = self.printed.iter().map(|(stream, line)| format!("  {stream:?}: {line}")).collect();
        panic!("{} {what} ({status:?}). It printed:\n{}", self.name, printed.join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.printed.extend(self.lines.try_iter());
            let last = self.printed.len().saturating_sub(LAST);
            for (stream, line) in &self.printed[last..] {
                eprintln!("{} {stream:?}: {line}", self.name);
            }
        }
    }
}

impl GatewayProcess {
    /// Serves the configuration in `file`; returns once both listeners take connections.
    pub fn start(file: &Path) -> Self {
        Self::start_with(file, &["--log-format", "json", "--log-level", "info"])
    }

    /// The same with arguments of the test's own, which must leave the log as JSON and at level info or more.
    pub fn start_with(file: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("serve").args(arguments).arg("-c").arg(file).env_remove("RUST_LOG");
        Self::start_command(&mut command)
    }

    /// The same with the whole command of the test's own.
    pub fn start_command(command: &mut Command) -> Self {
        let mut process = Process::start("the gateway", command, "");
        let (mut server, mut admin) = (None, None);
        let (server, admin) = process.wait_for("the addresses that it listens on", |stream, line| {
            match listening(stream, line) {
                Some(("server", address)) => server = Some(address),
                Some(("admin", address)) => admin = Some(address),
                _ => {}
            }
            server.zip(admin)
        });
        Self { process, server, admin }
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The gateway with a standard error that the test stops reading once it listens.
pub struct Unread {
    child: Child,
    stderr: PipeReader,
    pub server: SocketAddr,
    pub admin: SocketAddr,
}

impl Unread {
    /// Serves the configuration in `file`.
    pub fn start(file: &Path) -> Self {
        let (stderr, writer) = std::io::pipe().unwrap();
        let mut command = Command::new(BINARY);
        command.args(["serve", "--log-format", "json", "-c"]).arg(file).env_remove("RUST_LOG").stderr(writer);
        let mut unread = Self { child: command.spawn().unwrap(), stderr, server: NOWHERE, admin: NOWHERE };
        // The command holds the other end of the pipe, too.
        drop(command);
        for line in BufReader::new(&unread.stderr).lines() {
            match listening(Stream::Stderr, &line.unwrap()) {
                Some(("server", address)) => unread.server = address,
                Some(("admin", address)) => unread.admin = address,
                _ => {}
            }
            if unread.server != NOWHERE && unread.admin != NOWHERE {
                return unread;
            }
        }
        panic!("the gateway has not told its addresses");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The listener and address that a log line of the gateway announces.
fn listening(stream: Stream, line: &str) -> Option<(&'static str, SocketAddr)> {
    let entry: Value = (stream == Stream::Stderr).then(|| serde_json::from_str(line).ok()).flatten()?;
    let fields = &entry["fields"];
    if fields["message"] != "listening" {
        return None;
    }
    let listener = ["server", "admin"].into_iter().find(|name| fields["listener"] == *name)?;
    Some((listener, fields["address"].as_str()?.parse().ok()?))
}

/// Asks `is_so` again and again until it is, up to the deadline.
#[track_caller]
pub fn poll(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = now() + DEADLINE;
    while !is_so() {
        assert!(now() < deadline, "{what}: not within {DEADLINE:?}");
        thread::yield_now();
    }
}

fn read_lines(stream: Stream, source: impl Read + Send + 'static, lines: Sender<(Stream, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            // A test that has what it wanted no longer listens; read on all the same, or the process would stall.
            let _ = lines.send((stream, String::from_utf8_lossy(&line).into_owned()));
        }
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "a deadline for a process outside; no test's outcome depends on the time"
)]
fn now() -> Instant {
    Instant::now()
}
