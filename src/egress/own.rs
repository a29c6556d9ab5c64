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
    wakes::Wakes,
};

/// A connection between or in requests.
pub(super) struct Own<I: Read + Write + Unpin>(Box<Halves<I>>);

struct Halves<I: Read + Write + Unpin> {
    requests: SendRequest<Full<Bytes>>,
    /// `None`: it has ended.
    work: Option<Connection<I, Full<Bytes>>>,
    wakes: Wakes,
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
        let (requests, work) = http1::handshake(io).await.map_err(|_| SendError::Connect)?;
        let (wakes, began) = (Wakes::new(), Instant::now());
        Ok(Self(Box::new(Halves { requests, work: Some(work), wakes, began })))
    }

    /// Whether it takes a request now. The other side may have closed it since it was last looked at: so it is looked at,
    /// also by a task that has had its share of tokio's time, to which sockets say that nothing has come.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.0.began.elapsed() >= MAX_AGE {
            return false;
        }
        // Nobody is to be woken by it: who takes it polls it again.
        let mut cx = Context::from_waker(Waker::noop());
        let mut looked = pin!(unconstrained(poll_fn(|cx| Poll::Ready(self.work(cx).is_pending()))));
        let is_open = matches!(looked.as_mut().poll(&mut cx), Poll::Ready(true));
        is_open && self.0.requests.is_ready()
    }

    /// Sends a request, and waits for the head of its answer. To drop the future is to close the connection.
    pub(super) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Self, Response<Incoming>), Unanswered> {
        // They stay in their box: to move them would take longer than much of what they do.
        let Halves { requests, work, wakes, .. } = &mut *self.0;
        let answered = {
            let mut answer = pin!(requests.try_send_request(request));
            let mut poll = |cx: &mut Context<'_>| {
                let has_ended = work.as_mut().is_none_or(|work| Pin::new(work).poll(cx).is_ready());
                let answered = answer.as_mut().poll(cx);
                if answered.is_ready() || !has_ended {
                    return answered;
                }
                // One that ended before it took the request gives it back only when it is dropped.
                *work = None;
                answer.as_mut().poll(cx)
            };
            poll_fn(|cx| wakes.poll(cx, &mut poll)).await
        };
        match answered {
            Ok(response) if work.is_some() => Ok((self, response)),
            Ok(_) => Err(Unanswered::Broken),
            Err(mut error) => Err(Unanswered::of(error.take_message())),
        }
    }

    /// The next part of the body of an answer that came over it.
    fn next_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Halves { work, wakes, .. } = &mut *self.0;
        wakes.poll(cx, |cx| {
            let polled = Pin::new(&mut *body).poll_frame(cx);
            if polled.is_ready() {
                return polled;
            }
            if work.as_mut().is_none_or(|work| Pin::new(work).poll(cx).is_ready()) {
                *work = None;
            }
            Pin::new(&mut *body).poll_frame(cx)
        })
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.work.as_mut().map_or(Poll::Ready(()), |work| Pin::new(work).poll(cx).map(drop))
    }
}

/// The body of an answer, with the connection that it comes over, until it has ended.
pub(super) struct OwnBody(Option<(Incoming, Idle)>);

impl OwnBody {
    pub(super) fn new(body: Incoming, connection: Idle) -> Self {
        Self(Some((body, connection)))
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((body, connection)) = &mut self.0 else { return Poll::Ready(None) };
        let polled = connection.own().next_frame(body, cx);
        if let Poll::Ready(None) = polled
            && let Some((_, connection)) = self.0.take()
        {
            // Whether it takes another request is seen when there is one.
            connection.give_back();
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

impl Drop for OwnBody {
    /// Gives the connection back, if it takes another request. What is left of the body is not read: hyper closes the
    /// connection then, unless it has all of it already.
    fn drop(&mut self) {
        let Some((body, mut connection)) = self.0.take() else { return };
        drop(body);
        if connection.own().is_ready() {
            connection.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

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
        assert!(own.is_ready());
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
        assert!(!own.is_ready());
    }

    /// A waker that counts, and its count.
    fn counting() -> (Waker, Arc<Count>) {
        let count = Arc::<Count>::default();
        (count.clone().into(), count)
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_task_is_woken_by_the_network_and_not_by_what_it_does_itself() {
        let (mut own, mut theirs) = used().await;
        let (waker, woken) = counting();
        let mut cx = Context::from_waker(&waker);
        assert!(own.is_ready());
        let mut sent = pin!(own.send(request()));
        assert!(sent.as_mut().poll(&mut cx).is_pending());
        assert_eq!(woken.get(), 0, "a request that is handed over");

        theirs.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await.unwrap();
        assert_eq!(woken.get(), 1, "what has come");
        let Poll::Ready(Ok((mut own, response))) = sent.poll(&mut cx) else { panic!("it is answered") };
        let mut body = response.into_body();
        let mut next = |cx: &mut Context<'_>| {
            own.next_frame(&mut body, cx).map(|frame| Some(frame?.unwrap().into_data().unwrap()))
        };
        assert_eq!(next(&mut cx), Poll::Ready(Some(Bytes::from("a"))));
        assert!(next(&mut cx).is_pending());
        assert_eq!(woken.get(), 1, "a head, and a part that is read");

        theirs.write_all(b"1\r\nb\r\n1\r\nc\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(woken.get(), 2, "what has come");
        assert_eq!(next(&mut cx), Poll::Ready(Some(Bytes::from("b"))));
        assert_eq!(next(&mut cx), Poll::Ready(Some(Bytes::from("c"))));
        assert_eq!(next(&mut cx), Poll::Ready(None));
        assert_eq!(woken.get(), 2, "parts that are read, and the end");
    }

    #[tokio::test]
    async fn what_comes_unasked_ends_a_connection() {
        let (mut own, mut theirs) = used().await;
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong").await.unwrap();
        assert!(!own.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_too_old_takes_no_request() {
        let (mut own, _theirs) = used().await;
        assert!(own.is_ready());
        advance(MAX_AGE).await;
        assert!(!own.is_ready());
    }
}
