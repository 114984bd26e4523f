//! The gateway as a process on a configuration that the test changes, with a bookkeeper behind it.

use std::fs;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;

use super::bookkeeper::Bookkeeper;
use super::http::{self, Connection, Response};
use super::process::{GatewayProcess, Stream};

/// The gateway, its folder and its upstream.
pub struct Served {
    pub gateway: GatewayProcess,
    pub upstream: Bookkeeper,
    pub folder: TempDir,
}

impl Served {
    /// With `routes` as the YAML of the list's items, in which `UPSTREAM` is the upstream's URL, and secrets in files
    /// beside it.
    pub fn start(routes: &str, secrets: &[(&str, &str)]) -> Self {
        Self::start_with("", routes, secrets)
    }

    /// The same with further flow-style keys of the server.
    pub fn start_with(server: &str, routes: &str, secrets: &[(&str, &str)]) -> Self {
        Self::start_by(GatewayProcess::start, server, routes, secrets)
    }

    /// The same, and the test itself starts the gateway on the configuration's file.
    pub fn start_by(
        start: impl FnOnce(&Path) -> GatewayProcess,
        server: &str,
        routes: &str,
        secrets: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Bookkeeper::start();
        for (name, secret) in secrets {
            fs::write(folder.path().join(name), secret).unwrap();
        }
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, yaml(server, routes, &upstream)).unwrap();
        let gateway = start(&file);
        Self { gateway, upstream, folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the folder anew.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes the configuration anew.
    pub fn configure(&self, routes: &str) {
        self.configure_with("", routes);
    }

    pub fn configure_with(&self, server: &str, routes: &str) {
        replace(&self.path("gateway.yaml"), &yaml(server, routes, &self.upstream));
    }

    /// Asks for a reload, which must succeed and change something: its line in the log.
    pub fn reload(&mut self) -> Value {
        self.gateway.process.signal("HUP");
        self.reloaded()
    }

    /// Waits for a reload that succeeds and changes something: its line in the log.
    pub fn reloaded(&mut self) -> Value {
        // The gateway may see a change by itself a moment before it is asked; then the second load finds none.
        self.wait_for_reload(|fields| fields["unchanged"] != true)
    }

    /// Asks for a reload, which must succeed and change nothing.
    pub fn reload_unchanged(&mut self) {
        self.gateway.process.signal("HUP");
        self.wait_for_reload(|fields| fields["unchanged"] == true);
    }

    /// Waits for a reload that fails: its errors.
    pub fn reload_failed(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        self.gateway.process.wait_for("that the reload failed", |stream, line| {
            let fields = fields(stream, line)?;
            match fields["message"].as_str()? {
                "error in the configuration" => {
                    // An error of the file as a whole has none, and no empty one either.
                    let at = fields.get("at").map_or("", |at| at.as_str().filter(|at| !at.is_empty()).expect(line));
                    errors.push(format!("{at}: {}", fields["error"].as_str()?));
                    None
                }
                "the configuration was not reloaded: what ran goes on" => Some(()),
                "configuration reloaded" => panic!("{line}"),
                _ => None,
            }
        });
        errors
    }

    fn wait_for_reload(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        self.gateway.process.wait_for("that it reloaded", |stream, line| {
            let fields = fields(stream, line)?;
            assert_ne!(fields["message"], "error in the configuration", "{line}");
            (fields["message"] == "configuration reloaded" && is_wanted(&fields)).then_some(fields)
        })
    }

    /// A connection to the gateway.
    pub fn connect(&self) -> Connection {
        Connection::open(self.gateway.server)
    }

    /// Sends a delivery signed with `secret` to a path, on a connection of its own: the answer's status.
    pub fn deliver(&self, path: &str, secret: &str) -> u16 {
        http::send(self.gateway.server, &delivery(path, secret, b"{}")).status
    }

    /// GETs a path of the admin listener.
    pub fn admin(&self, path: &str) -> Response {
        http::send(self.gateway.admin, &http::get(path))
    }

    /// The value of a series as `/metrics` writes it; `None` if it is not there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = String::from_utf8(self.admin("/metrics").body).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }
}

/// The bytes of a CircleCI delivery.
pub fn delivery(path: &str, secret: &str, body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let signature = format!("v1={}", base16ct::lower::encode_string(&mac.finalize().into_bytes()));
    http::post(path, [("circleci-signature", signature.as_str())], body)
}

/// A route at `/NAME`, with further flow-style keys.
pub fn route(name: &str, secrets: &str, keys: &str) -> String {
    format!("  - {{ name: {name}, path: /{name}, scheme: circleci, secrets: {secrets}, upstream: UPSTREAM, {keys} }}\n")
}

/// Puts a file in the place of another by rename.
pub fn replace(file: &Path, content: &str) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, file).unwrap();
}

fn yaml(server: &str, routes: &str, upstream: &Bookkeeper) -> String {
    let routes = routes.replace("UPSTREAM", &format!("\"http://{}/in\"", upstream.address));
    let server = if server.is_empty() { "listen: 127.0.0.1:0, threads: 2" } else { server };
    format!("server: {{ {server} }}\nadmin: {{ listen: 127.0.0.1:0 }}\nroutes:\n{routes}")
}

fn fields(stream: Stream, line: &str) -> Option<Value> {
    let entry: Value = (stream == Stream::Stderr).then(|| serde_json::from_str(line).ok()).flatten()?;
    Some(entry["fields"].clone())
}
