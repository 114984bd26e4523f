//! A gateway with one route called `hook` that uses a store, the upstream behind it, and a folder that outlives a restart.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hooklatch::acts::Acts;
use hooklatch::app::ShutdownResult;
use hooklatch::clock::Clock;
use hooklatch::store::sqlite::Sqlite;
use hooklatch::store::{self, Change, Changed, Filter, Keep, Limits, Store, Stored};
use tempfile::TempDir;

use super::gateway::{Gateway, Metrics};
use super::http::{self, Connection, Response};
use super::process::poll;
use super::rig::route;
use super::sender::Delivery;
use super::upstream::{Peer, Seen, Upstream};

/// In the order in which they end: the upstream looks back when the gateway is gone.
pub struct Queued {
    gateway: Option<Gateway>,
    /// The connection that the gateway made last, as long as it lasts.
    pub peer: Option<Peer>,
    pub upstream: Upstream,
    folder: TempDir,
}

/// The labels of the only route.
const HOOK: (&str, &str) = ("route", "hook");

impl Queued {
    /// For CircleCI's scheme, with a queue and further flow-style keys of the route.
    pub fn start(keys: &str) -> Self {
        Self::of("circleci", &format!("delivery: queue, {keys}"))
    }

    /// With these flow-style keys of the route, with or without a queue, in which `UPSTREAM` is the upstream's URL.
    pub fn of(scheme: &str, keys: &str) -> Self {
        Self::with_server("", "", scheme, keys)
    }

    /// With further flow-style keys of the server, the store and the route.
    pub fn with_server(server: &str, store: &str, scheme: &str, keys: &str) -> Self {
        let (upstream, folder) = (Upstream::bind(), tempfile::tempdir().unwrap());
        let mut queued = Self { gateway: None, peer: None, upstream, folder };
        queued.gateway = Some(queued.gateway(server, store, scheme, keys));
        queued
    }

    /// Stops the gateway, and starts another one for CircleCI's scheme over the same store.
    pub fn restart(&mut self, keys: &str) {
        self.restart_of("circleci", &format!("delivery: queue, {keys}"));
    }

    /// The same for any scheme, with or without a queue.
    pub fn restart_of(&mut self, scheme: &str, keys: &str) {
        self.stop();
        self.gateway = Some(self.gateway("", "", scheme, keys));
    }

    /// Stops the gateway: how it ended.
    pub fn stop(&mut self) -> Option<ShutdownResult> {
        let ended = self.gateway.take().map(Gateway::stop);
        self.peer = None;
        // A process that another test has just begun to start has this process's files open until it runs its program.
        poll("the store is unlocked", || !is_locked(&self.store().join("hooklatch.lock")));
        ended
    }

    /// Tells the gateway to stop, and returns once it drains: it says so, and its worker thread has heard of it.
    pub fn drain(&mut self) {
        let gateway = self.gateway.as_mut().unwrap();
        gateway.begin_to_stop();
        poll("not ready", || gateway.get("/readyz").status == 503);
        poll("the listener closed", || TcpStream::connect(gateway.server).is_err());
    }

    /// From now on every request gets 200, on whatever connection it comes.
    pub fn answer_always(&mut self) {
        self.peer = None;
        self.upstream.answer_always();
    }

    fn gateway(&self, server: &str, store: &str, scheme: &str, keys: &str) -> Gateway {
        let url = format!("\"http://{}/in\"", self.upstream.address);
        let upstream = match keys.contains("upstream:") {
            true => String::new(),
            false => format!("upstream: {url}, "),
        };
        let keys = keys.replace("UPSTREAM", &url);
        let path = self.store();
        let store = format!("store: {{ path: {path:?}, min_free: 0MiB, {store} }}\n");
        let routes = format!("{}{store}", route(scheme, &format!("{upstream}{keys}")));
        Gateway::start_with(&format!("threads: 1, {server}"), &routes, &[])
    }

    /// The folder of the store.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What the store holds, newest first. The gateway must have stopped.
    pub fn stored(&self) -> Vec<Stored> {
        let store = self.open();
        let page = hooklatch::app::runtime().unwrap().block_on(store.list(Filter::default(), 1_000)).unwrap();
        page.deliveries
    }

