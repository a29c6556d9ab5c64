//! What goes out over a connection, gathered until it is flushed.
//!
//! Where a connection takes several pieces in one write, h2 hands it a message of 256 bytes or more as a piece of its own,
//! and flushes it before what follows: an answer's trailers, ten bytes, would take a write and a packet for themselves. A
//! connection that takes one piece at a time is given messages of up to 1 KiB together with what stands around them. The
//! pieces of larger ones are put together here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// The most bytes that wait to be flushed; h2's frames have at most 16 KiB. What is larger goes out as it comes.
const MAX_WAITING: usize = 32 * 1024;
/// What a connection keeps room for while nothing waits.
const KEPT: usize = 4 * 1024;

/// A connection that writes when it is flushed.
pub(super) struct Gathered<S> {
    io: S,
    waiting: Vec<u8>,
    /// How much of what waits is written already.
    written: usize,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, waiting: Vec::new(), written: 0 }
    }

    fn poll_write_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.written = 0;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.waiting.len() + bytes.len() > MAX_WAITING {
            ready!(self.poll_write_waiting(cx))?;
        }
        if bytes.len() > MAX_WAITING {
            return Pin::new(&mut self.io).poll_write(cx, bytes);
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_waiting(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_waiting(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

/// Nobody asks who is at the other side.
impl<S> Connected for Gathered<S> {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What was written, a piece each; each takes at most so many bytes.
    struct Pieces(Vec<Vec<u8>>, usize);

    impl AsyncWrite for Pieces {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.1);
            self.0.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_flushed_together_is_written_together() {
        let mut connection = Gathered::new(Pieces(Vec::new(), usize::MAX));
        connection.write_all(b"head").await.unwrap();
        connection.write_all(b"body").await.unwrap();
        assert!(connection.io.0.is_empty());
        connection.flush().await.unwrap();
        connection.write_all(b"trailers").await.unwrap();
        connection.shutdown().await.unwrap();
        assert_eq!(connection.io.0, [b"headbody".to_vec(), b"trailers".to_vec()]);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_moved_where_writes_are_short_and_much_waits() {
        let mut connection = Gathered::new(Pieces(Vec::new(), 1000));
        let mut all = Vec::new();
        for (number, length) in (0..).zip([10, 20_000, 20_000, 40_000, 5]) {
            let bytes = vec![number; length];
            connection.write_all(&bytes).await.unwrap();
            all.extend(bytes);
            assert!(connection.waiting.len() <= MAX_WAITING);
        }
        connection.flush().await.unwrap();
        assert_eq!(connection.io.0.concat(), all);
        assert!(connection.waiting.capacity() <= KEPT);
    }
}
