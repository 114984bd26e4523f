//! Turns the file's tree into the model. Pure: the environment and the files are those of the [`Context`].
//!
//! Every key is checked even after an error, so that one run shows every error.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::address::parse_listen;
use super::admin::{self, Admin};
use super::model::{AccessLog, Config, Server};
use super::network::{self, Networks};
use super::raw::Node;
use super::reader::{Errors, Field, all};
use super::route;
use super::scheme;
use super::secret::explain_key;
use super::sources::Context;
use super::store;
use super::telemetry;
use super::tls;
use super::units::{display_size, parse_duration, parse_size, read_size, read_timeout};

pub(super) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);
pub(super) const DEFAULT_GRACE: Duration = Duration::from_secs(30);
pub(super) const DEFAULT_CONNECTIONS: u32 = 10_000;
pub(super) const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
pub(super) const DEFAULT_HEADER_BYTES: u32 = 64 << 10;
pub(super) const DEFAULT_BUFFERED_BYTES: u64 = 256 << 20;
/// The largest `max_connections`: more would exceed the file descriptors of a process.
pub(super) const MAX_CONNECTIONS: u32 = 1_000_000;
/// The range of `max_header_bytes`: less would refuse common senders, and no webhook needs more.
pub(super) const HEADER_BYTES: std::ops::RangeInclusive<u32> = 1 << 10..=1 << 20;
/// The longest name of a gateway, in bytes: that of a host.
pub(super) const MAX_NAME: usize = 63;
pub(super) const MAX_THREADS: usize = 1024;
pub(super) const ACCESS_LOGS: [(&str, AccessLog); 3] =
    [("all", AccessLog::All), ("refused", AccessLog::Refused), ("none", AccessLog::None)];

/// Checks the whole file. `None` means that `errors` is not empty; the reverse need not hold.
pub(super) fn config(root: &Node, errors: &Errors, context: Context<'_>) -> Option<Config> {
    if *root == Node::Null {
        errors.push("", "the file is empty: at least one route is needed");
        return None;
    }
    let root = Field::root(root, errors);
    if !matches!(root.node(), Node::Map(_)) {
        return root.wrong_kind("a map with routes");
    }
    let mut section = root.section()?;
    let server = match section.get("server") {
        Some(field) => read_server(&field, context),
        None => Some(default_server()),
    };
    let admin = admin::read(&mut section, context);
    if let (Some(server), Some(admin)) = (&server, &admin)
        && server.listen.iter().any(|listen| overlap(*listen, admin.listen))
    {
        errors.push("admin.listen", format!("{} is taken by server.listen", admin.listen));
    }
    let telemetry = section.optional("telemetry", None, |field| telemetry::read(field, context));
    let store = section.optional("store", None, |field| store::read(field, context).map(Some));
    let mut seen = route::Seen::default();
    // A wrong store is reported once, at the store.
    seen.has_store = !matches!(store, Some(None));
    seen.schemes = section.get("schemes").map(|field| scheme::read_own(&field)).unwrap_or_default();
    let routes = section.required("routes", |field| {
        all(read_routes(field)?.iter().map(|field| route::read(field, &mut seen, context)))
    });
    section.finish(explain_key);
    Some(Config {
        server: server?,
        admin: admin?,
        telemetry: telemetry?,
        store: store?,
        routes: routes?,
        warnings: Vec::new(),
    })
}

/// `admin.listen` of a file that may have errors elsewhere.
pub(super) fn admin_listen(root: &Node, errors: &Errors) -> Option<SocketAddr> {
    admin::read_listen(&mut Field::root(root, errors).section()?)
}

/// Reads the section `admin` alone, of a file that may have errors elsewhere.
pub(super) fn admin(root: &Node, errors: &Errors, context: Context<'_>) -> Option<Admin> {
    admin::read(&mut Field::root(root, errors).section()?, context)
}

