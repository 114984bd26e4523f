//! gateway.yaml: from text to a checked model, with every error at once.
//!
//! [`load`] reads the file, `raw` parses it into a tree that keeps everything the file says, and pure checks (`validate`,
//! `admin`, `store`, `route`, `delivery`, `retry`, `dedupe`, `sign`, `upstream`, `secret`, `scheme`, `telemetry`, `tls`, `address`,
//! `network`, [`units`]) walk that tree key by key
//! (`reader`) into the types of `model`. [`reload`] decides when to load again. The documentation of each file lists what
//! it refuses; the annotated `gateway.yaml` at the top of the repository lists the keys and their defaults, and [`schema`]
//! gives them to editors.
//!
//! Not checked here: whether an address can be bound and an upstream reached. Loading opens no socket.

mod address;
mod admin;
mod dedupe;
mod delivery;
mod error;
mod load;
mod loopback;
mod mark;
mod model;
mod near;
mod network;
mod place;
mod raw;
mod reader;
mod record;
pub mod reload;
mod retry;
mod route;
mod schema;
mod scheme;
mod secret;
mod sign;
mod sources;
mod store;
mod telemetry;
mod tls;
pub mod units;
mod upstream;
mod url;
mod validate;
mod view;

#[cfg(test)]
mod tests;

pub use address::PathPattern;
pub use admin::Admin;
pub use dedupe::{Dedupe, DedupeKey};
pub use delivery::{Circuit, Delivery, Queue, QueueResponse};
pub(crate) use error::next_step;
pub use error::{ConfigError, LoadError};
pub use load::{admin, admin_address, load, parse, route_names};
pub use model::{AccessLog, Config, RateLimit, Route, Server};
pub use near::suggestion;
pub use network::Networks;
pub use record::Record;
pub use retry::Retry;
pub use route::NO_ROUTE;
pub use schema::schema;
pub use secret::{SecretError, secret_from_env, secret_from_file};
pub use sign::{SIGN_HEADERS, Sign};
pub use sources::{Sources, System};
pub use store::{Keep, Place, Store};
pub use telemetry::{ContextFrom, Otlp, OtlpEndpoint};
pub use tls::{ClientTls, Identity, Roots, ServerTls};
pub use upstream::{HostHeader, Upstream};
pub use url::{Url, UrlPlace};
pub use view::View;
