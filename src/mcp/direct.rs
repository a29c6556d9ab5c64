//! Plain calls that do not pass rmcp at all.
//!
//! rmcp's service is a task that is woken three times for a call, and starts another for it: to hand a call to it and to
//! get the answer back takes longer than to make the request. A server without sessions knows nothing of the client but
//! what each request says of it. So a plain call (`Exchange::calling`) is made by whoever waits for its answer. To drop its
//! future is to break it off, which is how such a server learns that nobody waits for it any more.
//!
//! As soon as rmcp's transport is there (`transport`), all calls go its way again. And so does one whose answer broke off
//! and may be resumed: rmcp gives it an id of its own, which the rest of the answer is given, too.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use futures_util::{FutureExt, StreamExt};
use rmcp::{
    model::{
        CallToolRequest, ClientJsonRpcMessage, ClientRequest, JsonRpcRequest, ProgressToken, RequestId,
        ServerJsonRpcMessage, ServerResult,
    },
    transport::streamable_http_client::StreamableHttpPostResponse,
};
use tokio::time::timeout;

use super::{
    Fault,
    backend::Backend,
    fault::UpstreamText,
    plain_post::{self, Answered, Error, Events, LINGER},
    progress::Listener,
    slot::Exchange,
};

/// The first id. rmcp's own, in the same client, have 32 bits.
const FIRST_ID: i64 = 1 << 32;

/// The plain calls of one client.
pub(super) struct Direct {
    backend: Backend,
    next_id: AtomicI64,
}

/// What a call came to.
pub(super) enum Called {
    Answered(Box<ServerResult>),
    /// Its answer broke off. rmcp is to send the request, and gets what the exchange holds of the answer.
    Interrupted(Box<ClientRequest>),
}

impl Direct {
    /// The plain calls of a client whose server has no sessions.
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, next_id: AtomicI64::new(FIRST_ID) }
    }

    /// Whether a call may be made from here.
    pub(super) fn takes(&self, exchange: &Exchange) -> bool {
        exchange.is_plain_call() && !self.backend.has_rmcps_transport()
    }

    /// Makes a call, and waits for its answer.
    pub(super) async fn call(
        &self,
        mut request: CallToolRequest,
        exchange: &Arc<Exchange>,
    ) -> Result<Called, Fault> {
        let id = RequestId::Number(self.next_id.fetch_add(1, Ordering::Relaxed));
        if request.extensions.get::<Listener>().is_some() {
            request.extensions.insert(ProgressToken(id.clone()));
        }
        let request = JsonRpcRequest::new(id, ClientRequest::CallToolRequest(request));
        let message = ClientJsonRpcMessage::Request(request);
        let answered = plain_post::answered(&self.backend, &message).await;
        match answered.map_err(|error| exchange.fault().unwrap_or_else(|| fault(error)))? {
            Answered::Whole(answer, rest) => {
                if let Some(rest) = rest {
                    read_out(rest);
                }
                result(*answer).map(|result| Called::Answered(Box::new(result)))
            }
            Answered::Interrupted(left) => {
                exchange.keep_posted(StreamableHttpPostResponse::Sse(left, None));
                exchange.is_not_plain();
                let ClientJsonRpcMessage::Request(request) = message else { return Err(Fault::Broken) };
                exchange.note_posted_id(request.id);
                Ok(Called::Interrupted(Box::new(request.request)))
            }
        }
    }
}

/// Waits for the end of a stream whose answer has come: a connection can be used again from there. Mostly it is there.
fn read_out(mut rest: Events) {
    if !matches!(rest.next().now_or_never(), Some(None)) {
        tokio::spawn(timeout(LINGER, rest.for_each(|_| async {})));
    }
}

fn result(answer: ServerJsonRpcMessage) -> Result<ServerResult, Fault> {
    match answer {
        ServerJsonRpcMessage::Response(response) => Ok(response.result),
        ServerJsonRpcMessage::Error(answer) => {
            let message = UpstreamText(answer.error.message.into_owned());
            Err(Fault::Rpc { code: answer.error.code.0, message })
        }
        _ => Err(Fault::Broken),
    }
}

/// What the backend had nothing to say of.
fn fault(error: Error) -> Fault {
    match error {
        Error::Client(fault) => fault,
        _ => Fault::Broken,
    }
}
