//! A file system that is really full: one of 64 MiB in memory, in a mount namespace of the gateway's own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SECRET, delivery};
use crate::support::http::{self, Response};
use crate::support::process::{BINARY, GatewayProcess, poll};
use crate::support::rig::is_problem;
use crate::support::served::{Served, route};
use crate::support::tools::{pass_over, tool};

/// What mounts the file system, and then becomes the program.
const MOUNT: &str = "mount -t tmpfs -o size=64m,mode=700 none \"$0\" && exec \"$@\"";

/// A command whose first arguments are a folder for the file system and a program; `None` where no file system can be
/// mounted: the test is then to be passed over.
fn on_small_disk() -> Option<Command> {
    let namespace = || {
        let mut command = tool("unshare")?;
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", MOUNT]);
        Some(command)
    };
    let folder = tempfile::tempdir().unwrap();
    let mounted = namespace()?.arg(folder.path()).arg("true").output().unwrap();
    if !mounted.status.success() {
        eprintln!("no file system can be mounted: {}", String::from_utf8_lossy(&mounted.stderr));
        pass_over("unshare");
        return None;
    }
    namespace()
}

fn serve(mut command: Command, file: &Path) -> GatewayProcess {
    let store = file.with_file_name("store");
    fs::create_dir(&store).unwrap();
    command.arg(store).args([BINARY, "serve", "--log-format", "json", "--log-level", "info", "-c"]).arg(file);
    GatewayProcess::start_command(command.env_remove("RUST_LOG"))
}

fn body(number: usize, size: usize) -> Vec<u8> {
    format!("{{\"id\":{number},\"text\":\"{}\"}}", "x".repeat(size)).into_bytes()
}

struct Filled {
    served: Served,
    /// About the size of a body.
    size: usize,
    /// Deliveries that were accepted until one was refused, with the numbers from 0.
    accepted: usize,
}

/// Sends deliveries, and has the handler answer none, until the gateway refuses one. Before that, another program takes this
/// many bytes of the file system.
fn fill(min_free: &str, other: usize, keys: &str, size: usize) -> Option<Filled> {
    let command = on_small_disk()?;
    let routes = route("hook", "[{ file: secret }]", &format!("delivery: queue, timeout: 10m, circuit: false, {keys}"))
        + &format!("store: {{ path: store, min_free: {min_free} }}\n");
    let served = Served::start_by(|file| serve(command, file), "", &routes, &[("secret", SECRET)]);
    served.upstream.hold();
    let mut filled = Filled { served, size, accepted: 0 };
    let refused = loop {
        if filled.accepted == 10 {
            fs::write(filled.inside("other"), vec![0; other]).unwrap();
        }
        let response = filled.send();
        if response.status != 200 {
            break response;
        }
        filled.accepted += 1;
        assert!(filled.accepted < 700, "the file system has no end");
    };
    is_problem(&refused, 503, "storage_full");
    assert_eq!(refused.all("retry-after"), ["60"]);
    Some(filled)
}

impl Filled {
    /// A file of the file system, which only the gateway's namespace has.
    fn inside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.served.gateway.process.id()));
        root.join(self.served.path("store").strip_prefix("/").unwrap()).join(name)
    }

    fn send(&self) -> Response {
        http::send(self.served.gateway.server, &delivery("/hook", SECRET, &body(self.accepted, self.size)))
    }

    /// That all is delivered once the handler answers.
    fn delivers(&self) {
        self.served.upstream.release();
        let count = self.accepted as f64;
        poll("all that was accepted is delivered", || self.metric("delivered_total", "") == count);
        let handled: BTreeSet<Vec<u8>> = self.served.upstream.entries().into_iter().map(|entry| entry.body).collect();
        assert!(handled == (0..self.accepted).map(|number| body(number, self.size)).collect());
    }

    /// A metric of the route's queue, with a further label.
    fn metric(&self, name: &str, label: &str) -> f64 {
        self.served.metric(&format!("hooklatch_queue_{name}{{route=\"hook\"{label}}}")).unwrap()
    }

    /// That it takes deliveries again by itself.
    fn heals(&mut self) {
        poll("it takes deliveries again", || self.send().status == 200);
        self.accepted += 1;
        self.delivers();
        self.settles();
    }

    /// That what came of all attempts is written.
    fn settles(&self) {
        poll("the results are written", || self.metric("deliveries", ",state=\"pending\"") == 0.0);
        assert_eq!(self.served.metric("hooklatch_store_failed"), Some(0.0));
        assert_eq!(self.served.admin("/readyz").status, 200);
    }
}

#[test]
fn a_small_file_system_is_not_filled_and_heals_once_all_is_delivered() {
    for min_free in ["8MiB", "0MiB"] {
        let Some(mut filled) = fill(min_free, 0, "max_concurrent: 2", 100_000) else { return };
        assert!(filled.accepted > 100, "{}", filled.accepted);
        filled.delivers();
        filled.heals();
    }
}

#[test]
fn results_of_many_large_deliveries_at_once_are_written_on_a_small_file_system_too() {
    // All bodies are overwritten at the same moment.
    let Some(mut filled) = fill("0MiB", 0, "max_concurrent: 32", 900_000) else { return };
    assert!(filled.accepted > 20, "{}", filled.accepted);
    let under_way = filled.accepted.min(32) as f64;
    poll("many are attempted", || filled.metric("in_flight", "") == under_way);
    filled.delivers();
    filled.settles();
    filled.heals();
}

#[test]
fn a_file_system_that_another_program_fills_refuses_deliveries_sends_what_it_has_and_heals_with_room() {
    let Some(mut filled) = fill("0MiB", 40 << 20, "max_concurrent: 2", 100_000) else { return };
    // Not a byte is left.
    let rest = fs::File::create(filled.inside("rest")).unwrap();
    let full = (0..100).find_map(|_| (&rest).write_all(&vec![0; 1 << 20]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    is_problem(&filled.send(), 503, "storage_full");
    filled.delivers();
    is_problem(&filled.send(), 503, "storage_full");
    fs::remove_file(filled.inside("rest")).unwrap();
    fs::remove_file(filled.inside("other")).unwrap();
    filled.heals();
}
