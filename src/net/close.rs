//! Closes a connection so that its peer reads the last bytes (RFC 9112 section 9.6).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long an answer may take to be sent, and how long a closed connection is read on, for the sender to see it.
const LINGER: Duration = Duration::from_secs(2);

/// What is read at once and thrown away, in bytes.
const DISCARDED: usize = 4096;

/// Sends `answer`, if there is one, and closes the connection in steps (RFC 9112 section 9.6): shuts the sending side
/// down and reads on until the sender closes too, for it may still be sending, and its system would throw the answer
/// away. Takes [`LINGER`] for each at most.
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
    // Nothing is held meanwhile: there can be many.
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
    // Either way the connection is then dropped.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
