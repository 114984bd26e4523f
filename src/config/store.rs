//! `store`: the folder or the database that keeps deliveries over restarts, its limits, and how long it keeps each kind of
//! record.
//!
//! Refused, in addition to the errors of each reader: 1. a store with neither or both of `path` and `postgres`; 2. a URL that
//! [`Target`] refuses, with its reason and without a value of it. `min_free` says nothing of a database, and gets a warning.

use std::path::PathBuf;
use std::time::Duration;

use super::mark::Mark;
use super::reader::{Field, Section};
use super::secret::{explain_key, read_required};
use super::sources::Context;
use super::units::{parse_duration, parse_size, read_size};
use crate::store::postgres::url::Target;

const GIB: u64 = 1 << 30;
pub(super) const DEFAULT_MAX_SIZE: u64 = 10 * GIB;
pub(super) const DEFAULT_MIN_FREE: u64 = GIB;
pub(super) const DEFAULT_KEEP: Keep = Keep {
    delivered: Duration::from_secs(72 * 3600),
    dead: Duration::from_secs(30 * 24 * 3600),
    refused: Duration::from_secs(24 * 3600),
};

/// Where deliveries and their records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The folder or the database.
    pub place: Place,
    /// The most bytes that it may hold, after which queue routes refuse deliveries; not zero. Default 10 GiB.
    pub max_size: u64,
    /// The free bytes of the file system below which queue routes refuse deliveries; may be zero. Default 1 GiB.
    pub min_free: u64,
    /// How long finished deliveries are kept.
    pub keep: Keep,
}

/// What keeps deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder, with a database of its own. A relative name is relative to the folder of the configuration.
    Folder(PathBuf),
    /// A PostgreSQL database, which several gateways share.
    Postgres {
        /// How to connect to it.
        target: Box<Target>,
        /// Shows whether the URL is another one.
        mark: Mark,
    },
}

/// How long a delivery is kept after it has ended, by the way it ended. Zero: it is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// For a delivery that the handler has accepted. Default 72 h.
    pub delivered: Duration,
    /// For a delivery that was given up. Default 30 days.
    pub dead: Duration,
    /// For a delivery that was refused. Default 24 h.
    pub refused: Duration,
}

/// Reads the section.
pub(super) fn read(field: &Field<'_>, context: Context<'_>) -> Option<Store> {
    let mut section = field.section_or_nothing()?;
    let place = read_place(field, &mut section, context);
    let max_size = section.optional("max_size", DEFAULT_MAX_SIZE, read_size);
    let min_free = section.optional("min_free", DEFAULT_MIN_FREE, |field| field.parsed_or_number(parse_size));
    let keep = section.optional("keep", DEFAULT_KEEP, read_keep);
    if let (Some(Place::Postgres { .. }), Some(field)) = (&place, section.get("min_free")) {
        field.warn("is ignored: the free space of the database's file system is not known here");
    }
    section.finish(explain_key);
    Some(Store { place: place?, max_size: max_size?, min_free: min_free?, keep: keep? })
}

/// `path` or `postgres`: one of them.
fn read_place(store: &Field<'_>, section: &mut Section<'_>, context: Context<'_>) -> Option<Place> {
    let path = section.optional("path", None, |field| read_path(field, context).map(Some));
    let postgres = section.optional("postgres", None, |field| read_postgres(field, context).map(Some));
    match (path?, postgres?) {
        (Some(path), None) => Some(Place::Folder(path)),
        (None, Some(postgres)) => Some(postgres),
        (Some(_), Some(_)) => {
            store.error("has both path and postgres: set one of them");
            None
        }
        (None, None) => {
            store.error("needs path (a folder) or postgres (a database that gateways share)");
            None
        }
    }
}

fn read_postgres(field: &Field<'_>, context: Context<'_>) -> Option<Place> {
    let mut section = field.section()?;
    let read = section.required("url", |field| {
        let url = read_required(field, context)?;
        let parsed = std::str::from_utf8(url.expose()).map_err(|_not_text| "is no text".to_owned());
        match parsed.and_then(|url| url.trim().parse::<Target>().map_err(|error| error.to_string())) {
            Ok(target) => Some(Place::Postgres { target: Box::new(target), mark: Mark::of(url.expose()) }),
            Err(why) => {
                field.error(format!("the URL cannot be used: {why}"));
                None
            }
        }
    });
    section.finish(explain_key);
    read
}

fn read_path(field: &Field<'_>, context: Context<'_>) -> Option<PathBuf> {
    let name = field.text()?;
    if name.is_empty() {
        field.error("must be the path of a folder");
        return None;
    }
    Some(context.folder.join(name))
}

fn read_keep(field: &Field<'_>) -> Option<Keep> {
    let mut section = field.section()?;
    let time = |field: &Field<'_>| field.parsed_or_number(parse_duration);
    let delivered = section.optional("delivered", DEFAULT_KEEP.delivered, time);
    let dead = section.optional("dead", DEFAULT_KEEP.dead, time);
    let refused = section.optional("refused", DEFAULT_KEEP.refused, time);
    section.finish(explain_key);
    Some(Keep { delivered: delivered?, dead: dead?, refused: refused? })
}
