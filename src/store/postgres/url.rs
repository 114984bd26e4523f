//! The URL of a database, as libpq reads it: several hosts, `sslmode`, `sslrootcert`, `options`.
//!
//! Refused, with the reason: what is no URL of PostgreSQL, a parameter that is not known, an `sslmode` or a
//! `target_session_attrs` that cannot be honoured. No error and no `Debug` text has the password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The schema of the tables, unless `search_path` names another.
const SCHEMA: &str = "hooklatch";
/// How long one host has to take a connection, unless `connect_timeout` says it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the kernel waits for a sign of the server before it gives the connection up.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest name of a schema, in bytes.
const MAX_NAME: usize = 63;

/// Parameters of libpq that this client does not have, and what to do instead.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("sslcert", "client certificates are not supported: let the role log in by password"),
    ("sslkey", "client certificates are not supported: let the role log in by password"),
    ("sslcrl", "lists of revoked certificates are not supported"),
    ("passfile", "is not read: put the password into the URL, which comes from a variable or a file"),
    ("service", "service files are not read: put the hosts into the URL"),
    ("hostaddr", "put the address into the place of the host"),
];

/// What is checked of the server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verify {
    /// Nothing.
    Nothing,
    /// That one of the roots has signed it.
    Ca(Roots),
    /// That, and that it is for this host.
    Full(Roots),
}

/// Which roots sign servers' certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Roots {
    /// Those of the system.
    System,
    /// Those in this file.
    File(PathBuf),
}

/// Why a URL cannot be used. The text has no part of it but names of parameters.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct UrlError(String);

/// A database, and how to connect to it.
#[derive(Clone, Eq, PartialEq)]
pub struct Target {
    pub(super) config: Config,
    pub(super) verify: Verify,
    pub(super) schema: String,
}

impl Target {
    /// How tokio-postgres connects.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same for each host alone, in order.
    pub fn hosts(&self) -> impl Iterator<Item = Config> + '_ {
        let (config, ports) = (&self.config, self.config.get_ports());
        let alone = |(index, host): (usize, &Host)| {
            let mut alone = Config::new();
            match host {
                Host::Tcp(name) => alone.host(name),
                Host::Unix(path) => alone.host_path(path),
            };
            ports.get(index).or(ports.first()).map(|port| alone.port(*port));
            config.get_user().map(|user| alone.user(user));
            config.get_password().map(|password| alone.password(password));
            config.get_dbname().map(|name| alone.dbname(name));
            config.get_options().map(|options| alone.options(options));
            config.get_application_name().map(|name| alone.application_name(name));
            config.get_connect_timeout().map(|timeout| alone.connect_timeout(*timeout));
            config.get_tcp_user_timeout().map(|timeout| alone.tcp_user_timeout(*timeout));
            config.get_keepalives_interval().map(|interval| alone.keepalives_interval(interval));
            config.get_keepalives_retries().map(|retries| alone.keepalives_retries(retries));
            alone.keepalives(config.get_keepalives()).keepalives_idle(config.get_keepalives_idle());
            alone.ssl_mode(config.get_ssl_mode()).ssl_negotiation(config.get_ssl_negotiation());
            alone.channel_binding(config.get_channel_binding());
            alone.load_balance_hosts(config.get_load_balance_hosts());
            alone.target_session_attrs(config.get_target_session_attrs());
            alone
        };
        config.get_hosts().iter().enumerate().map(alone)
    }

    /// What is checked of the server's certificate.
    pub fn verify(&self) -> &Verify {
        &self.verify
    }

    /// The schema of the tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

/// Hosts, database and schema: what people may see of it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) if name.contains(':') => write!(f, "{comma}[{name}]")?,
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            if port != 5432 {
                write!(f, ":{port}")?;
            }
        }
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "/{database}, schema {}", self.schema)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl FromStr for Target {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(error("must begin with postgres:// or postgresql://"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        // tokio-postgres takes the first one for the end of the password, and the rest of it for a host.
        if base.matches('@').count() > 1 {
            return Err(error("has an @ in its user or password: write %40"));
        }
        let (mut ssl_mode, mut root, mut schema, mut timeout) = (None, None, None, None);
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| error("has a parameter without a value"))?;
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_not_text| error(format!("has a value of {} that is no text", known_name(name))))?;
            match name {
                "sslmode" => ssl_mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(value.into_owned()),
                "search_path" => schema = Some(first_of_path(&value)?),
                "options" => {
                    if let Some(path) = search_path_of(&value) {
                        schema = Some(first_of_path(path)?);
                    }
                    others.push(pair);
                }
                "connect_timeout" => timeout = Some(seconds(&value)?),
                "target_session_attrs" => match &*value {
                    // What is connected to is always asked for writing.
                    "any" | "read-write" | "primary" => {}
                    _ => return Err(error("target_session_attrs must be read-write: the store writes")),
                },
                _ => {
                    if let Some((name, why)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
                        return Err(error(format!("{name}: {why}")));
                    }
                    others.push(pair);
                }
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let mut config = Config::from_str(&rest).map_err(|failed| error(why(&failed)))?;
        if config.get_hosts().is_empty() {
            return Err(error("names no host"));
        }
        let (mode, verify) = tls(ssl_mode.as_deref(), root)?;
        config.ssl_mode(mode);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(timeout.unwrap_or(CONNECT_TIMEOUT));
        config.tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE);
        config.keepalives_interval(SILENCE / 4);
        config.keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("hooklatch");
        }
        Ok(Self { config, verify, schema: schema.unwrap_or_else(|| SCHEMA.to_owned()) })
    }
}

