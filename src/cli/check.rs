//! `hooklatch check`: checks a configuration as `serve` does and prints one line for each route, which also says whether
//! the route answers challenges, and one for the store. Never prints a secret. Warnings about valid but unwise values go to
//! stderr, and so do those about deliveries in the store that are held because the configuration has no route for them.

use std::io;
use std::path::Path;

use super::{Failure, load};
use crate::app::open_files::{self, TooMany};
use crate::config::{Config, Place, Store};
use crate::store::Sizes;
use crate::store::postgres::check::{Seen, look};
use crate::store::postgres::error::OpenError;
use crate::store::postgres::url::Target;
use crate::store::sqlite;
use crate::text::{plain, size};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    for warning in &config.warnings {
        errln!("warning: {}", warning.with_place());
    }
    if let Err(error) = open_files::check(config.server.max_connections) {
        let TooMany { open_files, fit } = error;
        errln!("warning: server.max_connections: {error} (here {open_files} files, for {fit} connections)");
    }
    for route in &config.routes {
        let count = route.secret_ids.len();
        let secrets = if count == 1 { "secret" } else { "secrets" };
        let host = route.host.as_deref().unwrap_or_default();
        let challenges = if route.verifier.challenges().is_some() { "  answers challenges" } else { "" };
        let (name, path, scheme, upstream) = (&route.name, &route.path, &route.scheme.name, &route.upstream);
        outln!("{name}  {host}{path}  {scheme}  {count} {secrets}  {upstream}{challenges}");
    }
    if let Some(store) = &config.store {
        tell_store(&config, store)?;
    }
    Ok(())
}

/// Says what is in the store and what room there is. A store that cannot be read, for instance by another user, is no error;
/// one that `serve` would refuse is, with the same exit status.
fn tell_store(config: &Config, store: &Store) -> Result<(), Failure> {
    let folder = match &store.place {
        Place::Folder(path) => path,
        Place::Postgres { target, .. } => {
            return tell_database(target);
        }
    };
    let path = folder.display();
    let inspected = match sqlite::inspect(folder) {
        Ok(Some(inspected)) => inspected,
        Ok(None) => {
            outln!("store  {path}  nothing stored yet");
            return Ok(());
        }
        Err(error @ (sqlite::OpenError::Foreign { .. } | sqlite::OpenError::Newer { .. })) => {
            return Err(Failure::Unusable(error.to_string()));
        }
        Err(error @ sqlite::OpenError::Damaged { .. }) => return Err(Failure::Failed(error.to_string())),
        Err(sqlite::OpenError::Folder { path, error }) if error.kind() == io::ErrorKind::NotADirectory => {
            let error = sqlite::OpenError::Folder { path, error };
            return Err(Failure::Failed(error.to_string()));
        }
        // Another user may be able to.
        Err(error) => {
            errln!("warning: store: {error}");
            outln!("store  {path}");
            return Ok(());
        }
    };
    let Sizes { used, free } = inspected.sizes;
    let free = free.map(|free| format!(", {} free", size(free))).unwrap_or_default();
    let waiting: u64 = inspected.waiting.values().sum();
    outln!("store  {path}  {} of {} used{free}, {waiting} waiting", size(used), size(store.max_size));
    for (route, count) in &inspected.waiting {
        if !config.routes.iter().any(|known| known.name == *route) {
            errln!(
                "warning: store: {count} waiting deliveries of the route \"{}\" are held, because the configuration has \
                 no route of this name",
                plain(route)
            );
        }
    }
    Ok(())
}

/// Says what database it is. One that cannot be reached from here is no error of the configuration; one that `serve` refuses is.
fn tell_database(target: &Target) -> Result<(), Failure> {
    match look(target) {
        Ok(Seen { server, schema, is_synchronous }) => {
            let tables =
                schema.map_or_else(|| "no tables yet".to_owned(), |version| format!("tables of version {version}"));
            let commits = if is_synchronous { "synchronous" } else { "without a synchronous standby" };
            outln!("store  {target}  PostgreSQL {server}, {tables}, {commits}");
        }
        Err(error @ OpenError::Unfit { .. }) => return Err(Failure::Unusable(error.to_string())),
        Err(error @ OpenError::Refused { .. }) => return Err(Failure::Failed(error.to_string())),
        Err(error @ OpenError::Unreachable { .. }) => {
            errln!("warning: store: {error}");
            outln!("store  {target}");
        }
    }
    Ok(())
}
