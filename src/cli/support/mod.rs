//! What several commands share.

pub(super) mod api;
pub(super) mod bash;
pub(super) mod captured;
pub(super) mod confirm;
pub(super) mod events;
pub(super) mod follow;
pub(super) mod handler;
pub(super) mod http;
pub(super) mod line;
pub(super) mod logging;
pub(super) mod loopback;
pub(super) mod pinned;
pub(super) mod stop;
pub(super) mod summary;
pub(super) mod systemd;
pub(super) mod vectors;
pub(super) mod watched;
