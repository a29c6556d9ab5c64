//! The way of messages between rmcp and the backend.
//!
//! rmcp's own transport is a task that knows sessions, streams and what headers mirror of a call's arguments. Each message
//! is handed to it and each answer back, which takes longer than all the rest that rmcp does for a call; and the task with
//! its channels takes two thirds of the memory of an open client. A server that has no sessions needs little of it: to discover it,
//! to list its tools, and a plain call (`Exchange::calling`) are posted from here ([`plain_post`]); plain calls do not even
//! come here as long as it is not there ([`direct`](super::direct)). So for such a server rmcp's transport is there only
//! from when it is needed:
//!
//! - A list has tools whose arguments are mirrored. The answer is handed on to rmcp's transport, which learns it.
//! - A call is not plain.
//! - An answer that came as a stream broke off and may be resumed.
//!
//! rmcp's transport takes the first message for the start. It is `server/discover` once more, which the backend answers by
//! itself; nobody waits for it.

use futures_util::{
    FutureExt,
    future::{self, BoxFuture, Shared},
};
use rmcp::{
    RoleClient,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, DiscoverRequest, DiscoverRequestParams,
        ProtocolVersion, RequestId, RequestMetaObject, ServerJsonRpcMessage,
    },
    transport::{
        StreamableHttpClientTransport, Transport as _,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::sync::{mpsc, oneshot};

use super::{
    backend::{self, Backend},
    plain_post::{self, Error, Posted},
    progress,
    slot::Exchange,
};

#[cfg(test)]
mod tests;

/// How many answers may wait for rmcp's service loop; those that post wait, too, then.
const MAX_WAITING: usize = 16;
/// The id of the start that rmcp's transport is given. Those of rmcp's own requests are numbers.
const START: &str = "start";

/// rmcp's transport, with a shorter way for plain requests.
pub(super) struct Transport {
    backend: Backend,
    /// Whether the server is spoken to without a session, as all are since revision 2026-07-28.
    stateless: bool,
    config: StreamableHttpClientTransportConfig,
    rmcps: Option<Rmcps>,
    posted: mpsc::Receiver<Posted>,
    /// Where `posted` comes from.
    posting: mpsc::Sender<Posted>,
}

/// rmcp's transport.
struct Rmcps {
    transport: StreamableHttpClientTransport<Backend>,
    /// Over when it has taken the start; `None`: rmcp itself sends that.
    started: Option<Shared<BoxFuture<'static, ()>>>,
}

impl Transport {
    /// A transport. `stateless` says whether the client opens without a handshake.
    pub(super) fn new(
        backend: Backend,
        config: StreamableHttpClientTransportConfig,
        stateless: bool,
    ) -> Self {
        let (posting, posted) = mpsc::channel(MAX_WAITING);
        Self { backend, stateless, config, rmcps: None, posted, posting }
    }

    fn is_plain(&self, message: &ClientJsonRpcMessage) -> bool {
        let ClientJsonRpcMessage::Request(request) = message else { return false };
        self.stateless
            && match request.request {
                ClientRequest::DiscoverRequest(_) => true,
                // What rmcp's transport has learnt of a tool, it learns anew.
                ClientRequest::ListToolsRequest(_) => self.rmcps.is_none(),
                _ => backend::exchange(message).is_some_and(|exchange| exchange.is_plain_call()),
            }
    }

    /// Whether there is nothing to be done: what is cancelled was posted from here, and is broken off by its exchange.
    fn is_done(&self, message: &ClientJsonRpcMessage) -> bool {
        let ClientJsonRpcMessage::Notification(notification) = message else { return false };
        let cancelled = matches!(notification.notification, ClientNotification::CancelledNotification(_));
        cancelled && self.stateless && self.rmcps.is_none()
    }

    /// Gives a message to rmcp's transport.
    fn give(&mut self, message: ClientJsonRpcMessage) -> BoxFuture<'static, Result<(), Error>> {
        let rmcps = self.rmcps.get_or_insert_with(|| {
            self.backend.note_rmcps_transport();
            let transport =
                StreamableHttpClientTransport::with_client(self.backend.clone(), self.config.clone());
            Rmcps::new(transport, self.stateless.then_some(&self.backend))
        });
        let sending = rmcps.transport.send(message);
        match rmcps.started.clone() {
            Some(started) => started.then(|()| sending).boxed(),
            None => sending.boxed(),
        }
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
        let sending = self.give(message);
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
        if self.is_plain(&message) {
            plain_post::post(self.backend.clone(), Box::new(message), self.posting.clone()).boxed()
        } else if self.is_done(&message) {
            future::ready(Ok(())).boxed()
        } else {
            self.give(message)
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            tokio::select! {
                biased;
                Some(posted) = self.posted.recv() => match posted {
                    Posted::Answer(answer) => return Some(*answer),
                    Posted::Begun(begun) => self.hand_on(&begun.exchange, begun.message, begun.told),
                },
                message = Rmcps::receive(self.rmcps.as_mut()) => match message {
                    Some(message) if is_of_start(&message) => {}
                    message => return message,
                },
            }
        }
    }

    async fn close(&mut self) -> Result<(), Error> {
        match &mut self.rmcps {
            Some(rmcps) => rmcps.transport.close().await,
            None => Ok(()),
        }
    }
}

impl Rmcps {
    /// rmcp's transport; `stateless` is the backend of a server that was started without it.
    fn new(mut transport: StreamableHttpClientTransport<Backend>, stateless: Option<&Backend>) -> Self {
        let started = stateless.map(|backend| {
            backend.note_revision(ProtocolVersion::V_2026_07_28);
            // If it fails, so does what is sent next.
            transport.send(start()).map(drop).boxed().shared()
        });
        Self { transport, started }
    }

    async fn receive(rmcps: Option<&mut Self>) -> Option<ServerJsonRpcMessage> {
        match rmcps {
            Some(rmcps) => rmcps.transport.receive().await,
            None => future::pending().await,
        }
    }
}

fn start() -> ClientJsonRpcMessage {
    let mut meta = RequestMetaObject::new();
    meta.set_protocol_version(ProtocolVersion::V_2026_07_28);
    let mut discover = DiscoverRequest::new(DiscoverRequestParams {});
    discover.extensions.insert(meta);
    ClientJsonRpcMessage::request(ClientRequest::DiscoverRequest(discover), RequestId::String(START.into()))
}

fn is_of_start(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, ServerJsonRpcMessage::Response(response) if matches!(&response.id, RequestId::String(id) if &**id == START))
}
