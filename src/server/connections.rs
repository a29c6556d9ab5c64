//! Connections, from their first byte to their last.
//!
//! One has a little time to say that it speaks HTTP/2, and is asked from then on whether it is still there. When it is old,
//! or the process ends, it is told to go (GOAWAY, RFC 9113 section 6.8), so that callers come to other instances: calls under
//! way go on for as long as they take, and the client makes its next ones over a new connection. But a live run is controlled
//! over the connection that it came by, and some clients fail a call that comes when they have just been told. So a
//! connection is told when no run of it is live, and with one only if it is twice as old, or the process waits no more.

use std::{
    convert::Infallible,
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

use super::counted::{Counted, Runs};

/// What a client of HTTP/2 sends first has so many bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// How long that may take. One that is made while the process ends is told to go then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has vanished is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
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
        let io = TokioIo::new(Heard { io, bytes: bytes.clone() });
        let service = TowerToHyperService::new(Counted::new(self.service.clone(), runs.clone()));
        let mut http2 = self.http2.clone();
        let connection = http2.max_concurrent_streams((self.max_calls)()).serve_connection(io, service);
        async move {
            let mut connection = pin!(connection);
            let mut stage = Stage::New;
            let opened = Instant::now();
            let mut alarm = pin!(sleep_until(opened + HANDSHAKE_TIMEOUT));
            loop {
                stage = tokio::select! {
                    // Its error is the client's affair: it went away, or broke the rules and was told so.
                    _ = &mut connection => return,
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

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// An age, more or less by up to a tenth.
fn jittered(age: Duration) -> Duration {
    let random = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
    age.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "these are clients of the service")]
mod tests {
    use futures_util::{FutureExt, future, stream};
    use http_body_util::Full;
    use hyper::{
        body::Incoming,
        client::conn::http2::{self, SendRequest},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::{mpsc, watch},
        task::JoinHandle,
    };
    use tower::util::service_fn;

    use super::*;

    const AGE: Duration = Duration::from_secs(600);
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// A listener whose calls are answered when they are let.
    struct Listener {
        connect: mpsc::UnboundedSender<DuplexStream>,
        connections: Arc<dyn Told>,
        answer: watch::Sender<bool>,
    }

    trait Told: Send + Sync {
        fn leave(&self);
        fn answered(&self) -> future::BoxFuture<'_, ()>;
        fn close(&self) -> future::BoxFuture<'_, ()>;
    }

    impl<S, F> Told for Connections<S>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = F>,
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, Infallible>> + Send + Unpin + 'static,
    {
        fn leave(&self) {
            Connections::leave(self);
        }

        fn answered(&self) -> future::BoxFuture<'_, ()> {
            Connections::answered(self).boxed()
        }

        fn close(&self) -> future::BoxFuture<'_, ()> {
            Connections::close(self).boxed()
        }
    }

    /// A connection to it, and its end.
    struct Client {
        requests: SendRequest<Full<bytes::Bytes>>,
        ended: JoinHandle<hyper::Result<()>>,
    }

    impl Listener {
        fn start() -> Self {
            let (connect, mut incoming) = mpsc::unbounded_channel();
            let (answer, answered) = watch::channel(false);
            let service = service_fn(move |_| {
                let mut answered = answered.clone();
                Box::pin(async move {
                    answered.wait_for(|answered| *answered).await.unwrap();
                    Ok(Response::new(Body::empty()))
                })
            });
            let connections = Arc::new(Connections::new(service, || 100, AGE));
            let serving = connections.clone();
            let incoming = stream::poll_fn(move |cx| incoming.poll_recv(cx)).map(Ok::<_, Infallible>);
            tokio::spawn(async move { serving.serve(incoming).await });
            Self { connect, connections, answer }
        }

        fn connect(&self) -> DuplexStream {
            let (client, server) = duplex(64 * 1024);
            self.connect.send(server).unwrap();
            client
        }

        async fn client(&self) -> Client {
            let io = TokioIo::new(self.connect());
            let (requests, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .handshake(io)
                .await
                .unwrap();
            Client { requests, ended: tokio::spawn(connection) }
        }
    }

    impl Client {
        fn run(&mut self) -> JoinHandle<hyper::Result<Response<Incoming>>> {
            self.call("runwright.v1.AgentService/RunStreamed")
        }

        fn call(&mut self, method: &str) -> JoinHandle<hyper::Result<Response<Incoming>>> {
            let request = Request::post(format!("http://service/{method}")).body(Full::default()).unwrap();
            tokio::spawn(self.requests.send_request(request))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_begin_is_let_go() {
        let listener = Listener::start();
        for said in [&b""[..], &PREFACE[..PREFACE_BYTES - 1]] {
            let (began, mut client) = (Instant::now(), listener.connect());
            client.write_all(said).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT);
        }
        let mut client = listener.connect();
        client.write_all(PREFACE).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_vanishes_loses_its_calls() {
        let listener = Listener::start();
        let (began, mut client) = (Instant::now(), listener.connect());
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        client.write_all(&[PREFACE, &settings].concat()).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(began.elapsed(), KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_is_told_to_go_and_one_with_runs_when_it_is_twice_as_old() {
        let listener = Listener::start();
        let (began, idle, mut busy) = (Instant::now(), listener.client().await, listener.client().await);
        let run = busy.run();
        idle.ended.await.unwrap().unwrap();
        let age = began.elapsed();
        assert!(AGE.mul_f64(0.9) <= age && age <= AGE.mul_f64(1.1), "{age:?}");

        sleep_until(began + AGE.mul_f64(1.7)).await;
        let second = busy.run();
        sleep_until(began + AGE.mul_f64(2.3)).await;
        assert!(busy.run().await.unwrap().is_err(), "it takes no more calls");
        listener.answer.send_replace(true);
        for run in [run, second] {
            assert_eq!(run.await.unwrap().unwrap().status(), 200);
        }
        busy.ended.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_is_told_to_go_as_soon_as_no_run_is_live() {
        let listener = Listener::start();
        let (began, mut busy) = (Instant::now(), listener.client().await);
        let run = busy.run();
        sleep_until(began + AGE.mul_f64(1.2)).await;
        listener.answer.send_replace(true);
        assert_eq!(run.await.unwrap().unwrap().status(), 200);
        busy.ended.await.unwrap().unwrap();
        assert_eq!(began.elapsed(), AGE.mul_f64(1.2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answers_of_all_connections_are_waited_for() {
        let listener = Listener::start();
        listener.connections.answered().await;
        let (mut one, mut two) = (listener.client().await, listener.client().await);
        let runs = [one.run(), two.run()];
        sleep_until(Instant::now() + HANDSHAKE_TIMEOUT).await;
        let mut answered = listener.connections.answered();
        assert!((&mut answered).now_or_never().is_none());
        listener.answer.send_replace(true);
        answered.await;
        for run in runs {
            assert_eq!(run.await.unwrap().unwrap().status(), 200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_leaves_a_connection_to_its_runs_however_old_it_is() {
        for age in [Duration::ZERO, AGE.mul_f64(0.85)] {
            let listener = Listener::start();
            let (began, mut busy) = (Instant::now(), listener.client().await);
            let run = busy.run();
            sleep_until(began + age + Duration::from_secs(1)).await;
            listener.connections.leave();
            // Past what a new one may take to begin, and past the age at which it would be told.
            sleep_until(Instant::now() + AGE.mul_f64(0.5)).await;
            let control = busy.call("runwright.v1.AgentService/CancelRun");
            sleep_until(Instant::now() + Duration::from_secs(1)).await;
            listener.answer.send_replace(true);
            for call in [run, control] {
                assert_eq!(call.await.unwrap().unwrap().status(), 200, "{age:?}");
            }
            busy.ended.await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_tells_connections_to_go_whose_runs_are_over_and_in_the_end_all() {
        let listener = Listener::start();
        let (mut watching, mut busy) = (listener.client().await, listener.client().await);
        let (watch, run) = (watching.call("grpc.health.v1.Health/Watch"), busy.run());
        sleep_until(Instant::now() + HANDSHAKE_TIMEOUT).await;
        listener.connections.leave();
        let (began, late) = (Instant::now(), listener.client().await);
        late.ended.await.unwrap().unwrap();
        assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT);
        assert!(watching.run().await.unwrap().is_err(), "what is no run holds nothing up");
        let control = busy.call("runwright.v1.AgentService/CancelRun");
        // It has been sent when everything else waits.
        sleep_until(Instant::now() + Duration::from_secs(1)).await;

        let closing = listener.connections.clone();
        let closed = tokio::spawn(async move { closing.close().await });
        sleep_until(Instant::now() + HANDSHAKE_TIMEOUT).await;
        assert!(busy.run().await.unwrap().is_err(), "it takes no more calls");
        listener.answer.send_replace(true);
        for call in [watch, run, control] {
            assert_eq!(call.await.unwrap().unwrap().status(), 200);
        }
        closed.await.unwrap();
    }
}
