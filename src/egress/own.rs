//! A connection of HTTP/1, polled by whoever uses it.
//!
//! hyper splits a connection into a half that takes requests and one that does the work, which is meant for a task of its
//! own. Here both stay together: who waits for an answer, or for the next part of its body, lets the other half work
//! meanwhile. While a connection is idle nobody polls it, so it is looked at when it is taken for another request.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    client::conn::http1::{self, Connection, SendRequest},
    rt::{Read, Write},
};
use tokio::{task::unconstrained, time::Instant};

use super::{
    SendError,
    origin::{Idle, MAX_AGE},
};

/// A connection between or in requests.
pub(super) struct Own<I: Read + Write + Unpin>(Box<Halves<I>>);

struct Halves<I: Read + Write + Unpin> {
    requests: SendRequest<Full<Bytes>>,
    /// `None`: it has ended.
    work: Option<Connection<I, Full<Bytes>>>,
    began: Instant,
}

/// Why a request was not answered.
pub(super) enum Unanswered {
    /// The connection took no request any more: here is it.
    Untaken(Box<Request<Full<Bytes>>>),
    /// It broke.
    Broken,
}

impl Unanswered {
    /// Of what hyper gives back with its error.
    pub(super) fn of(untaken: Option<Request<Full<Bytes>>>) -> Self {
        untaken.map_or(Self::Broken, |request| Self::Untaken(Box::new(request)))
    }
}

impl<I: Read + Write + Unpin> Own<I> {
    /// Begins to speak over a connection.
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    pub(super) async fn begin(io: I) -> Result<Self, SendError> {
        let halves = http1::handshake(io).await.map_err(|_| SendError::Connect)?;
        let (requests, work) = halves;
        Ok(Self(Box::new(Halves { requests, work: Some(work), began: Instant::now() })))
    }

    /// Whether it takes a request now. The other side may have closed it since it was last looked at: so it is looked at,
    /// also by a task that has had its share of tokio's time, to which sockets say that nothing has come.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        if self.0.began.elapsed() >= MAX_AGE {
            return false;
        }
        let mut looked = pin!(unconstrained(poll_fn(|cx| Poll::Ready(self.work(cx).is_pending()))));
        let is_open = matches!(looked.as_mut().poll(cx), Poll::Ready(true));
        is_open && self.0.requests.is_ready()
    }

    /// Sends a request, and waits for the head of its answer. To drop the future is to close the connection.
    pub(super) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Self, Response<Incoming>), Unanswered> {
        // They stay in their box: to move them would take longer than much of what they do.
        let Halves { requests, work, .. } = &mut *self.0;
        let answered = {
            let mut answer = pin!(requests.try_send_request(request));
            poll_fn(|cx| {
                let has_ended = work.as_mut().is_none_or(|work| Pin::new(work).poll(cx).is_ready());
                let answered = answer.as_mut().poll(cx);
                if answered.is_ready() || !has_ended {
                    return answered;
                }
                // One that ended before it took the request gives it back only when it is dropped.
                *work = None;
                answer.as_mut().poll(cx)
            })
            .await
        };
        match answered {
            Ok(response) if work.is_some() => Ok((self, response)),
            Ok(_) => Err(Unanswered::Broken),
            Err(mut error) => Err(Unanswered::of(error.take_message())),
        }
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.work.as_mut().map_or(Poll::Ready(()), |work| Pin::new(work).poll(cx).map(drop))
    }
}

/// The body of an answer, with the connection that it comes over.
pub(super) struct OwnBody {
    body: Option<Incoming>,
    connection: Option<Idle>,
}

impl OwnBody {
    pub(super) fn new(body: Incoming, connection: Idle) -> Self {
        Self { body: Some(body), connection: Some(connection) }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let mut polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_pending()
            && let Some(connection) = &mut self.connection
        {
            let ended = connection.own().work(cx).is_ready();
            polled = Pin::new(body).poll_frame(cx);
            if ended {
                self.connection = None;
            }
        }
        if let Poll::Ready(None) = polled {
            self.end(cx);
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }

    /// Gives the connection back, if it takes another request. What is left of the body is not read: hyper closes the
    /// connection then, unless it has all of it already.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.body = None;
        if let Some(mut connection) = self.connection.take()
            && connection.own().is_ready(cx)
        {
            connection.give_back();
        }
    }
}

impl Drop for OwnBody {
    fn drop(&mut self) {
        self.end(&mut Context::from_waker(Waker::noop()));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future;
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::coop,
        time::advance,
    };

    use super::*;

    fn request() -> Request<Full<Bytes>> {
        Request::post("/").header("host", "h").body(Full::new(Bytes::from("q"))).unwrap()
    }

    /// A connection that has been used once, and its other side.
    async fn used() -> (Own<TokioIo<DuplexStream>>, DuplexStream) {
        let (ours, mut theirs) = duplex(1024);
        let own = Own::begin(TokioIo::new(ours)).await.unwrap_or_else(|_| panic!("it begins"));
        let answer = async {
            theirs.read_u8().await.unwrap();
            theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (sent, ()) = future::join(own.send(request()), answer).await;
        let Ok((mut own, _)) = sent else { panic!("it is answered") };
        assert!(poll_fn(|cx| Poll::Ready(own.is_ready(cx))).await);
        (own, theirs)
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_gives_the_request_back() {
        let (own, theirs) = used().await;
        drop(theirs);
        let Err(Unanswered::Untaken(untaken)) = own.send(request()).await else { panic!("it is given back") };
        assert_eq!(untaken.uri(), "/");
    }

    #[tokio::test]
    async fn a_closed_connection_is_seen_by_a_task_that_has_had_its_share_of_time() {
        let (mut own, theirs) = used().await;
        drop(theirs);
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
            if !coop::has_budget_remaining() {
                break;
            }
        }
        assert!(!poll_fn(|cx| Poll::Ready(own.is_ready(cx))).await);
    }

    #[tokio::test]
    async fn what_comes_unasked_ends_a_connection() {
        let (mut own, mut theirs) = used().await;
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong").await.unwrap();
        assert!(!poll_fn(|cx| Poll::Ready(own.is_ready(cx))).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_too_old_takes_no_request() {
        let (mut own, _theirs) = used().await;
        assert!(poll_fn(|cx| Poll::Ready(own.is_ready(cx))).await);
        advance(MAX_AGE).await;
        assert!(!poll_fn(|cx| Poll::Ready(own.is_ready(cx))).await);
    }
}
