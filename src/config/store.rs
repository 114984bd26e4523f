//! `store`: the folder that keeps deliveries over restarts, its limits, and how long it keeps each kind of record.
//!
//! Refused, in addition to the errors of each reader: 1. a store without `path`; 2. `postgres`, beside `path` or instead of
//! it, because this version does not support it.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Field;
use super::secret::explain_key;
use super::sources::Context;
use super::units::{parse_duration, parse_size, read_size};

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
    /// The folder of the database. A relative name is relative to the folder of the configuration.
    pub path: PathBuf,
    /// The most bytes that the folder may hold, after which queue routes refuse deliveries; not zero. Default 10 GiB.
    pub max_size: u64,
    /// The free bytes of the file system below which queue routes refuse deliveries; may be zero. Default 1 GiB.
    pub min_free: u64,
    /// How long finished deliveries are kept.
    pub keep: Keep,
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
    let path = section.required("path", |field| read_path(field, context));
    let max_size = section.optional("max_size", DEFAULT_MAX_SIZE, read_size);
    let min_free = section.optional("min_free", DEFAULT_MIN_FREE, |field| field.parsed_or_number(parse_size));
    let keep = section.optional("keep", DEFAULT_KEEP, read_keep);
    section.finish(explain);
    Some(Store { path: path?, max_size: max_size?, min_free: min_free?, keep: keep? })
}

fn explain(key: &str) -> Option<String> {
    match key {
        "postgres" => Some("is not supported yet: set path to a folder, and remove this key".to_owned()),
        _ => explain_key(key),
    }
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