fn read_server(field: &Field<'_>, context: Context<'_>) -> Option<Server> {
    let default = default_server();
    let mut section = field.section_or_nothing()?;
    let name = section.optional("name", default.name, read_name);
    let listen = section.optional("listen", default.listen, read_listen);
    let tls = section.optional("tls", default.tls, |field| tls::read_server(field, context).map(Some));
    let trusted_proxies = section.optional("trusted_proxies", default.trusted_proxies, network::read);
    let proxy_protocol = section.optional("proxy_protocol", default.proxy_protocol, Field::boolean);
    let threads = section.optional("threads", default.threads, read_threads);
    let max_connections = section.optional("max_connections", default.max_connections, read_connections);
    let header_timeout = section.optional("header_timeout", default.header_timeout, read_timeout);
    let idle_timeout = section.optional("idle_timeout", default.idle_timeout, read_timeout);
    let max_header_bytes = section.optional("max_header_bytes", default.max_header_bytes, read_header_bytes);
    let buffered_bytes = section.optional("buffered_bytes", default.buffered_bytes, read_size);
    let shutdown_grace =
        section.optional("shutdown_grace", default.shutdown_grace, |field| field.parsed_or_number(parse_duration));
    let access_log = section.optional("access_log", default.access_log, |field| field.one_of(&ACCESS_LOGS));
    section.finish(explain_key);
    Some(Server {
        name: name?,
        listen: listen?,
        tls: tls?,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol?,
        threads: threads?,
        max_connections: max_connections?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        max_header_bytes: max_header_bytes?,
        buffered_bytes: buffered_bytes?,
        shutdown_grace: shutdown_grace?,
        access_log: access_log?,
    })
}

fn default_server() -> Server {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Server {
        name: host_name(),
        listen: vec![DEFAULT_LISTEN],
        tls: None,
        trusted_proxies: Networks::default(),
        proxy_protocol: false,
        threads: threads.min(NonZeroUsize::new(MAX_THREADS).unwrap_or(NonZeroUsize::MIN)),
        max_connections: DEFAULT_CONNECTIONS,
        header_timeout: DEFAULT_HEADER_TIMEOUT,
        idle_timeout: DEFAULT_IDLE_TIMEOUT,
        max_header_bytes: DEFAULT_HEADER_BYTES,
        buffered_bytes: DEFAULT_BUFFERED_BYTES,
        shutdown_grace: DEFAULT_GRACE,
        access_log: AccessLog::default(),
    }
}

/// Whether a gateway can have this name.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain)
}

fn read_name(field: &Field<'_>) -> Option<String> {
    let name = field.text()?;
    if !is_name(name) {
        field.error(format!("must be 1 to {MAX_NAME} letters, digits, -, _ and ."));
        return None;
    }
    Some(name.to_owned())
}

fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().unwrap_or_default();
    // The first part of a name that is too long tells hosts apart.
    let name = name.get(..MAX_NAME).unwrap_or(name);
    if is_name(name) { name.to_owned() } else { "gateway".to_owned() }
}

/// One address or a list of them.
fn read_listen(field: &Field<'_>) -> Option<Vec<SocketAddr>> {
    let items = match field.node() {
        Node::List(_) => field.list()?,
        _ => vec![field.clone()],
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let read = items.iter().map(|item| {
        let address = item.parsed_or_number(parse_listen)?;
        if address.port() != 0 && addresses.contains(&address) {
            item.error(format!("{address} is repeated"));
            return None;
        }
        addresses.push(address);
        Some(())
    });
    all(read)?;
    Some(addresses)
}

fn read_threads(field: &Field<'_>) -> Option<NonZeroUsize> {
    let threads = field.integer(1, MAX_THREADS as u64)?;
    NonZeroUsize::new(usize::try_from(threads).ok()?)
}

fn read_connections(field: &Field<'_>) -> Option<u32> {
    u32::try_from(field.integer(1, MAX_CONNECTIONS.into())?).ok()
}

fn read_header_bytes(field: &Field<'_>) -> Option<u32> {
    let size = field.parsed_or_number(parse_size)?;
    let fitting = u32::try_from(size).ok().filter(|size| HEADER_BYTES.contains(size));
    if fitting.is_none() {
        let shown = |size: &u32| display_size(u64::from(*size));
        field.error(format!("must be from {} to {}", shown(HEADER_BYTES.start()), shown(HEADER_BYTES.end())));
    }
    fitting
}

/// Whether two listeners would bind the same port of the same address. Port 0 never overlaps.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let same_address = a.ip() == b.ip() || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && same_address
}

/// The entries of the list of routes.
fn read_routes<'a>(field: &Field<'a>) -> Option<Vec<Field<'a>>> {
    if let Node::Map(_) = field.node() {
        field.error("expected a list, found a map: begin each route with a hyphen and its name, as in `- name: civo`");
        return None;
    }
    field.list()
}
