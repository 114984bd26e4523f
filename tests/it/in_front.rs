//! Real nginx, Caddy, Traefik and HAProxy in front of the gateway, with the configurations of `deploy/in-front`: what a
//! signature covers and what the gateway is told about the sender arrive unchanged.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::support::certificates::Files;
use crate::support::gateway::Gateway;
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
    /// Whether it passes TCP on, with a PROXY protocol header, and the gateway ends TLS.
    passes_tcp: bool,
    /// Whether it decodes what need not be encoded in a path (RFC 3986 section 2.3), whatever it is told.
    decodes_unreserved: bool,
    /// What stands in the configuration, and what a test puts there.
    replace: fn(&Test<'_>) -> Vec<(&'static str, String)>,
    /// What runs it in a folder, on a file with that configuration and the address to listen on.
    run: fn(&mut Command, &Path, &Path, SocketAddr),
}

/// Where the parts of a test are.
struct Test<'a> {
    listen: SocketAddr,
    gateway: SocketAddr,
    admin: SocketAddr,
    files: &'a Files,
}

const NGINX: Server = Server {
    name: "nginx",
    file: "nginx.conf",
    passes_tcp: false,
    decodes_unreserved: false,
    replace: |test| {
        vec![
            ("listen 443 ssl", format!("listen {} ssl", test.listen)),
            ("/etc/nginx/hooks.example.com.crt", test.files.path("tls.crt")),
            ("/etc/nginx/hooks.example.com.key", test.files.path("tls.key")),
            ("server 127.0.0.1:8080", format!("server {}", test.gateway)),
        ]
    },
    run: |command, folder, site, _| {
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
    passes_tcp: false,
    decodes_unreserved: false,
    replace: |test| {
        // Its lines are in braces.
        let site = caddy_site(test).replacen("\nbind", " {\nbind", 1);
        vec![
            ("hooks.example.com {\n", site),
            ("reverse_proxy 127.0.0.1:8080", format!("reverse_proxy {}", test.gateway)),
        ]
    },
    run: |command, folder, site, _| {
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(site).env("HOME", folder);
        command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    },
};

/// Caddy with the four lines of the page about public URLs.
const CADDY_IN_FOUR_LINES: Server = Server {
    file: "../../docs/public-url.md",
    replace: |test| {
        let site = caddy_site(test);
        vec![("hooks.example.com\n", site), ("127.0.0.1:8080", test.gateway.to_string())]
    },
    ..CADDY
};

/// Where Caddy listens in a test, with a certificate of the test, in place of its own on the standard ports.
fn caddy_site(test: &Test<'_>) -> String {
    let (ip, port) = (test.listen.ip(), test.listen.port());
    let (certificate, key) = (test.files.path("tls.crt"), test.files.path("tls.key"));
    let options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n";
    format!("{options}https://gateway.example:{port}\nbind {ip}\ntls {certificate} {key}\n")
}

const TRAEFIK: Server = Server {
    name: "traefik",
    file: "traefik-hooklatch.yaml",
    passes_tcp: false,
    decodes_unreserved: true,
    replace: |test| {
        vec![
            ("hooks.example.com`", "gateway.example`".to_owned()),
            ("/etc/traefik/hooks.example.com.crt", test.files.path("tls.crt")),
            ("/etc/traefik/hooks.example.com.key", test.files.path("tls.key")),
            ("http://127.0.0.1:8080", format!("http://{}", test.gateway)),
            ("port: 9797", format!("port: {}", test.admin.port())),
        ]
    },
    run: |command, folder, site, listen| {
        let text = replaced(
            "traefik.yaml",
            &[
                ("\":443\"", format!("\"{listen}\"")),
                ("filename: /etc/traefik/hooklatch.yaml", format!("filename: {}", site.display())),
            ],
        );
        let file = folder.join("traefik.yaml");
        fs::write(&file, text).unwrap();
        command.arg("--configFile").arg(file);
    },
};

const HAPROXY: Server = Server {
    name: "haproxy",
    file: "haproxy.cfg",
    passes_tcp: true,
    decodes_unreserved: false,
    replace: |test| {
        vec![
            ("bind :443", format!("bind {}", test.listen)),
            ("127.0.0.1:8443", test.gateway.to_string()),
            ("port 9797", format!("port {}", test.admin.port())),
        ]
    },
    run: |command, _, site, _| {
        command.arg("-db").arg("-f").arg(site);
    },
};

/// An address of loopback that no other test uses: these servers do not say which port the system chose.
pub fn own_address() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, TAKEN.fetch_add(1, Ordering::Relaxed), high, low);
    SocketAddr::new(own.into(), 8443)
}

