//! `admin`: the listener for operators, who may use its API and how browsers are kept apart from it.
//!
//! Refused, in addition to the errors of each reader: 1. a listener that is not on a loopback address and has the API, but no
//! token; 2. a host that no `Host` header can have; 3. a host that is repeated; 4. a token with bytes that an `Authorization`
//! header cannot carry.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::address::{parse_listen, parse_listen_host};
use super::reader::{Field, Section};
use super::secret::{explain_key, read_required};
use super::sources::Context;
use crate::schemes::Secret;

pub(super) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9797);

/// A shorter token gets a warning: it could be guessed.
const SHORT_TOKEN: usize = 16;

/// The listener for operators: metrics, health, and the API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The address to bind; never one of [`Server::listen`](super::Server::listen) (port 0 aside). Default `127.0.0.1:9797`.
    pub listen: SocketAddr,
    /// Whether there is an API (`/api/v1/`) and a page (`/ui/`). Default true.
    pub page: bool,
    /// Further values of the `Host` header that are accepted, in lower case. Default: none.
    pub hosts: Vec<String>,
    /// The token that the API asks for; visible ASCII. `None`, the default: it asks for none, and [`Admin::listen`] is a
    /// loopback address or there is no API.
    pub token: Option<Secret>,
    /// Whether the API refuses every change. Default false.
    pub read_only: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: DEFAULT_LISTEN, page: true, hosts: Vec::new(), token: None, read_only: false }
    }
}

/// Reads the section of the file.
pub(super) fn read(file: &mut Section<'_>, context: Context<'_>) -> Option<Admin> {
    let default = Admin::default();
    let Some(field) = file.get("admin") else { return Some(default) };
    let mut section = field.section_or_nothing()?;
    let listen = section.optional("listen", default.listen, |field| field.parsed_or_number(parse_listen));
    let page = section.optional("page", default.page, Field::boolean);
    let hosts = section.optional("hosts", default.hosts, |field| field.distinct_if_any(parse_listen_host));
    let token = section.get("token");
    let has_token = token.is_some();
    let token = token.map_or(Some(None), |field| read_token(&field, context).map(Some));
    let read_only = section.optional("read_only", default.read_only, Field::boolean);
    section.finish(explain_key);
    if let (Some(listen), Some(true), false) = (listen, page, has_token)
        && !listen.ip().to_canonical().is_loopback()
    {
        let text = format!(
            "is needed, because admin.listen ({listen}) is not a loopback address: set it, or set page: false to have \
             only metrics, health and /config there"
        );
        field.error_below("token", text);
        return None;
    }
    Some(Admin { listen: listen?, page: page?, hosts: hosts?, token: token?, read_only: read_only? })
}

/// Reads `admin.listen` alone, of a file that may have errors elsewhere.
pub(super) fn read_listen(file: &mut Section<'_>) -> Option<SocketAddr> {
    let Some(field) = file.get("admin") else { return Some(DEFAULT_LISTEN) };
    let mut section = field.section_or_nothing()?;
    section.optional("listen", DEFAULT_LISTEN, |field| field.parsed_or_number(parse_listen))
}

fn read_token(field: &Field<'_>, context: Context<'_>) -> Option<Secret> {
    let token = read_required(field, context)?;
    if !token.expose().iter().all(u8::is_ascii_graphic) {
        field.error("the token must be of visible ASCII characters, without spaces");
        return None;
    }
    if token.expose().len() < SHORT_TOKEN {
        field.warn(format!("the token has fewer than {SHORT_TOKEN} characters: make one by openssl rand -hex 32"));
    }
    Some(token)
}
