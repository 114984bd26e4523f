//! Gateways as processes that share a database, each with a way of its own to it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::SECRET;
use crate::support::http::{self, Connection};
use crate::support::postgres::{Proxy, Server, url};
use crate::support::process::GatewayProcess;
use crate::support::served::{delivery, replace, route};

/// The gateways, and what all of them are configured with.
pub struct Gateways {
    pub all: Vec<Gateway>,
    /// What they share.
    pub database: String,
    /// The address of the handler; each gateway sends to `/in/NAME` there.
    upstream: SocketAddr,
    /// Further flow-style keys of the only route, `hook`.
    keys: String,
    folder: TempDir,
}

/// One gateway.
pub struct Gateway {
    pub name: &'static str,
    /// Its ways to the database: to the primary, and to a standby if there is one.
    pub ways: Vec<Proxy>,
    /// None while it does not run.
    process: Option<GatewayProcess>,
    /// Where it listens: later starts listen where the first one did.
    pub server: SocketAddr,
}

impl Gateways {
    /// Gateways of these names, which do not run yet, on a new database. The first server is the primary.
    pub fn new(servers: &[&Server], names: &[&'static str], upstream: SocketAddr, keys: &str) -> Self {
        let database = servers[0].database();
        let new = |name: &&'static str| Gateway {
            name,
            ways: servers.iter().map(|server| Proxy::to(server.address())).collect(),
            process: None,
            server: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let all = names.iter().map(new).collect();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        let gateways = Self { all, database, upstream, keys: format!("delivery: queue, {keys}"), folder };
        for (at, gateway) in gateways.all.iter().enumerate() {
            let ways: Vec<&Proxy> = gateway.ways.iter().collect();
            gateways.connect(at, &url(&ways, &gateways.database));
            gateways.configure(at, &format!("name: {}, ", gateway.name));
        }
        gateways
    }

    /// Has a gateway take this URL when it starts.
    pub fn connect(&self, at: usize, url: &str) {
        replace(&self.path(at, "url"), url);
    }

    /// Writes the configuration of a gateway, with further flow-style keys of the server.
    pub fn configure(&self, at: usize, server: &str) {
        let Gateway { name, server: address, .. } = &self.all[at];
        let upstream = format!("\"http://{}/in/{name}\"", self.upstream);
        let routes = route("hook", "[{ file: secret }]", &self.keys).replace("UPSTREAM", &upstream);
        let yaml = format!(
            "server: {{ {server}listen: \"{address}\", threads: 1, access_log: none }}\n\
             admin: {{ listen: 127.0.0.1:0 }}\n\
             store: {{ postgres: {{ url: {{ file: {name}.url }} }} }}\nroutes:\n{routes}"
        );
        replace(&self.file(at), &yaml);
    }

    /// Starts a gateway.
    pub fn serve(&mut self, at: usize) {
        self.serve_by(at, GatewayProcess::start);
    }

    /// The same, and the test starts the process on the configuration's file.
    pub fn serve_by(&mut self, at: usize, start: impl FnOnce(&Path) -> GatewayProcess) {
        let process = start(&self.file(at));
        let is_first = self.all[at].server.port() == 0;
        self.all[at].server = process.server;
        self.all[at].process = Some(process);
        if is_first {
            let yaml = fs::read_to_string(self.file(at)).unwrap();
            replace(
                &self.file(at),
                &yaml.replace("127.0.0.1:0\", threads", &format!("{}\", threads", self.all[at].server)),
            );
        }
    }

    /// Kills a gateway.
    pub fn kill(&mut self, at: usize) {
        let mut process = self.take(at);
        process.process.signal("KILL");
        assert_eq!(process.process.wait().code(), None);
    }

    /// The process of a gateway, which is the test's own from now on.
    pub fn take(&mut self, at: usize) -> GatewayProcess {
        self.all[at].process.take().unwrap()
    }

    /// Where a running gateway's API is.
    pub fn admin(&self, at: usize) -> SocketAddr {
        self.all[at].process.as_ref().unwrap().admin
    }

    /// The status of a gateway's `/readyz`.
    pub fn readiness(&self, at: usize) -> u16 {
        http::send(self.admin(at), &http::get("/readyz")).status
    }

    /// A connection to a gateway on which a delivery with this body was sent.
    pub fn sending(&self, at: usize, body: &[u8]) -> Connection {
        let mut connection = Connection::open(self.all[at].server);
        connection.write(&delivery("/hook", SECRET, body));
        connection
    }

    /// The file with the configuration of a gateway.
    pub fn file(&self, at: usize) -> PathBuf {
        self.path(at, "yaml")
    }

    fn path(&self, at: usize, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{}.{ending}", self.all[at].name))
    }
}

impl Gateway {
    /// Cuts it off from the database.
    pub fn cut(&self) {
        self.ways.iter().for_each(Proxy::cut);
    }

    /// Has nothing pass between it and the database.
    pub fn stall(&self) {
        self.ways.iter().for_each(Proxy::stall);
    }

    /// Has everything between it and the database take this much longer.
    pub fn slow(&self, delay: Duration) {
        self.ways.iter().for_each(|way| way.slow(delay));
    }

    /// Has everything pass again.
    pub fn restore(&self) {
        self.ways.iter().for_each(Proxy::restore);
    }
}
