//! A connection's live runs, counted; and calls that were cancelled before they were looked at, which never begin.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::arriving::Arriving;

/// How the paths of the calls begin that are runs, or control one.
const COUNTED: &str = "/runwright.v1.AgentService/";

/// How those begin that are runs.
const RUN: &str = "/runwright.v1.AgentService/Run";

/// How the paths of the calls begin whose request is one message.
const UNARY: &str = "/runwright.v1.";

/// The runs of one connection that are live, and calls that control them; or those of all. One is live until its answer has
/// gone out.
#[derive(Default)]
pub(super) struct Runs {
    live: AtomicUsize,
    none: Notify,
    late: Notify,
    /// Where those of one connection are counted, too.
    all: Option<Arc<Runs>>,
}

/// The services as one connection's calls meet them.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    runs: Arc<Runs>,
    leaving: CancellationToken,
}

/// One of the calls, as long as it is under way.
struct Live(Arc<Runs>);

/// An answer that is on its way.
///
/// hyper asks whether the caller has reset its call only after the answer was polled, and tonic takes the reset for the end
/// of the request: a run would begin, ask its model and be given up at once. So the first poll does nothing. A client that
/// sends calls and resets them in the same breath then costs their headers (rapid reset).
pub(super) struct Answering<F> {
    answer: F,
    has_begun: bool,
    live: Option<Live>,
}

/// The body of an answer; the call is over when it is dropped.
struct Answer {
    body: Body,
    _live: Live,
}

impl Runs {
    /// Those of one connection, which are among all of these.
    pub(super) fn of_connection(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { all: Some(self.clone()), ..Self::default() })
    }

    /// Waits until no run is live.
    pub(super) async fn none_is_live(&self) {
        while self.live.load(Ordering::Relaxed) > 0 {
            self.none.notified().await;
        }
    }

    /// Waits until a run comes over this connection that the process takes no more.
    pub(super) async fn one_is_late(&self) {
        self.late.notified().await;
    }

    fn enter(self: &Arc<Self>) -> Live {
        for runs in [Some(self), self.all.as_ref()].into_iter().flatten() {
            runs.live.fetch_add(1, Ordering::Relaxed);
        }
        Live(self.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for runs in [Some(&self.0), self.0.all.as_ref()].into_iter().flatten() {
            if runs.live.fetch_sub(1, Ordering::Relaxed) == 1 {
                runs.none.notify_one();
            }
        }
    }
}

impl<S> Counted<S> {
    /// The services, for a connection with these runs; `leaving` has gone off when the process takes no more of them.
    pub(super) fn new(service: S, runs: Arc<Runs>, leaving: CancellationToken) -> Self {
        Self { service, runs, leaving }
    }
}

impl<S> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let live = path.starts_with(COUNTED).then(|| self.runs.enter());
        if path.starts_with(RUN) && self.leaving.is_cancelled() {
            self.runs.late.notify_one();
        }
        // Reflection asks in a stream, which stays open for as long as somebody may ask.
        let is_unary = path.starts_with(UNARY);
        let request =
            request.map(|body| if is_unary { Body::new(Arriving::new(body)) } else { Body::new(body) });
        Answering { answer: self.service.call(request), has_begun: false, live }
    }
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !mem::replace(&mut self.has_begun, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let answer = ready!(Pin::new(&mut self.answer).poll(cx))?;
        Poll::Ready(Ok(match self.live.take() {
            Some(live) => answer.map(|body| Body::new(Answer { body, _live: live })),
            None => answer,
        }))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
