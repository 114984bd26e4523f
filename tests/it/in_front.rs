//! Real nginx and Caddy in front of the gateway, with the configurations of `deploy/in-front`: what a signature covers
//! and what the gateway is told about the sender arrive as they must.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::certificates::Files;
use crate::support::http::{ANSWER, Connection, Response};
use crate::support::process::{Process, poll};
use crate::support::rig::{Rig, is_problem, route};
use crate::support::sender::Delivery;
use crate::support::stream::Stream;
use crate::support::tools::tool;

/// Whom the route lets in: the server in front tells who connects.
const SENDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server in front of a gateway.
struct Front {
    _process: Process,
    _folder: TempDir,
    rig: Rig,
    address: SocketAddr,
    client: Arc<ClientConfig>,
}

/// Something to put in front.
struct Server {
    name: &'static str,
    /// Its configuration under `deploy/in-front`.
    file: &'static str,
    /// What stands in the configuration, and what a test puts there.
    replace: fn(&Test<'_>) -> Vec<(&'static str, String)>,
    /// What runs it on a file with that configuration.
    run: fn(&mut Command, &Path, &Path),
}

/// Where the parts of a test are.
struct Test<'a> {
    listen: SocketAddr,
    gateway: SocketAddr,
    files: &'a Files,
}

const NGINX: Server = Server {
    name: "nginx",
    file: "nginx.conf",
    replace: |test| {
        vec![
            ("listen 443 ssl", format!("listen {} ssl", test.listen)),
            ("/etc/nginx/hooks.example.com.crt", test.files.path("tls.crt")),
            ("/etc/nginx/hooks.example.com.key", test.files.path("tls.key")),
            ("server 127.0.0.1:8080", format!("server {}", test.gateway)),
        ]
    },
    run: |command, folder, site| {
        let folder = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        let main = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off;\n{temporary}include {};\n}}\n",
            site.display()
        );
        let file = site.with_extension("main");
        fs::write(&file, main).unwrap();
        command.args(["-e", "stderr", "-c"]).arg(file);
    },
};

const CADDY: Server = Server {
    name: "caddy",
    file: "Caddyfile",
    replace: |test| {
        let (ip, port) = (test.listen.ip(), test.listen.port());
        let (certificate, key) = (test.files.path("tls.crt"), test.files.path("tls.key"));
        let site = format!(
            "{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\
             https://gateway.example:{port} {{\n\tbind {ip}\n\ttls {certificate} {key}\n"
        );
        vec![
            ("hooks.example.com {\n", site),
            ("reverse_proxy 127.0.0.1:8080", format!("reverse_proxy {}", test.gateway)),
        ]
    },
    run: |command, folder, site| {
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(site).env("HOME", folder);
        command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    },
};

/// An address of loopback that nobody else takes: these servers do not say which port the system chose.
fn own_address() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, TAKEN.fetch_add(1, Ordering::Relaxed), high, low);
    SocketAddr::new(own.into(), 8443)
}

impl Front {
    fn start(server: &Server) -> Option<Self> {
        let mut command = tool(server.name)?;
        let rig = Rig::with_server_and_routes("trusted_proxies: [127.0.0.1]", |upstream| {
            let keys = format!("upstream: \"http://{upstream}/in\", max_body: 26MiB, allowed_ips: [{SENDER}]");
            route("circleci", &keys).replace("path: /hook", "path: /hook/*")
        });
        let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
        let address = own_address();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/in-front").join(server.file);
        let mut text = fs::read_to_string(shipped).unwrap();
        for (old, new) in (server.replace)(&Test { listen: address, gateway: rig.gateway.server, files: &files }) {
            assert_eq!(text.matches(old).count(), 1, "{old} in {}", server.file);
            text = text.replace(old, &new);
        }
        let site: PathBuf = folder.path().join("site");
        fs::write(&site, text).unwrap();
        (server.run)(&mut command, folder.path(), &site);
        let process = Process::start(server.name, &mut command, "");
        poll(&format!("{} listens", server.name), || TcpStream::connect(address).is_ok());
        let client = files.authority.client(&["http/1.1"]);
        Some(Self { _process: process, _folder: folder, rig, address, client })
    }

