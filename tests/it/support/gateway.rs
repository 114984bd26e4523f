//! The gateway in this process: parsed, bound and run as `serve` does it, on ports that the system chose.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use hooklatch::acts::Acts;
use hooklatch::app::{self, ShutdownResult, StartError};
use hooklatch::clock::Clock;
use hooklatch::config::{self, Sources};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::http::{self, Response};

/// The secret of `env: SECRET`.
pub const SECRET: &str = "the-secret-of-now";
/// The secret of `env: OLD_SECRET`.
pub const OLD_SECRET: &str = "the-secret-of-before";

/// The counters of delivery outcomes: each delivery moves at least one of these.
pub const VERDICTS: [&str; 4] = [
    "hooklatch_requests_total",
    "hooklatch_rejections_total",
    "hooklatch_upstream_responses_total",
    "hooklatch_upstream_resends_total",
];

/// A running gateway; dropping it stops it.
pub struct Gateway {
    /// Where deliveries come in.
    pub server: SocketAddr,
    /// Where metrics and health are.
    pub admin: SocketAddr,
    /// The `Debug` output of the configuration.
    pub debug: String,
    /// What people can do to it.
    pub acts: Acts,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<ShutdownResult, StartError>>>,
}

/// A scrape: each series, its labels sorted by name, with its value.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

/// Secrets by the name of a variable.
pub struct Secrets<'a>(pub &'a [(&'a str, &'a str)]);

impl Gateway {
    /// With one thread, and `routes` as the YAML of the list's items.
    pub fn start(routes: &str) -> Self {
        Self::start_with("threads: 1", routes, &[])
    }

    /// With `server` as further flow-style keys of the server, and further secrets.
    pub fn start_with(server: &str, routes: &str, secrets: &[(&str, &str)]) -> Self {
        Self::run(Clock::system(), server, routes, secrets)
    }

    /// With one thread and another clock.
    pub fn start_at(clock: Clock, routes: &str, secrets: &[(&str, &str)]) -> Self {
        Self::run(clock, "threads: 1", routes, secrets)
    }

    fn run(clock: Clock, server: &str, routes: &str, secrets: &[(&str, &str)]) -> Self {
        let yaml =
            format!("server: {{ listen: 127.0.0.1:0, {server} }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n{routes}");
        Self::run_file(clock, &yaml, secrets)
    }

    /// With one thread, and further flow-style keys of the admin listener. `sections` are further sections before the routes.
    pub fn start_admin(admin: &str, sections: &str, routes: &str) -> Self {
        let admin = if admin.contains("listen:") { admin.to_owned() } else { format!("listen: 127.0.0.1:0, {admin}") };
        let yaml =
            format!("server: {{ listen: 127.0.0.1:0, threads: 1 }}\nadmin: {{ {admin} }}\n{sections}routes:\n{routes}");
        Self::run_file(Clock::system(), &yaml, &[])
    }

    fn run_file(clock: Clock, yaml: &str, secrets: &[(&str, &str)]) -> Self {
        let mut all = vec![("SECRET", SECRET), ("OLD_SECRET", OLD_SECRET)];
        all.extend(secrets);
        let config =
            config::parse(yaml, Path::new(""), &Secrets(&all)).unwrap_or_else(|errors| panic!("{errors:?} in\n{yaml}"));
        let debug = format!("{config:?}");
        let listeners = app::bind(&config).unwrap();
        let (server, admin) = (listeners.addresses()[0], listeners.admin_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let (told, started) = mpsc::channel();
        let tell = move |acts| told.send(acts).unwrap();
        let thread = thread::spawn(move || app::run_with(config, listeners, clock, shutdown, tell));
        let acts = started.recv().expect("the gateway starts");
        Self { server, admin, debug, acts, stop: Some(stop), thread: Some(thread) }
    }

    /// The current text of `/metrics`.
    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin)
    }

    /// GETs a path of the admin listener.
    pub fn get(&self, path: &str) -> Response {
        http::send(self.admin, &http::get(path))
    }

    /// Tells the gateway to stop, and does not wait for it.
    pub fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops the gateway and waits for its end.
    pub fn stop(mut self) -> ShutdownResult {
        self.end().unwrap().unwrap()
    }

    fn end(&mut self) -> Option<Result<ShutdownResult, StartError>> {
        drop(self.stop.take());
        let ended = self.thread.take()?.join();
        Some(ended.unwrap_or_else(|_| Err(io::Error::other("the gateway panicked").into())))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let ended = self.end();
        if !thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "{ended:?}");
        }
    }
}

impl Metrics {
    /// The series behind an admin listener.
    pub fn scrape(admin: SocketAddr) -> Self {
        let response = http::send(admin, &http::get("/metrics"));
        assert_eq!(response.status, 200, "{response:?}");
        let text = String::from_utf8(response.body).unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self(series.collect())
    }

    /// The value of a series that must exist.
    #[track_caller]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let series = series(name, labels);
        *self.0.get(&series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    /// All series.
    pub fn all(&self) -> &BTreeMap<String, f64> {
        &self.0
    }

    /// The counters of delivery outcomes ([`VERDICTS`]) that differ from `before`, each with the difference.
    pub fn counted_since(&self, before: &Self) -> BTreeMap<String, f64> {
        self.differences(before, |family| VERDICTS.contains(&family))
    }

    /// The same for every counter of the gateway, but for those of histograms. A test of single counters takes
    /// [`Metrics::counted_since`], so that a new counter does not break it.
    pub fn all_counted_since(&self, before: &Self) -> BTreeMap<String, f64> {
        self.differences(before, |family| family.starts_with("hooklatch_") && family.ends_with("_total"))
    }

    fn differences(&self, before: &Self, is_compared: impl Fn(&str) -> bool) -> BTreeMap<String, f64> {
        let compared = self.0.iter().filter(|(series, _)| series.split('{').next().is_some_and(&is_compared));
        compared
            .map(|(series, value)| (series.clone(), value - before.0.get(series).copied().unwrap_or(0.0)))
            .filter(|(_, difference)| *difference != 0.0)
            .collect()
    }
}

/// A series as `/metrics` writes it.
pub fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let mut labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    labels.sort_unstable();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

impl Sources for Secrets<'_> {
    fn env(&self, name: &str) -> Option<OsString> {
        self.0.iter().find(|(variable, _)| *variable == name).map(|(_, secret)| secret.into())
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        std::fs::read(path).map(Zeroizing::new)
    }
}
