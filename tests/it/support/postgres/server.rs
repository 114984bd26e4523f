//! One server: started, asked, killed, started again, copied to a standby, promoted.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::tools::{pass_over, succeeds};
use super::{Proxy, programs};

/// The superuser of the databases.
const USER: &str = "hooklatch";
/// How long a start may take, the recovery after a crash included.
const START: Duration = Duration::from_secs(60);
/// Starts a server in the background, tells its id, and waits. The word `stop`, or the end of the test process, ends the
/// server; the latter removes the folder, too.
const GUARD: &str = r#"
trap '' INT HUP TERM
folder=$1
shift
"$@" &
echo $!
word=
read -r word || true
kill -QUIT $! 2>/dev/null
wait $!
[ "$word" = stop ] || rm -rf "$folder"
"#;

/// A PostgreSQL server. It ends when dropped.
pub struct Server {
    /// What gateways connect to: leads to the server, at one address over all starts.
    pub proxy: Proxy,
    /// The same for its standby.
    pub replication: Proxy,
    folder: PathBuf,
    /// As `postgresql.conf` has them.
    settings: Vec<String>,
    running: Option<Running>,
}

/// The processes of a server that runs.
struct Running {
    port: u16,
    postmaster: u32,
    guard: Child,
    /// Its end tells the guard that the test process has ended.
    pipe: ChildStdin,
}

impl Server {
    /// A new server; `None` without PostgreSQL: the test is then to be passed over.
    ///
    /// # Panics
    /// When PostgreSQL is missing and required.
    pub fn start() -> Option<Self> {
        // A killed process loses nothing that it has written: only a loss of power would.
        Self::start_with(&["fsync=off"])
    }