/// A file of `deploy/in-front`, or the block of a page, with each of these texts exchanged, which must be there once.
fn replaced(file: &str, exchange: &[(&str, String)]) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/in-front").join(file);
    let mut text = fs::read_to_string(shipped).unwrap();
    if let Some((_, block)) = text.split_once("\n```caddyfile\n") {
        text = block.split_once("```").unwrap().0.to_owned();
    }
    exchange.iter().fold(text, |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old} in {file}");
        text.replace(old, new)
    })
}

impl Front {
    fn start(server: &Server) -> Option<Self> {
        let mut command = tool(server.name)?;
        let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
        let mut keys = "trusted_proxies: [127.0.0.1]".to_owned();
        if server.passes_tcp {
            keys += &format!(", proxy_protocol: true, {}", files.server(""));
        }
        let rig = Rig::with_server_and_routes(&keys, |upstream| {
            let keys = format!("upstream: \"http://{upstream}/in\", max_body: 26MiB, allowed_ips: [{SENDER}]");
            route("circleci", &keys).replace("path: /hook", "path: /hook/*")
        });
        let listen = own_address();
        let Gateway { server: gateway, admin, .. } = rig.gateway;
        let test = Test { listen, gateway, admin, files: &files };
        let site: PathBuf = folder.path().join("site.yaml");
        fs::write(&site, replaced(server.file, &(server.replace)(&test))).unwrap();
        (server.run)(&mut command, folder.path(), &site, listen);
        let process = Process::start(server.name, &mut command, "");
        let client = files.authority.client(&["http/1.1"]);
        let front = Self { _process: process, _folder: folder, rig, address: listen, client };
        poll(&format!("the gateway behind {}", server.name), || front.asks_the_gateway().is_ok_and(|it| it));
        Some(front)
    }

    /// Whether the gateway answers through it; it may not listen yet, or not know yet what is behind it.
    fn asks_the_gateway(&self) -> std::io::Result<bool> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let name = ServerName::try_from("gateway.example").map_err(std::io::Error::other)?;
        let tls = ClientConnection::new(self.client.clone(), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(tls, stream);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        // Some close without ending TLS.
        let _ = stream.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).contains("no_route"))
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

#[test]
fn a_signed_delivery_comes_through_caddy_in_four_lines_byte_for_byte() {
    comes_through_byte_for_byte(&CADDY_IN_FOUR_LINES);
}

#[test]
fn a_signed_delivery_comes_through_traefik_byte_for_byte() {
    comes_through_byte_for_byte(&TRAEFIK);
}

#[test]
fn a_signed_delivery_comes_through_a_balancer_of_tcp_byte_for_byte() {
    comes_through_byte_for_byte(&HAPROXY);
}

fn comes_through_byte_for_byte(server: &Server) {
    let Some(mut front) = Front::start(server) else { return };
    let target = "/hook/a%2Fb//c/../%7e?x=%20&y=+&z";
    let arrives = if server.decodes_unreserved { target.replace("%7e", "~") } else { target.to_owned() };
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
            assert_eq!(seen.line(), format!("POST {} HTTP/1.1", arrives.replace("/hook", "/in")));
            assert_eq!(seen.all("x-twice"), ["first,  with blanks", "second"]);
            assert_eq!(seen.one("content-encoding"), "gzip");
            assert_eq!(seen.one("content-type"), "application/x-any; charset=utf-8");
            assert_eq!(seen.one("hooklatch-verified"), "true");
            // The sender by the word of the server in front, then that server if it speaks HTTP.
            let server_in_front = if server.passes_tcp { "" } else { ", 127.0.0.1" };
            assert_eq!(seen.one("x-forwarded-for"), format!("{SENDER}{server_in_front}"));
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

#[test]
fn refusals_come_back_through_caddy_in_four_lines_and_nobody_claims_another_address() {
    refusals_come_back(&CADDY_IN_FOUR_LINES);
}

#[test]
fn refusals_come_back_through_traefik_and_nobody_claims_another_address() {
    refusals_come_back(&TRAEFIK);
}

#[test]
fn refusals_come_back_through_a_balancer_of_tcp_and_nobody_claims_another_address() {
    refusals_come_back(&HAPROXY);
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
