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
use tokio::time::Instant;

use super::{SendError, origin::MAX_AGE, own::Unanswered};

/// How often the other side is asked whether it is still there: a connection that died unseen would take all requests.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, which lives while somebody may send over it.
#[derive(Clone)]
pub(super) struct Shared {
    requests: SendRequest<Full<Bytes>>,
    began: Instant,
}

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
        Ok(Self { requests, began: Instant::now() })
    }

    /// Whether it still takes requests. Those under way when it has become too old end as they would.
    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed() && self.began.elapsed() < MAX_AGE
    }

    /// Sends a request, and waits for the head of its answer. To drop the future is to cancel the request.
    pub(super) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let answer = self.requests.try_send_request(request).await;
        answer.map_err(|mut error| Unanswered::of(error.take_message()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::{server, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::{io::duplex, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_too_old_takes_no_request() {
        let (ours, theirs) = duplex(1 << 16);
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
        let serving = server::conn::http2::Builder::new(TokioExecutor::new());
        let serving = tokio::spawn(serving.serve_connection(TokioIo::new(theirs), service));
        let shared = Shared::begin(TokioIo::new(ours)).await.unwrap();
        sleep(MAX_AGE - PING_EVERY).await;
        assert!(shared.is_open());
        sleep(PING_EVERY).await;
        assert!(!shared.is_open());
        assert!(!shared.requests.is_closed(), "what is under way goes on");
        serving.abort();
    }
}
