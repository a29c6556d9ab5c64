//! A connection of HTTP/2, which all requests to an origin share.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{SendError, own::Unanswered};

/// How often the other side is asked whether it is still there: a connection that died unseen would take all requests.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, which lives while somebody may send over it.
#[derive(Clone)]
pub(super) struct Shared(SendRequest<Full<Bytes>>);

impl Shared {
    /// Begins to speak over a connection. A task of its own does the work.
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    pub(super) async fn begin(io: impl Read + Write + Unpin + Send + 'static) -> Result<Self, SendError> {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(io);
        let (requests, work) = handshake.await.map_err(|_| SendError::Connect)?;
        tokio::spawn(async {
            // Those that wait for answers learn how it ends.
            let _ = work.await;
        });
        Ok(Self(requests))
    }

    /// Whether it still takes requests.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// Sends a request, and waits for the head of its answer. To drop the future is to cancel the request.
    pub(super) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let answer = self.0.try_send_request(request).await;
        answer.map_err(|mut error| Unanswered::of(error.take_message()))
    }
}
