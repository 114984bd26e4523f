//! The schema of `store`.

use serde_json::Value;

use super::kinds::{duration_or_zero, file, map, size, size_or_zero};
use super::secret;
use crate::config::store as of;

pub(super) fn store() -> Value {
    map(
        "Where deliveries and their records are kept. Default: in memory; then no route can have a queue.",
        &[],
        [
            ("path", file("The folder of the database, relative to this file's folder; or postgres. Needs a restart.")),
            ("postgres", postgres()),
            (
                "max_size",
                size(
                    "The largest size of the folder; above it routes with a queue answer 503.",
                    Some(of::DEFAULT_MAX_SIZE),
                ),
            ),
            (
                "min_free",
                size_or_zero(
                    "Free space of the file system; below it routes with a queue answer 503.",
                    of::DEFAULT_MIN_FREE,
                ),
            ),
            ("keep", keep()),
        ],
    )
}

fn postgres() -> Value {
    map(
        "Instead of path: a PostgreSQL database, which several gateways share. Needs a restart.",
        &["url"],
        [("url", secret::source("The URL, with the password: postgres://USER:PASSWORD@HOST/DATABASE."))],
    )
}

fn keep() -> Value {
    let of::Keep { delivered, dead, refused } = of::DEFAULT_KEEP;
    map(
        "How long deliveries are kept after they have ended; 0s: they are not kept.",
        &[],
        [
            ("delivered", duration_or_zero("For deliveries that the handler has accepted.", delivered)),
            ("dead", duration_or_zero("For deliveries that were given up.", dead)),
            ("refused", duration_or_zero("For deliveries that were refused.", refused)),
        ],
    )
}