    /// A connection that comes from this address.
    fn connect(&self, from: Ipv4Addr) -> Connection {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        Stream::start_tls(stream, self.client.clone()).into()
    }

    /// Sends a delivery, which must be refused before the upstream sees it.
    fn refuses(&self, from: Ipv4Addr, delivery: &Delivery, status: u16, reason: &str) -> Response {
        let mut sender = self.connect(from);
        sender.write(&delivery.bytes());
        let response = sender.receive();
        is_problem(&response, status, reason);
        self.rig.upstream.expect_nothing();
        response
    }
}

#[test]
fn a_signed_delivery_comes_through_nginx_byte_for_byte() {
    comes_through_byte_for_byte(&NGINX);
}

#[test]
fn a_signed_delivery_comes_through_caddy_byte_for_byte() {
    comes_through_byte_for_byte(&CADDY);
}

fn comes_through_byte_for_byte(server: &Server) {
    let Some(mut front) = Front::start(server) else { return };
    let target = "/hook/a%2Fb//c/../%7e?x=%20&y=+&z";
    let every_byte: Vec<u8> = (0..=255).collect();
    for body in
        [b" {\"a\" : 1.0,\r\n\t\"b\":\"\xc3\xa9\"}\n\n".to_vec(), every_byte.clone(), every_byte.repeat(12 << 10)]
    {
        for chunks in [None, Some(100_000)] {
            let delivery = Delivery::circleci(&body)
                .target(target)
                .header("X-Twice", "first,  with blanks")
                .header("X-Twice", "second")
                .header("Content-Encoding", "gzip")
                .header("Content-Type", "application/x-any; charset=utf-8");
            let delivery = if let Some(size) = chunks { delivery.chunked(size) } else { delivery };
            let mut sender = front.connect(SENDER);
            sender.write(&delivery.bytes());
            let seen = front.rig.request();
            let answer =
                "HTTP/1.1 418 So it is\r\nContent-Encoding: br\r\nX-Own: a\r\nContent-Length: 4\r\n\r\n\0\x01\r\n";
            front.rig.peer().write(answer);
            let response = sender.receive();

            assert!(seen.body == body, "{} of {} bytes", seen.body.len(), body.len());
            assert_eq!(seen.line(), format!("POST {} HTTP/1.1", target.replace("/hook", "/in")));
            assert_eq!(seen.all("x-twice"), ["first,  with blanks", "second"]);
            assert_eq!(seen.one("content-encoding"), "gzip");
            assert_eq!(seen.one("content-type"), "application/x-any; charset=utf-8");
            assert_eq!(seen.one("hooklatch-verified"), "true");
            // The sender by the word of the server in front, then that server.
            assert_eq!(seen.one("x-forwarded-for"), format!("{SENDER}, 127.0.0.1"));
            assert_eq!(seen.one("x-forwarded-proto"), "https");
            assert_eq!(seen.one("x-forwarded-host"), "gateway.example");

            assert_eq!((response.status, response.body.as_slice()), (418, &b"\0\x01\r\n"[..]));
            assert_eq!((response.header("content-encoding"), response.header("x-own")), (Some("br"), Some("a")));
        }
    }
}

#[test]
fn refusals_come_back_through_nginx_and_nobody_claims_another_address() {
    refusals_come_back(&NGINX);
}

#[test]
fn refusals_come_back_through_caddy_and_nobody_claims_another_address() {
    refusals_come_back(&CADDY);
}

fn refusals_come_back(server: &Server) {
    let Some(front) = Front::start(server) else { return };
    let signed = Delivery::circleci("{}").target("/hook/x");
    front.refuses(SENDER, &signed.clone().body("{ }"), 401, "signature_mismatch");
    front.refuses(SENDER, &Delivery::unsigned("{}").target("/hook/x"), 401, "missing_signature");
    let other = Ipv4Addr::new(127, 0, 0, 3);
    front.refuses(other, &signed, 403, "ip_not_allowed");
    let claimed = signed
        .header("X-Forwarded-For", &SENDER.to_string())
        .header("Forwarded", &format!("for={SENDER}"))
        .header("X-Real-IP", &SENDER.to_string());
    front.refuses(other, &claimed, 403, "ip_not_allowed");
}