    /// The same with settings as `postgresql.conf` has them.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        if programs::folder().is_none() {
            pass_over("postgresql");
            return None;
        }
        Some(Self::new(settings.iter().map(|setting| (*setting).to_owned()).collect()).init())
    }

    /// A server that speaks TLS with this certificate and its key, as PEM, to those who ask for it.
    pub fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        if programs::folder().is_none() {
            pass_over("postgresql");
            return None;
        }
        let mut server = Self::new(["fsync=off", "ssl=on", "log_connections=on"].map(str::to_owned).to_vec());
        for (setting, pem) in [("ssl_cert_file", certificate), ("ssl_key_file", key)] {
            let file = server.own().join(setting);
            fs::write(&file, pem).unwrap();
            // PostgreSQL takes no key that others could read.
            fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            programs::give(&file).unwrap();
            server.settings.push(format!("{setting}={}", file.display()));
        }
        Some(server.init())
    }

    /// Makes the data, and starts on it.
    fn init(mut self) -> Self {
        let mut init = self.program("initdb");
        init.args(["-U", USER, "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8", "-D"]).arg(self.data());
        succeeds(&mut init);
        self.restart();
        self
    }

    /// A server that the tests of this process share, each with a [`Server::database`] of its own. None may stop it or
    /// change its settings.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        if programs::folder().is_none() {
            pass_over("postgresql");
            return None;
        }
        SHARED.get_or_init(|| Self::start_with(&["fsync=off", "max_connections=400"])).as_ref()
    }

    fn new(settings: Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (proxy, replication) = (Proxy::to(nowhere), Proxy::to(nowhere));
        let server = Self { proxy, replication, folder, settings, running: None };
        // The server's user must get through.
        fs::set_permissions(&server.folder, PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(server.own()).unwrap();
        programs::give(&server.own()).unwrap();
        server
    }

    /// A new server that follows this one, and without which this one acknowledges no commit from now on.
    pub fn standby(&self) -> Self {
        let mut standby = Self::new(self.settings.clone());
        standby.settings.extend(["cluster_name=standby", "wal_retrieve_retry_interval=100ms"].map(str::to_owned));
        let mut copy = standby.program("pg_basebackup");
        let address = self.replication.address;
        let from = format!("host={} port={} user={USER}", address.ip(), address.port());
        copy.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", &from, "-D"]).arg(standby.data());
        succeeds(&mut copy);
        standby.restart();
        // Only now, so that the copy does not wait for a standby of its own once it is promoted.
        self.set("synchronous_standby_names", "standby");
        wait("the standby is synchronous", || {
            self.ask("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync"
        });
        // No commit waits before the checkpointer has read the setting.
        self.ask("postgres", "CHECKPOINT");
        standby
    }

    /// Makes a standby the primary. The old one must not run any more.
    pub fn promote(&self) {
        assert_eq!(self.ask("postgres", "SELECT pg_promote()"), "t");
    }

    /// An empty database of a new name.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// How a gateway connects to a database.
    pub fn url(&self, database: &str) -> String {
        url(&[&self.proxy], database)
    }

    /// Where the server itself listens; elsewhere after each start.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.running().port))
    }

    /// Runs statements as the superuser, past the proxies: the rows, their columns separated by `|`.
    ///
    /// # Panics
    /// When a statement fails, with what PostgreSQL says.
    #[track_caller]
    pub fn ask(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(programs::folder().unwrap().join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-h"]).arg(self.own());
        psql.args(["-p", &self.running().port.to_string(), "-d", database, "-c", statements]);
        succeeds(&mut psql).trim_end().to_owned()
    }

    /// Changes a setting that needs no new start.
    pub fn set(&self, setting: &str, value: &str) {
        self.ask("postgres", &format!("ALTER SYSTEM SET {setting} = '{value}'"));
        self.ask("postgres", "SELECT pg_reload_conf()");
    }

    /// Kills the server with all its processes.
    pub fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        let mut processes = vec![running.postmaster];
        // It must not start another one meanwhile.
        signal("STOP", &processes);
        processes.extend(children(running.postmaster));
        signal("KILL", &processes);
        running.end();
    }

    /// Ends the server in order; its clients are cut off.
    pub fn stop(&mut self) {
        let mut stop = self.program("pg_ctl");
        succeeds(stop.args(["stop", "-m", "fast", "-w", "-D"]).arg(self.data()));
        self.running.take().expect("it runs").end();
    }

    /// Starts the server on the data that it has. It must not run.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs");
        // Another process may take the free port that was found.
        let running = (0..5).find_map(|_| self.serve());
        self.running = Some(running.unwrap_or_else(|| panic!("PostgreSQL does not start:\n{}", self.log())));
        for proxy in [&self.proxy, &self.replication] {
            proxy.lead_to(self.address());
        }
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Starts the server on a free port; `None` if it ends instead.
    fn serve(&self) -> Option<Running> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut serve = self.program("postgres");
        serve.arg("-D").arg(self.data()).args(["-p", &port.to_string(), "-k"]).arg(self.own());
        for setting in ["listen_addresses=127.0.0.1", "shared_buffers=32MB", "wal_keep_size=256MB"] {
            serve.args(["-c", setting]);
        }
        for setting in &self.settings {
            serve.args(["-c", setting]);
        }
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&self.folder).arg(serve.get_program()).args(serve.get_args());
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        guard.current_dir(self.own()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut guard = guard.spawn().unwrap();
        let mut id = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut id).unwrap();
        let pipe = guard.stdin.take().unwrap();
        let running = Running { port, postmaster: id.trim().parse().unwrap(), guard, pipe };
        let mut is_ready = false;
        wait("PostgreSQL starts", || {
            is_ready = self.is_ready(running.postmaster);
            is_ready || has_ended(running.postmaster)
        });
        if is_ready {
            return Some(running);
        }
        running.end();
        None
    }

    /// Whether a postmaster takes connections, by the file that it keeps (`pidfile.h` of PostgreSQL).
    fn is_ready(&self, postmaster: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        lines.first() == Some(&postmaster.to_string().as_str()) && matches!(lines.get(7), Some(&("ready" | "standby")))
    }

    /// One of PostgreSQL's programs.
    fn program(&self, name: &str) -> Command {
        let mut program = programs::unprivileged(name);
        program.current_dir(self.own());
        program
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// The folder that belongs to the server's user.
    fn own(&self) -> PathBuf {
        self.folder.join("own")
    }

    fn data(&self) -> PathBuf {
        self.own().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Running { mut guard, pipe, .. }) = self.running.take() {
            drop(pipe);
            // It has nothing to tell.
            let _ = guard.wait();
        }
        // The guard has done this if it was there.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    /// Waits for the end of all, and leaves the data.
    fn end(mut self) {
        // A guard that is gone has nothing to do.
        let _ = self.pipe.write_all(b"stop\n");
        self.guard.wait().unwrap();
    }
}

/// How a gateway connects to a database by way of one or several proxies, to the server among them that is the primary.
pub fn url(proxies: &[&Proxy], database: &str) -> String {
    let hosts: Vec<String> = proxies.iter().map(|proxy| proxy.address.to_string()).collect();
    let which = if hosts.len() > 1 { "?target_session_attrs=read-write" } else { "" };
    format!("postgresql://{USER}@{}/{database}{which}", hosts.join(","))
}

/// The processes that a process has started and that run.
fn children(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    children.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn has_ended(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Its parent has not yet been told of a zombie's end.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Sends a signal by its name; a process that has ended is none to fail for.
fn signal(name: &str, processes: &[u32]) {
    for id in processes {
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id.to_string()]);
        kill.stderr(Stdio::null()).status().unwrap();
    }
}

/// Asks again and again until it is so.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "a deadline for a process outside; no test's outcome depends on the time"
)]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + START;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {START:?}");
        thread::yield_now();
    }
}
