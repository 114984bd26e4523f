//! The gateways that are measured, each with the same job: verify CircleCI's HMAC-SHA256 and forward.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::GATEWAY;
use crate::certificate::Certificate;

/// The secret that signs, the last one of every gateway.
pub const SECRET: &str = "benchmark-secret-of-32-bytes-len";
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The keys of a route with a queue, and the section that it needs.
pub const QUEUE: &str = "    delivery: queue\n";
pub const STORE: &str = "store: { path: store, min_free: 0MiB, max_size: 100GiB }\n";
/// The path that verifies.
pub const PATH: &str = "/webhooks/circleci";

/// A gateway that runs. It ends when dropped.
pub struct Gateway {
    /// For the table.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it has its page, if it has one.
    admin: Option<SocketAddr>,
    child: Child,
}

/// What a gateway needs to know.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// A folder for its files.
    pub folder: &'a Path,
    /// Where it forwards to.
    pub upstream: SocketAddr,
    /// How many threads or processes work.
    pub threads: usize,
    /// The cores that it may run on, as taskset(1) has them.
    pub cores: &'a str,
    /// The largest body that comes, in bytes: HAProxy must be told.
    pub largest_body: usize,
    /// Routes that are there but not asked for.
    pub idle_routes: usize,
    /// How many secrets the route has. The last one signs.
    pub secrets: usize,
    /// The certificate of the listener; `None` without TLS.
    pub certificate: Option<&'a Certificate>,
    /// How many connections hooklatch takes; `None`: its default.
    pub max_connections: Option<usize>,
}

impl<'a> Setting<'a> {
    /// One thread on the gateway's core, one route, one secret, small bodies, no TLS.
    pub fn new(folder: &'a Path, upstream: SocketAddr) -> Self {
        Self {
            folder,
            upstream,
            threads: 1,
            cores: GATEWAY,
            largest_body: 4096,
            idle_routes: 0,
            secrets: 1,
            certificate: None,
            max_connections: None,
        }
    }

    /// The secrets in the order in which they are to be tried.
    fn secrets(&self) -> impl Iterator<Item = String> {
        (1..self.secrets).map(|other| format!("an-other-secret-of-32-bytes-{other:04}")).chain([SECRET.to_owned()])
    }
}

