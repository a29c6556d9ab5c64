//! The way of messages between rmcp and the backend.
//!
//! rmcp's own transport is a task that knows sessions, streams and what headers mirror of a call's arguments. Each message
//! is handed to it and each answer back, and that takes longer than all the rest that rmcp does for a call. A plain call
//! (`Exchange::calling`) of a server that has no sessions needs nothing of it: it is posted from here. Where the
//! answer turns out to be a stream, the message and the answer that has begun are handed on to rmcp's transport, which
//! reads and resumes it.

use std::sync::Arc;

use futures_util::future::Either;
use rmcp::{
    RoleClient,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::{
        StreamableHttpClientTransport,
        streamable_http_client::{
            StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
        },
    },
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Fault,
    backend::{self, Backend},
    progress,
    slot::Exchange,
};

/// How many answers may wait for rmcp's service loop; those that post wait, too, then.
const MAX_WAITING: usize = 16;

type Error = StreamableHttpError<Fault>;

/// rmcp's transport, with a shorter way for plain calls.
pub(super) struct Transport {
    backend: Backend,
    /// Whether the server is spoken to without a session, as all are since revision 2026-07-28.
    stateless: bool,
    rmcps: StreamableHttpClientTransport<Backend>,
    posted: mpsc::Receiver<Posted>,
    /// Where `posted` comes from.
    posting: mpsc::Sender<Posted>,
}

/// What a call came to that was posted from here.
enum Posted {
    Answer(Box<ServerJsonRpcMessage>),
    /// The answer has begun as a stream, which the exchange holds. rmcp is to send the message, and to say how that went.
    Stream(Arc<Exchange>, Box<ClientJsonRpcMessage>, oneshot::Sender<Result<(), Error>>),
}

impl Transport {
    /// A transport. `stateless` says whether the client opens without a handshake.
    pub(super) fn new(
        backend: Backend,
        config: StreamableHttpClientTransportConfig,
        stateless: bool,
    ) -> Self {
        let rmcps = StreamableHttpClientTransport::with_client(backend.clone(), config);
        let (posting, posted) = mpsc::channel(MAX_WAITING);
        Self { backend, stateless, rmcps, posted, posting }
    }

    fn hand_on(
        &mut self,
        exchange: &Exchange,
        message: ClientJsonRpcMessage,
        told: oneshot::Sender<Result<(), Error>>,
    ) {
        if exchange.is_abandoned() {
            drop(exchange.take_posted());
            return;
        }
        let sending = rmcp::transport::Transport::send(&mut self.rmcps, message);
        tokio::spawn(async move {
            // Who posted the message waits, or has ended with the client.
            let _ = told.send(sending.await);
        });
    }
}

impl rmcp::transport::Transport<RoleClient> for Transport {
    type Error = Error;

    fn send(
        &mut self,
        mut message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        progress::withhold_token(&mut message);
        let plain = backend::exchange(&message).filter(|exchange| self.stateless && exchange.is_plain_call());
        match plain {
            // Boxed, since it is moved into a task.
            Some(exchange) => {
                Either::Left(Box::pin(post(self.backend.clone(), exchange, message, self.posting.clone())))
            }
            None => Either::Right(self.rmcps.send(message)),
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            tokio::select! {
                biased;
                Some(posted) = self.posted.recv() => match posted {
                    Posted::Answer(answer) => return Some(*answer),
                    Posted::Stream(exchange, message, told) => self.hand_on(&exchange, *message, told),
                },
                message = self.rmcps.receive() => return message,
            }
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.rmcps.close().await
    }
}

/// Posts a plain call. It is broken off where nobody waits for it any more: that is how such a server learns it.
async fn post(
    backend: Backend,
    exchange: Arc<Exchange>,
    message: ClientJsonRpcMessage,
    posting: mpsc::Sender<Posted>,
) -> Result<(), Error> {
    let posted = tokio::select! {
        biased;
        () = exchange.abandoned() => return Ok(()),
        posted = backend.call(&exchange, &message) => posted.map_err(StreamableHttpError::Client)?,
    };
    let closed = |_| StreamableHttpError::TransportChannelClosed;
    match posted {
        StreamableHttpPostResponse::Json(answer, _) => {
            posting.send(Posted::Answer(Box::new(answer))).await.map_err(|_| closed(()))
        }
        begun => {
            exchange.keep_posted(begun);
            let (told, sent) = oneshot::channel();
            let stream = Posted::Stream(exchange, Box::new(message), told);
            posting.send(stream).await.map_err(|_| closed(()))?;
            sent.await.unwrap_or(Ok(()))
        }
    }
}
