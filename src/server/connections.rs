//! Connections, from their first byte to their last.
//!
//! One has a little time to say that it speaks HTTP/2, and is asked from then on whether it is still there. When it is old,
//! or the process ends, it is told to go (GOAWAY, RFC 9113 section 6.8), so that callers come to other instances: calls under
//! way go on for as long as they take, and the client makes its next ones over a new connection. But a live run is controlled
//! over the connection that it came by, and some clients fail a call that comes when they have just been told. So a
//! connection is told when no run of it is live, and with one only if it is twice as old, or the process waits no more, or
//! takes no more runs and its client asks for one: that would be refused over this connection for as long as the live ones take.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use http::{Request, Response};
use hyper::server::conn::http2::Builder;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::Service;

use super::{
    counted::{Counted, Runs},
    gathered::Gathered,
};

#[cfg(test)]
mod tests;

/// What a client of HTTP/2 sends first has so many bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// How long that may take. One that is made while the process ends is told to go then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has vanished is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after it was refused a run a connection is told to go, when the process takes no more: what its client sent at the
/// same time still comes, and a next attempt finds another connection.
const LATE: Duration = Duration::from_millis(100);
/// Ages differ by up to a tenth, so that connections that were made together do not go together.
const JITTER: f64 = 0.1;

/// All headers of a request together; with their names, and 32 bytes for each (RFC 9113, section 6.5.2).
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// What of one call's answer waits in memory for a connection that is written to more slowly than it takes.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Calls of one connection that may be cancelled before they were seen here; one more ends the connection, and all runs
/// on it. The library's 20 is less than a busy caller, or a mesh, may give up at once; each costs its headers.
const MAX_UNSEEN_RESETS: usize = 1024;
/// Calls of one connection that may break HTTP/2's rules, and be reset for it.
const MAX_BROKEN_CALLS: usize = 1024;

/// The connections of a listener.
pub(super) struct Connections<S> {
    service: S,
    http2: Builder<TokioExecutor>,
    /// How many calls the next connection may have under way.
    max_calls: Box<dyn Fn() -> u32 + Send + Sync>,
    max_age: Duration,
    /// Goes off when all that are there are to go when they can.
    leaving: CancellationToken,
    /// Goes off when the process waits no more.
    closing: CancellationToken,
    open: TaskTracker,
    runs: Arc<Runs>,
}

/// A connection that counts the first bytes it is sent.
struct Heard<IO> {
    io: IO,
    bytes: Arc<AtomicUsize>,
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It may not have said yet that it speaks HTTP/2.
    New,
    Begun,
    /// It is to go when none of its runs is live.
    Due,
    Told,
}

impl<S, F> Connections<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = F>,
    S: Clone + Send + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + Unpin + 'static,
{
    /// Connections to a service. One may have `max_calls` under way, and is told to go at about `max_age`.
    pub(super) fn new(
        service: S,
        max_calls: impl Fn() -> u32 + Send + Sync + 'static,
        max_age: Duration,
    ) -> Self {
        let mut http2 = Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
            .max_local_error_reset_streams(MAX_BROKEN_CALLS)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let (leaving, closing) = (CancellationToken::new(), CancellationToken::new());
        let (open, runs) = (TaskTracker::new(), Arc::default());
        Self { service, http2, max_calls: Box::new(max_calls), max_age, leaving, closing, open, runs }
    }

    /// Serves what comes in, until it is [closed](Self::close).
    pub(super) async fn serve<IO, E>(&self, incoming: impl Stream<Item = Result<IO, E>>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut incoming = pin!(incoming.take_until(self.closing.cancelled()));
        while let Some(connection) = incoming.next().await {
            if let Ok(connection) = connection {
                self.open.spawn(self.serve_one(connection));
            }
        }
    }

    /// Tells all connections to go, each when no run of it is live.
    pub(super) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Waits until the answers of all runs have gone out.
    pub(super) async fn answered(&self) {
        self.runs.none_is_live().await;
    }

    /// Takes no more connections, tells all of them to go, and waits until they have.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.open.close();
        self.open.wait().await;
    }

    fn serve_one<IO>(&self, io: IO) -> impl Future<Output = ()> + use<IO, S, F>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_late = self.leaving.is_cancelled();
        let age = if is_late { HANDSHAKE_TIMEOUT } else { jittered(self.max_age) };
        let (leaving, closing) = (self.leaving.clone(), self.closing.clone());
        let (bytes, runs) = (Arc::new(AtomicUsize::new(0)), self.runs.of_connection());
        let io = Gathered::new(Heard { io, bytes: bytes.clone() });
        let service =
            TowerToHyperService::new(Counted::new(self.service.clone(), runs.clone(), leaving.clone()));
        let mut http2 = self.http2.clone();
        let connection = http2
            .max_concurrent_streams((self.max_calls)())
            .serve_connection(TokioIo::new(io.clone()), service);
        async move {
            let mut connection = pin!(connection);
            let mut stage = Stage::New;
            let opened = Instant::now();
            let mut alarm = pin!(sleep_until(opened + HANDSHAKE_TIMEOUT));
            loop {
                stage = tokio::select! {
                    () = poll_fn(|cx| serve(connection.as_mut(), &io, cx)) => return,
                    () = &mut alarm, if stage != Stage::Told => match stage {
                        Stage::New if bytes.load(Ordering::Relaxed) < PREFACE_BYTES => return,
                        Stage::New => {
                            alarm.as_mut().reset(opened + age);
                            Stage::Begun
                        }
                        Stage::Begun => {
                            alarm.as_mut().reset(opened + 2 * age);
                            Stage::Due
                        }
                        Stage::Due | Stage::Told => Stage::Told,
                    },
                    () = leaving.cancelled(), if !is_late && stage < Stage::Due => {
                        alarm.as_mut().reset(opened + 2 * age);
                        Stage::Due
                    }
                    () = runs.none_is_live(), if stage == Stage::Due => Stage::Told,
                    () = runs.one_is_late(), if stage != Stage::Told => {
                        let soon = alarm.deadline().min(Instant::now() + LATE);
                        alarm.as_mut().reset(soon);
                        Stage::Due
                    }
                    () = closing.cancelled(), if stage != Stage::Told => Stage::Told,
                };
                if stage == Stage::Told {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, into));
        let heard = self.bytes.load(Ordering::Relaxed);
        if heard < PREFACE_BYTES {
            self.bytes.store(heard + into.filled().len() - before, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heard<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Serves a connection, until it has ended. Its error is the client's affair: it went away, or broke the rules and was told so.
fn serve<IO: AsyncWrite + Unpin>(
    connection: Pin<&mut impl Future>,
    io: &Gathered<IO>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let served = connection.poll(cx);
    match io.poll_send(cx) {
        Poll::Ready(Err(_)) => Poll::Ready(()),
        _ => served.map(drop),
    }
}

/// An age, more or less by up to a tenth.
fn jittered(age: Duration) -> Duration {
    let random = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
    age.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}
