//! The number of files that the process may have open, and how many connections fit into it.
//!
//! A connection from a sender takes one descriptor, and another one while its delivery is with an upstream. A gateway that runs
//! out of descriptors can neither refuse a connection nor answer `/readyz`, so that it accepts fewer connections instead.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors for everything but connections from senders, at least: listeners, the runtime of each thread, files, the store, the
/// admin listener, connections to upstreams, and those that are refused.
const RESERVE: u64 = 192;

/// What the limit is raised to where the hard one is no number. macOS takes no more (setrlimit(2), OPEN_MAX).
const WITHOUT_LIMIT: Option<u64> = if cfg!(target_os = "macos") { Some(10_240) } else { None };

/// Raises the soft limit to the hard one (getrlimit(2)). The soft one is 1,024 in most shells and services, for the sake of
/// programs that use select(2), which this one does not.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum.or(WITHOUT_LIMIT);
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

/// Connections that do not all fit into the number of files that the process may have open.
#[derive(Debug, thiserror::Error)]
#[error("max_connections is more than the limit of open files allows: raise LimitNOFILE or `ulimit -n`, or lower it")]
pub struct TooMany {
    /// The limit of open files.
    pub open_files: u64,
    /// How many connections fit into it.
    pub fit: u32,
}

/// How many of `wanted` connections fit into the number of files that the process may have open. Warns if that is not all.
pub(super) fn connections(wanted: u32) -> u32 {
    match within(getrlimit(Resource::Nofile).current, wanted) {
        Ok(()) => wanted,
        Err(error) => {
            let TooMany { open_files, fit } = error;
            tracing::warn!(max_connections = wanted, open_files, connections = fit, "{error}");
            fit
        }
    }
}

/// Whether as many connections will fit into the number of files that a gateway may have open, if it is started here.
///
/// # Errors
/// They do not.
pub fn check(wanted: u32) -> Result<(), TooMany> {
    within(getrlimit(Resource::Nofile).maximum.or(WITHOUT_LIMIT), wanted)
}

fn within(open_files: Option<u64>, wanted: u32) -> Result<(), TooMany> {
    let Some(open_files) = open_files else { return Ok(()) };
    let fit = fitting(open_files, wanted);
    if fit < wanted { Err(TooMany { open_files, fit }) } else { Ok(()) }
}

fn fitting(open_files: u64, wanted: u32) -> u32 {
    // A third, since not every connection has a delivery with an upstream; with very few, half.
    let reserve = (open_files / 3).max(RESERVE).min(open_files / 2);
    wanted.min(u32::try_from(open_files - reserve).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_their_upstreams_and_for_everything_else() {
        assert_eq!(fitting(65_536, 10_000), 10_000);
        assert_eq!(fitting(1_024, 10_000), 683);
        assert_eq!(fitting(1_024, 100), 100);
        assert_eq!(fitting(400, 10_000), 208);
        assert_eq!(fitting(64, 100), 32);
        assert_eq!(fitting(0, 100), 1);
    }
}
