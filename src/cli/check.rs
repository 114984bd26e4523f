//! `hooklatch check`: checks a configuration as `serve` does and prints one line for each route, which also says whether
//! the route answers challenges, and one for the store. Never prints a secret. Warnings about valid but unwise values go to
//! stderr, and so do those about deliveries in the store that are held because the configuration has no route for them.

use std::path::Path;

use super::{Failure, load};
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

/// Says what is in the store and what room there is. A store that cannot be read, for instance by another user, is no error of
/// the configuration.
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
        Err(error @ OpenError::Unfit { .. }) => return Err(Failure::Failed(error.to_string())),
        Err(error @ OpenError::Unreachable { .. }) => {
            errln!("warning: store: {error}");
            outln!("store  {target}");
        }
    }
    Ok(())
}