/// Starts one.
pub type Start = fn(&Setting<'_>) -> io::Result<Gateway>;

/// HAProxy first: it is what the others are compared with.
pub const ALL: [(&str, Start); 4] =
    [("haproxy", haproxy), ("hooklatch", hooklatch), ("nginx+njs", nginx), ("node", node)];
/// Those that have TLS.
pub const SECURE: &[(&str, Start)] = &[ALL[0], ALL[1], ALL[2]];

impl Gateway {
    /// Starts a program on the setting's cores; it is there when it takes connections.
    pub fn start(
        name: &'static str,
        setting: &Setting<'_>,
        address: SocketAddr,
        program: &Path,
        args: &[&str],
    ) -> io::Result<Self> {
        let log = fs::File::create(setting.folder.join(format!("{name}.log")))?;
        let child = Command::new("taskset")
            .args(["-c", setting.cores])
            .arg(program)
            .args(args)
            .current_dir(setting.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut gateway = Self { name, address, admin: None, child };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if gateway.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(setting.folder.join(format!("{name}.log")))?;
                return Err(io::Error::other(format!("{name} does not start: {log}")));
            }
            std::thread::yield_now();
        }
        Ok(gateway)
    }

    /// Where it has its page.
    pub fn admin(&self) -> io::Result<SocketAddr> {
        self.admin.ok_or_else(|| io::Error::other(format!("{} has no page", self.name)))
    }

    /// The process and the processes that it started, by id.
    pub fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut at = 0;
        while let Some(id) = all.get(at).copied() {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            at += 1;
        }
        all
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Duration {
        let mut nanoseconds = 0;
        for id in self.processes() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { continue };
            for task in tasks.flatten() {
                let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                nanoseconds += stat.split_whitespace().next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Duration::from_nanos(nanoseconds)
    }

    /// Resident memory of all its processes in bytes, shared pages counted by share.
    pub fn memory(&self) -> u64 {
        let pss = |id: &u32| {
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:").map(str::to_owned));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        self.processes().iter().map(pss).sum()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for id in self.processes() {
            let _ = Command::new("kill").arg(id.to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.child.wait();
    }
}

/// hooklatch as built by this run, with its default configuration but for addresses and threads. It is there when it
/// says that it is ready.
pub fn hooklatch(setting: &Setting<'_>) -> io::Result<Gateway> {
    hooklatch_with(setting, "", "")
}

/// The same with a queue, whose store is in its folder.
pub fn queue(setting: &Setting<'_>) -> io::Result<Gateway> {
    hooklatch_with(setting, QUEUE, STORE)
}

/// The same with further keys of the route, and further sections.
pub fn hooklatch_with(setting: &Setting<'_>, keys: &str, sections: &str) -> io::Result<Gateway> {
    let (address, admin) = (free()?, free()?);
    let Setting { upstream, threads, .. } = setting;
    let tls = setting.certificate.map(|certificate| {
        let [certificate, key] = [certificate.certificate(), certificate.key()];
        format!("  tls: {{ certificate: {certificate}, private_key: {key} }}\n")
    });
    let tls = tls.unwrap_or_default();
    let most = setting.max_connections.map(|most| format!("  max_connections: {most}\n")).unwrap_or_default();
    let mut config =
        format!("server:\n  listen: {address}\n  threads: {threads}\n{most}{tls}admin:\n  listen: {admin}\nroutes:\n");
    let mut files = Vec::new();
    for (number, secret) in setting.secrets().enumerate() {
        files.push(format!("{{file: s{number}}}"));
        write(setting, &format!("s{number}"), &secret)?;
    }
    let secrets = files.join(", ");
    config += &format!(
        "  - name: circleci\n    path: {PATH}\n    scheme: circleci\n    secrets: [{secrets}]\n    upstream: http://{upstream}/in\n{keys}"
    );
    // Short, so that ten thousand of them fit into the mebibyte that the file may have.
    for idle in 0..setting.idle_routes {
        config += &format!(
            "  - {{name: i{idle},path: /{idle},scheme: circleci,secrets: [{secrets}],upstream: http://{upstream}/}}\n"
        );
    }
    config += sections;
    let config = write(setting, "gateway.yaml", &config)?;
    let program = PathBuf::from(env!("CARGO_BIN_EXE_hooklatch"));
    let mut gateway = Gateway::start("hooklatch", setting, address, &program, &["serve", "-c", &config])?;
    gateway.admin = Some(admin);
    let deadline = Instant::now() + PATIENCE;
    while ask(admin, "/readyz").is_err() {
        if Instant::now() > deadline {
            return Err(io::Error::other("hooklatch does not get ready"));
        }
        std::thread::yield_now();
    }
    Ok(gateway)
}

/// The body of the admin listener's answer, which must be 200.
pub fn ask(admin: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{path}: {answer}"))),
    }
}

/// HAProxy with its own HMAC and its comparison in constant time.
pub fn haproxy(setting: &Setting<'_>) -> io::Result<Gateway> {
    let address = free()?;
    let Setting { upstream, threads, .. } = setting;
    // Bodies beyond tune.bufsize would be cut, and good signatures refused; a larger one than needed costs CPU.
    let buffer = (setting.largest_body + 8192).max(16_384);
    let bind = setting.certificate.map(|certificate| format!(" ssl crt {} alpn h2,http/1.1", certificate.both()));
    let bind = bind.unwrap_or_default();
    let tries = haproxy_tries(setting);
    let config = format!(
        "global\n  nbthread {threads}\n  tune.bufsize {buffer}\n  maxconn 4000\n\
         defaults\n  mode http\n  timeout client 75s\n  timeout server 10s\n  timeout connect 1s\n  \
         timeout http-request 10s\n  timeout http-keep-alive 75s\n  option http-keep-alive\n  http-reuse always\n  \
         option forwardfor\n\
         frontend in\n  bind {address}{bind}\n  http-request deny deny_status 404 unless {{ path {PATH} }}\n  \
         http-request deny deny_status 401 unless {{ req.hdr(circleci-signature) -m found }}\n  \
         http-request wait-for-body time 10s at-least {buffer}\n  \
         http-request set-var(txn.got) req.hdr(circleci-signature),regsub(^v1=,)\n{tries}  \
         http-request set-path /in\n  default_backend out\n\
         backend out\n  server upstream {upstream}\n"
    );
    let config = write(setting, "haproxy.cfg", &config)?;
    Gateway::start("haproxy", setting, address, Path::new("haproxy"), &["-db", "-f", &config])
}

/// HAProxy's rules that try the secrets in turn; the first one that fits ends the search.
fn haproxy_tries(setting: &Setting<'_>) -> String {
    let mac = |secret| {
        format!("  http-request set-var(txn.mac) req.body,hmac(sha256,{}),hex,lower", STANDARD.encode::<String>(secret))
    };
    let equal = "{ var(txn.got),secure_memcmp(txn.mac) }";
    if setting.secrets == 1 {
        return mac(SECRET.to_owned()) + &format!("\n  http-request deny deny_status 401 unless {equal}\n");
    }
    let fits = "{ var(txn.fits) -m bool }";
    let one = |secret| {
        let set = format!("  http-request set-var(txn.fits) bool(true) if !{fits} {equal}");
        format!("{} unless {fits}\n{set}\n", mac(secret))
    };
    setting.secrets().map(one).chain([format!("  http-request deny deny_status 401 unless {fits}\n")]).collect()
}

/// nginx with njs, which verifies in a handler and forwards by an internal redirect.
pub fn nginx(setting: &Setting<'_>) -> io::Result<Gateway> {
    let address = free()?;
    let Setting { upstream, threads, folder, .. } = setting;
    let secrets = javascript(setting);
    let (listen, tls) = match setting.certificate {
        None => (String::new(), String::new()),
        Some(certificate) => (
            " ssl http2".to_owned(),
            // Without the list, nginx before 1.23.4 leaves TLS 1.3 out.
            format!(
                "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
                certificate.certificate(),
                certificate.key()
            ),
        ),
    };
    let script = format!(
        "import crypto from 'crypto';\nconst secrets = {secrets};\n\
         function verify(r) {{\n  const header = r.headersIn['circleci-signature'];\n  \
         if (!header) {{ r.return(401); return; }}\n  \
         for (let s = 0; s < secrets.length; s++) {{\n    \
         const mac = crypto.createHmac('sha256', secrets[s]).update(r.requestBuffer || '').digest('hex');\n    \
         let differs = header.length ^ (mac.length + 3);\n    \
         for (let i = 0; i < mac.length; i++) differs |= header.charCodeAt(i + 3) ^ mac.charCodeAt(i);\n    \
         if (!differs) {{ r.internalRedirect('@out'); return; }}\n  }}\n  \
         r.return(401);\n}}\nexport default {{ verify }};\n"
    );
    write(setting, "verify.js", &script)?;
    let folder = folder.display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;\nworker_processes {threads};\ndaemon off;\n\
         pid {folder}/nginx.pid;\nerror_log {folder}/nginx-error.log;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  \
         fastcgi_temp_path {folder}/f;\n  uwsgi_temp_path {folder}/u;\n  scgi_temp_path {folder}/s;\n  \
         js_import verify from {folder}/verify.js;\n  client_max_body_size 2m;\n  client_body_buffer_size 2m;\n  \
         keepalive_requests 100000000;\n  \
         upstream out {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n  \
         server {{\n    listen {address}{listen};\n    {tls}\n    location = {PATH} {{ js_content verify.verify; }}\n    \
         location @out {{ rewrite .* /in break; proxy_pass http://out; proxy_http_version 1.1; proxy_set_header Connection ''; }}\n    \
         location / {{ return 404; }}\n  }}\n}}\n"
    );
    let config = write(setting, "nginx.conf", &config)?;
    Gateway::start("nginx+njs", setting, address, Path::new("nginx"), &["-c", &config])
}

/// A Node program as one would write it, without TLS.
pub fn node(setting: &Setting<'_>) -> io::Result<Gateway> {
    let address = free()?;
    let Setting { upstream, .. } = setting;
    let secrets = javascript(setting);
    let script = format!(
        "const http = require('node:http'); const crypto = require('node:crypto');\nconst secrets = {secrets};\n\
         const agent = new http.Agent({{ keepAlive: true, maxSockets: 128 }});\n\
         http.createServer((req, res) => {{\n  \
         if (req.url !== '{PATH}') {{ res.writeHead(404).end(); req.resume(); return; }}\n  \
         const header = req.headers['circleci-signature'];\n  \
         if (!header) {{ res.writeHead(401).end(); req.resume(); return; }}\n  \
         const chunks = []; req.on('data', (chunk) => chunks.push(chunk)); req.on('end', () => {{\n    \
         const body = Buffer.concat(chunks);\n    \
         const got = Buffer.from(header.slice(3), 'hex');\n    \
         const fits = secrets.some((secret) => {{\n      \
         const mac = crypto.createHmac('sha256', secret).update(body).digest();\n      \
         return got.length === mac.length && crypto.timingSafeEqual(got, mac); }});\n    \
         if (!fits) {{ res.writeHead(401).end(); return; }}\n    \
         const headers = Object.assign({{}}, req.headers, {{ host: '{upstream}', 'content-length': body.length,\n      \
         connection: 'keep-alive' }});\n    \
         const out = http.request({{ agent, host: '{}', port: {}, path: '/in', method: req.method, headers }}, (answer) => {{\n      \
         res.writeHead(answer.statusCode, answer.headers); answer.pipe(res); }});\n    \
         out.on('error', () => res.writeHead(502).end()); out.end(body); }});\n\
         }}).listen({}, '127.0.0.1');\n",
        upstream.ip(),
        upstream.port(),
        address.port()
    );
    let script = write(setting, "gateway.js", &script)?;
    Gateway::start("node", setting, address, Path::new("node"), &[&script])
}

/// The secrets as a list of JavaScript.
fn javascript(setting: &Setting<'_>) -> String {
    format!("{:?}", setting.secrets().collect::<Vec<_>>())
}

fn write(setting: &Setting<'_>, name: &str, text: &str) -> io::Result<String> {
    let path = setting.folder.join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// An address that is free.
pub fn free() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