fn error(text: impl Into<String>) -> UrlError {
    UrlError(text.into())
}

/// Only plain words of the URL are repeated: anything else may be a part of a secret in a wrong place.
fn known_name(name: &str) -> &str {
    let is_plain = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_plain { name } else { "a parameter" }
}

/// What tokio-postgres says of a URL, without a value of it.
fn why(failed: &tokio_postgres::Error) -> String {
    let text = std::error::Error::source(failed).map(ToString::to_string).unwrap_or_default();
    match text.strip_prefix("unknown option `").and_then(|rest| rest.strip_suffix('`')) {
        Some(name) => format!("the parameter {} is not known", known_name(name)),
        None => match text.strip_prefix("invalid value for option `").and_then(|rest| rest.strip_suffix('`')) {
            Some(name) => format!("the value of {} is not valid", known_name(name)),
            None => "is no URL as PostgreSQL reads it: postgres://USER:PASSWORD@HOST[:PORT][,HOST…]/DATABASE, with \
                     reserved characters percent-encoded"
                .to_owned(),
        },
    }
}

fn seconds(value: &str) -> Result<Duration, UrlError> {
    let seconds: u32 = value.trim().parse().map_err(|_no_number| error("connect_timeout must be seconds"))?;
    // As in libpq, 0 and below is no limit; here it is the default.
    Ok(if seconds == 0 { CONNECT_TIMEOUT } else { Duration::from_secs(seconds.into()) })
}

/// What `sslmode` and `sslrootcert` mean: as in libpq, a root makes `require` a `verify-ca`.
fn tls(mode: Option<&str>, root: Option<String>) -> Result<(SslMode, Verify), UrlError> {
    let roots = root.map(|root| if root == "system" { Roots::System } else { Roots::File(root.into()) });
    // As in libpq: roots that everybody has say nothing without the name.
    let mode = match (mode, &roots) {
        (None, Some(Roots::System)) => "verify-full",
        (Some(mode), Some(Roots::System)) if mode != "verify-full" => {
            return Err(error("sslrootcert=system needs sslmode=verify-full"));
        }
        (mode, _) => mode.unwrap_or("prefer"),
    };
    let (mode, verify) = match (mode, roots) {
        ("disable", _) => (SslMode::Disable, Verify::Nothing),
        // libpq tries without TLS first; with a server that takes both, this is the better of the two.
        ("allow" | "prefer", _) => (SslMode::Prefer, Verify::Nothing),
        ("require", None) => (SslMode::Require, Verify::Nothing),
        ("require" | "verify-ca", Some(roots)) => (SslMode::Require, Verify::Ca(roots)),
        ("verify-ca", None) => (SslMode::Require, Verify::Ca(Roots::System)),
        ("verify-full", roots) => (SslMode::Require, Verify::Full(roots.unwrap_or(Roots::System))),
        _ => return Err(error("sslmode must be disable, allow, prefer, require, verify-ca or verify-full")),
    };
    Ok((mode, verify))
}

/// The value of `search_path` in `options`: `-c search_path=x`, `-csearch_path=x` or `--search_path=x`.
fn search_path_of(options: &str) -> Option<&str> {
    let words = options.split_whitespace();
    let settings = words.map(|word| word.strip_prefix("--").or(word.strip_prefix("-c")).unwrap_or(word));
    settings.filter_map(|setting| setting.strip_prefix("search_path=")).next_back()
}

