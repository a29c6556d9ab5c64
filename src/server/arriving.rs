//! Requests that do not arrive: a call whose headers came, and whose message does not, is no run, and has no deadline of
//! its own.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Sleep, sleep};

/// How long a message may take to arrive.
pub(super) const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of a request, which ends with an error if it is not there in time.
pub(super) struct Arriving<B = Incoming> {
    body: B,
    /// There once something had to be waited for: a small message mostly comes with its headers.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Why a body has no end.
#[derive(Debug, Error)]
pub(super) enum ArrivingError<E> {
    /// It was not there in time.
    #[error("the request did not arrive in time")]
    Late,
    /// It broke.
    #[error(transparent)]
    Broken(#[from] E),
}

impl<B> Arriving<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, alarm: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = ArrivingError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| Ok(frame?)));
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(ARRIVAL_TIMEOUT)));
        alarm.as_mut().poll(cx).map(|()| Some(Err(ArrivingError::Late)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_is_handed_on_and_one_that_does_not_ends_in_time() {
        let whole = Arriving::new(http_body_util::Full::new(Bytes::from_static(b"all")));
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "all");

        let part = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"part")));
        let endless = stream::iter([part]).chain(stream::pending());
        let mut body = Arriving::new(StreamBody::new(endless));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
        assert!(body.frame().now_or_never().is_none());
        tokio::time::advance(ARRIVAL_TIMEOUT).await;
        assert!(matches!(body.frame().await, Some(Err(ArrivingError::Late))));
    }
}
