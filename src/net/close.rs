//! Closes a connection so that its peer reads the last bytes (RFC 9112 section 9.6).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long the last bytes may take to be written, and how long the connection is read afterwards.
const LINGER: Duration = Duration::from_secs(2);

/// How much is read and discarded at once, in bytes.
const DISCARDED: usize = 4096;

/// Writes `answer`, if there is one, and closes the connection in steps (RFC 9112 section 9.6): shuts its own sending side
/// down, then reads until the peer closes too. A peer that is still sending would otherwise get a reset, and its system
/// would discard the answer. Takes at most [`LINGER`] for each step.
pub async fn close<S>(mut stream: S, answer: Option<&[u8]>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let send = async {
        stream.write_all(answer.unwrap_or_default()).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(LINGER, send).await, Ok(Ok(()))) {
        return;
    }
    // No buffer is held while it waits: there can be many such connections.
    let discard = poll_fn(|cx| {
        loop {
            let mut bytes = [0; DISCARDED];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    });
    // The connection is dropped in either case.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
