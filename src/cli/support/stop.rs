//! The signals by which a command is asked to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ready at the first SIGINT, as Ctrl-C sends it, or SIGTERM, as service managers and `kill` do.
///
/// # Errors
/// The signals cannot be listened to.
pub async fn asked_to_stop() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
