//! What goes out over a connection, gathered until its task has done all that there was to do.
//!
//! h2 writes a message of some hundred bytes or more as a piece of its own, and flushes it before what follows: an answer's
//! trailers, ten bytes, would take a write and a packet for themselves. So nothing is sent when it is flushed, but when who polls
//! the connection says so.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that wait to be sent; h2's frames have at most 16 KiB. What is larger goes out as it comes.
const MAX_WAITING: usize = 32 * 1024;
/// What a connection keeps room for while nothing waits.
const KEPT: usize = 4 * 1024;

/// A connection whose writes wait until they are [sent](Self::poll_send). Clones are the same one; nobody waits for another.
pub(super) struct Gathered<S>(Arc<Mutex<Gathering<S>>>);

struct Gathering<S> {
    io: S,
    waiting: Vec<u8>,
    /// How much of what waits is written already.
    written: usize,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(io: S) -> Self {
        Self(Arc::new(Mutex::new(Gathering { io, waiting: Vec::new(), written: 0 })))
    }

    /// Sends what waits. To be called whenever the connection was polled.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathering = &mut *self.0.lock();
        if gathering.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(gathering.poll_write_waiting(cx))?;
        Pin::new(&mut gathering.io).poll_flush(cx)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
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
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gathering = &mut *self.0.lock();
        if gathering.waiting.len() + bytes.len() > MAX_WAITING {
            ready!(gathering.poll_write_waiting(cx))?;
        }
        if bytes.len() > MAX_WAITING {
            return Pin::new(&mut gathering.io).poll_write(cx, bytes);
        }
        gathering.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathering = &mut *self.0.lock();
        ready!(gathering.poll_write_waiting(cx))?;
        Pin::new(&mut gathering.io).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().io).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

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
    async fn what_waits_goes_out_together_when_it_is_sent_and_at_the_end() {
        let mut connection = Gathered::new(Pieces(Vec::new(), usize::MAX));
        connection.write_all(b"head").await.unwrap();
        connection.flush().await.unwrap();
        connection.write_all(b"body").await.unwrap();
        assert!(connection.0.lock().io.0.is_empty());
        poll_fn(|cx| connection.poll_send(cx)).await.unwrap();
        connection.write_all(b"trailers").await.unwrap();
        connection.shutdown().await.unwrap();
        poll_fn(|cx| connection.poll_send(cx)).await.unwrap();
        assert_eq!(connection.0.lock().io.0, [b"headbody".to_vec(), b"trailers".to_vec()]);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_moved_where_writes_are_short_and_much_waits() {
        let mut connection = Gathered::new(Pieces(Vec::new(), 1000));
        let mut all = Vec::new();
        for (number, length) in (0..).zip([10, 20_000, 20_000, 40_000, 5]) {
            let bytes = vec![number; length];
            connection.write_all(&bytes).await.unwrap();
            all.extend(bytes);
            assert!(connection.0.lock().waiting.len() <= MAX_WAITING);
        }
        poll_fn(|cx| connection.poll_send(cx)).await.unwrap();
        assert_eq!(connection.0.lock().io.0.concat(), all);
        assert!(connection.0.lock().waiting.capacity() <= KEPT);
    }
}