/// The first schema of a search path: the one in which tables are made.
fn first_of_path(path: &str) -> Result<String, UrlError> {
    let first = path.split(',').next().unwrap_or_default().trim();
    let name = first.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(first);
    if name.is_empty() || name.len() > MAX_NAME || name.contains(['"', '\0']) || name.starts_with('$') {
        return Err(error("search_path must name a schema"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        url.parse().unwrap()
    }

    fn refused(url: &str) -> String {
        let error = url.parse::<Target>().unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        error
    }

    #[test]
    fn people_see_hosts_database_and_schema_and_never_the_password() {
        let target = target("postgres://user:s3cret@one,two:6543/orders?sslmode=require");
        assert_eq!(target.to_string(), "postgres://one,two:6543/orders, schema hooklatch");
        assert!(!format!("{target:?}").contains("s3cret"));
        assert_eq!(target.config().get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(target.config().get_password(), Some(&b"s3cret"[..]));
    }

    #[test]
    fn each_host_is_connected_to_as_the_url_says() {
        let rest = "orders?sslmode=require&application_name=x&options=-c%20geqo%3Doff&keepalives=0&channel_binding=disable\
            &keepalives_retries=7&connect_timeout=9&load_balance_hosts=random&tcp_user_timeout=4";
        let both = target(&format!("postgres://user:s3cret@one:6543,%2Frun%2Fpg/{rest}"));
        let alone =
            [format!("postgres://user:s3cret@one:6543/{rest}"), format!("postgres://user:s3cret@%2Frun%2Fpg/{rest}")];
        let alone = alone.map(|url| target(&url).config().clone());
        assert_eq!(both.hosts().collect::<Vec<_>>(), alone);
    }

    #[test]
    fn sslmode_and_sslrootcert_mean_what_they_mean_to_libpq() {
        let file = || Roots::File("/etc/ca.pem".into());
        for (query, mode, verify) in [
            ("", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=disable", SslMode::Disable, Verify::Nothing),
            ("?sslmode=prefer", SslMode::Prefer, Verify::Nothing),
            ("?sslmode=require", SslMode::Require, Verify::Nothing),
            ("?sslmode=require&sslrootcert=/etc/ca.pem", SslMode::Require, Verify::Ca(file())),
            ("?sslmode=verify-ca&sslrootcert=%2Fetc%2Fca.pem", SslMode::Require, Verify::Ca(file())),
            ("?sslmode=verify-ca", SslMode::Require, Verify::Ca(Roots::System)),
            ("?sslrootcert=system", SslMode::Require, Verify::Full(Roots::System)),
            ("?sslrootcert=system&sslmode=verify-full", SslMode::Require, Verify::Full(Roots::System)),
            ("?sslmode=verify-full&sslrootcert=/etc/ca.pem", SslMode::Require, Verify::Full(file())),
        ] {
            let target = target(&format!("postgres://u@h/d{query}"));
            assert_eq!((target.config().get_ssl_mode(), target.verify()), (mode, &verify), "{query}");
        }
        assert!(refused("postgres://u:s3cret@h/d?sslmode=s3cret").starts_with("sslmode must be"));
    }

    #[test]
    fn the_schema_is_the_first_one_of_the_search_path() {
        for (query, schema) in [
            ("", "hooklatch"),
            ("?options=-csearch_path%3Dorders", "orders"),
            ("?options=-c%20search_path%3Dorders%2Cpublic", "orders"),
            ("?options=-c%20geqo%3Doff%20--search_path%3Da", "a"),
            ("?options=-c%20geqo%3Doff", "hooklatch"),
            ("?search_path=%22My%22", "My"),
        ] {
            assert_eq!(target(&format!("postgres://u@h/d{query}")).schema(), schema, "{query}");
        }
        assert_eq!(refused("postgres://u@h/d?search_path=%24user"), "search_path must name a schema");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_and_its_value_is_not_repeated() {
        for (url, text) in [
            ("mysql://u:s3cret@h/d", "must begin with postgres://"),
            ("host=h password=s3cret", "must begin with postgres://"),
            ("postgres://u:s3cret@h/d?sslcert=x", "sslcert: client certificates are not supported"),
            ("postgres://u:s3cret@h/d?target_session_attrs=read-only", "target_session_attrs must be read-write"),
            ("postgres://u:s3cret@h/d?colour=s3cret", "the parameter colour is not known"),
            ("postgres://u:s3cret@h:s3cret/d", "the value of port is not valid"),
            ("postgres://u:s3cret@h/d?connect_timeout=s3cret", "connect_timeout must be seconds"),
            ("postgres://u@h/d?sslrootcert=system&sslmode=require", "sslrootcert=system needs sslmode=verify-full"),
            ("postgres://u:s3@cret@h/d", "has an @ in"),
            ("postgres://u:s3@cret/word@h/d", "has an @ in"),
            ("postgres:///d", "names no host"),
        ] {
            assert!(refused(url).starts_with(text), "{url}: {}", refused(url));
        }
    }
}
