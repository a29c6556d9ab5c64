//! When connections are told to go, and what becomes of their calls.
#![allow(clippy::disallowed_methods, reason = "these are clients of the service")]

use bytes::Bytes;
use futures_util::{FutureExt, future, stream};
use http::HeaderMap;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
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
    requests: SendRequest<Full<Bytes>>,
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
        let (requests, connection) =
            http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).handshake(io).await.unwrap();
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

/// A connection that counts its writes.
struct Writes(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Writes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Writes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn what_there_is_to_say_of_a_call_is_one_write() {
    let service = service_fn(|_| {
        let frames = [Frame::data(Bytes::from(vec![0; 4000])), Frame::trailers(HeaderMap::new())];
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        future::ready(Ok(Response::new(Body::new(body))))
    });
    let (client, server) = duplex(64 * 1024);
    let writes = Arc::<AtomicUsize>::default();
    let connections = Connections::new(service, || 100, AGE);
    connections.serve(stream::iter([Ok::<_, Infallible>(Writes(server, writes.clone()))])).await;

    let (mut requests, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    for is_first in [true, false] {
        let before = writes.load(Ordering::Relaxed);
        let request = Request::post("http://service/call").body(Full::<Bytes>::default()).unwrap();
        let body = requests.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 4000);
        // Another time what the connection itself has to say goes with it.
        assert!(is_first || writes.load(Ordering::Relaxed) == before + 1);
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
async fn a_shutdown_tells_a_connection_to_go_that_asks_for_one_more_run() {
    for method in ["Run", "RunStreamed"] {
        let listener = Listener::start();
        let (mut asking, mut other) = (listener.client().await, listener.client().await);
        let runs = [asking.run(), other.run()];
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        listener.connections.leave();
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        let refused = [0, 1].map(|_| asking.call(&format!("runwright.v1.AgentService/{method}")));
        sleep_until(Instant::now() + LATE).await;

        let next = timeout(HANDSHAKE_TIMEOUT, asking.run()).await.expect("it is told to go");
        assert!(next.unwrap().is_err(), "its next run needs another connection");
        let control = other.call("runwright.v1.AgentService/CancelRun");
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        listener.answer.send_replace(true);
        for call in runs.into_iter().chain(refused).chain([control]) {
            assert_eq!(call.await.unwrap().unwrap().status(), 200, "{method}");
        }
        asking.ended.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_while_the_process_ends_is_told_as_soon_as_it_asks_for_a_run() {
    let listener = Listener::start();
    listener.connections.leave();
    let (began, mut late) = (Instant::now(), listener.client().await);
    let refused = late.run();
    listener.answer.send_replace(true);
    assert_eq!(refused.await.unwrap().unwrap().status(), 200);
    late.ended.await.unwrap().unwrap();
    assert!(began.elapsed() <= LATE, "{:?}", began.elapsed());
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