    /// Changes the store. The gateway must have stopped.
    pub fn change(&self, change: Change) {
        let store = self.open();
        let changed = hooklatch::app::runtime().unwrap().block_on(store.change(change));
        assert!(matches!(changed, Ok(Changed::Done(_))), "{changed:?}");
    }

    fn open(&self) -> Store {
        assert!(self.gateway.is_none(), "the gateway has the store");
        open(&self.store())
    }

    /// What people can do to the gateway.
    pub fn acts(&self) -> &Acts {
        &self.running().acts
    }

    /// Adds a record to the store. The gateway must have stopped.
    pub fn record(&self, delivery: store::Delivery) {
        assert!(self.open().record(delivery, Clock::system().now()));
    }

    /// Where deliveries come in.
    pub fn server(&self) -> SocketAddr {
        self.running().server
    }

    /// Where the API is.
    pub fn admin(&self) -> SocketAddr {
        self.running().admin
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Metrics {
        self.running().metrics()
    }

    /// The value of a series of the route, with a further label or none.
    #[track_caller]
    pub fn metric(&self, name: &str, label: &[(&str, &str)]) -> f64 {
        self.metrics().get(name, &[&[HOOK], label].concat())
    }

    /// Waits until a series of the route has this value.
    #[track_caller]
    pub fn wait_for(&self, name: &str, label: &[(&str, &str)], value: f64) {
        poll(name, || self.metric(name, label) == value);
    }

    /// Waits until this many deliveries are in a state.
    #[track_caller]
    pub fn wait_for_state(&self, state: &str, count: f64) {
        self.wait_for("hooklatch_queue_deliveries", &[("state", state)], count);
    }

    /// Sends on a connection of its own and reads the answer.
    pub fn send(&self, delivery: &Delivery) -> Response {
        http::send(self.server(), &delivery.bytes())
    }

    /// Sends a delivery, which must be answered with 200 and not as a duplicate.
    #[track_caller]
    pub fn accepts(&self, delivery: &Delivery) {
        let response = self.send(delivery);
        assert_eq!((response.status, response.header("hooklatch-duplicate")), (200, None), "{response:?}");
    }

    /// A connection on which a delivery was sent.
    pub fn sending(&self, delivery: &Delivery) -> Connection {
        let mut connection = Connection::open(self.server());
        connection.write(&delivery.bytes());
        connection
    }

    /// The upstream's next request, on the connection that the gateway has, or a new one if it has none.
    #[track_caller]
    pub fn request(&mut self) -> Seen {
        let upstream = &self.upstream;
        self.peer.get_or_insert_with(|| upstream.accept()).request()
    }

    /// The next request, which gets 200.
    #[track_caller]
    pub fn takes(&mut self) -> Seen {
        let seen = self.request();
        self.answer("200 OK", "");
        seen
    }

    /// The next request, which gets this status.
    #[track_caller]
    pub fn fails(&mut self, status: &str) -> Seen {
        let seen = self.request();
        self.answer(status, "");
        seen
    }

    /// Answers the last request with a status and further lines.
    pub fn answer(&mut self, status: &str, lines: &str) {
        let answer = format!("HTTP/1.1 {status}\r\n{lines}Content-Length: 0\r\n\r\n");
        self.peer.as_mut().unwrap().write(answer);
    }

    /// Waits until the gateway has taken note of this many deliveries that the handler took.
    #[track_caller]
    pub fn wait_for_delivered(&self, count: f64) {
        self.wait_for("hooklatch_queue_delivered_total", &[], count);
    }

    fn running(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }
}

/// Whether a process has a lock on a file, by what the kernel lists (proc_locks(5)).
fn is_locked(file: &Path) -> bool {
    let inode = format!(":{}", fs::metadata(file).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|lock| lock.split_whitespace().any(|field| field.ends_with(&inode)))
}

/// The store in a folder, of which no gateway is running.
pub fn open(folder: &Path) -> Store {
    let keep = Keep { delivered: i64::MAX, dead: i64::MAX, refused: i64::MAX };
    let backend = Sqlite::open(folder, keep, Clock::system()).unwrap();
    Store::start(Box::new(backend), Limits::default(), Clock::system(), Box::new(|_| ())).unwrap()
}
