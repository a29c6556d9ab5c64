//! Requests that are posted without rmcp's transport, and their answers.
//!
//! Such a request is broken off where nobody waits for it any more: that is how a server that has no sessions learns it.
//! An answer that comes as a stream is read from here, too. What stands in it besides the answer is for nobody: servers of
//! this revision make no requests, and progress is taken out before. Only where a stream breaks off in a place from where
//! it may be resumed, rmcp's transport is given what is left of it: the id of its last event.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream, stream::BoxStream};
use rmcp::{
    model::{ClientJsonRpcMessage, ClientRequest, JsonRpcRequest, ServerJsonRpcMessage},
    transport::streamable_http_client::{StreamableHttpError, StreamableHttpPostResponse},
};
use sse_stream::{Error as SseError, Sse};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Fault, answer,
    backend::{self, Backend},
    slot::Exchange,
    tools,
};

/// How long the end of a stream is waited for whose answer has come: a connection can be used again from there.
pub(super) const LINGER: Duration = Duration::from_millis(50);

pub(super) type Error = StreamableHttpError<Fault>;
pub(super) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// What a request came to that was posted from here.
pub(super) enum Posted {
    Answer(Box<ServerJsonRpcMessage>),
    Begun(Box<Begun>),
}

/// A request whose answer has begun, which the exchange holds. rmcp's transport is to send the request, and to say how that
/// went.
pub(super) struct Begun {
    pub(super) exchange: Arc<Exchange>,
    pub(super) message: ClientJsonRpcMessage,
    pub(super) told: oneshot::Sender<Result<(), Error>>,
}

/// What was answered to a request.
pub(super) enum Answered {
    /// The answer, and what is left of the stream that it came in.
    Whole(Box<ServerJsonRpcMessage>, Option<Events>),
    /// What is left of a stream that broke off.
    Interrupted(Events),
}

/// Posts a request. It is boxed, for it would stand in each future that it goes through.
pub(super) async fn post(
    backend: Backend,
    message: Box<ClientJsonRpcMessage>,
    posting: mpsc::Sender<Posted>,
) -> Result<(), Error> {
    let Some(exchange) = backend::exchange(&message) else {
        // To open a client is given up with the client.
        return post_unless_abandoned(&backend, message, None, &posting).await;
    };
    let abandoned = exchange.clone();
    tokio::select! {
        biased;
        () = abandoned.abandoned() => Ok(()),
        posted = post_unless_abandoned(&backend, message, Some(exchange), &posting) => posted,
    }
}

async fn post_unless_abandoned(
    backend: &Backend,
    message: Box<ClientJsonRpcMessage>,
    exchange: Option<Arc<Exchange>>,
    posting: &mpsc::Sender<Posted>,
) -> Result<(), Error> {
    let ClientJsonRpcMessage::Request(request) = &*message else { return Ok(()) };
    let (answer, rest) = match answered(backend, &message).await? {
        Answered::Whole(answer, rest) => (answer, rest),
        Answered::Interrupted(left) => {
            let left = StreamableHttpPostResponse::Sse(left, None);
            return hand_on(left, message, exchange, posting).await;
        }
    };
    let listing = matches!(request.request, ClientRequest::ListToolsRequest(_));
    if listing && tools::lists_mirroring(&answer) {
        let answer = StreamableHttpPostResponse::Json(*answer, None);
        return hand_on(answer, message, exchange, posting).await;
    }
    posting.send(Posted::Answer(answer)).await.map_err(|_| Error::TransportChannelClosed)?;
    // What opening a client notes of it is a reason why it failed, and an end after the answer is none.
    if let Some(rest) = rest.filter(|_| exchange.is_some()) {
        let _ = timeout(LINGER, rest.for_each(|_| async {})).await;
    }
    Ok(())
}

/// Posts a request, and reads its answer.
pub(super) async fn answered(backend: &Backend, message: &ClientJsonRpcMessage) -> Result<Answered, Error> {
    let ClientJsonRpcMessage::Request(request) = message else {
        return Err(Error::Client(Fault::Malformed("it is no request")));
    };
    match backend.post_plain(message).await.map_err(Error::Client)? {
        StreamableHttpPostResponse::Json(answer, _) => Ok(Answered::Whole(Box::new(answer), None)),
        StreamableHttpPostResponse::Sse(events, _) => read(events, request).await,
        _ => Err(Error::Client(Fault::Malformed("it is no answer"))),
    }
}

/// Hands a request and its answer, which has begun, on to rmcp's transport.
async fn hand_on(
    answer: StreamableHttpPostResponse,
    message: Box<ClientJsonRpcMessage>,
    exchange: Option<Arc<Exchange>>,
    posting: &mpsc::Sender<Posted>,
) -> Result<(), Error> {
    // Without one it is the start, which is not resumed.
    let exchange = exchange.ok_or(Error::UnexpectedEndOfStream)?;
    exchange.keep_posted(answer);
    let (told, sent) = oneshot::channel();
    let begun = Posted::Begun(Box::new(Begun { exchange, message: *message, told }));
    posting.send(begun).await.map_err(|_| Error::TransportChannelClosed)?;
    sent.await.unwrap_or(Ok(()))
}

async fn read(mut events: Events, request: &JsonRpcRequest<ClientRequest>) -> Result<Answered, Error> {
    let mut last = Sse::default();
    loop {
        let end = match events.next().await {
            Some(Ok(event)) => {
                if let Some(answer) = answer_in(&event, request)? {
                    return Ok(Answered::Whole(Box::new(answer), Some(events)));
                }
                last.id = event.id.or(last.id);
                last.retry = event.retry.or(last.retry);
                continue;
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        return match (end, &last.id) {
            (end, Some(_)) => Ok(Answered::Interrupted(interrupted(last, end))),
            (Some(error), None) => Err(Error::Sse(error)),
            (None, None) => Err(Error::UnexpectedEndOfStream),
        };
    }
}

/// A stream that ends like one that was read already.
fn interrupted(last: Sse, end: Option<SseError>) -> Events {
    stream::iter([Ok(last)].into_iter().chain(end.map(Err))).boxed()
}

fn answer_in(
    event: &Sse,
    request: &JsonRpcRequest<ClientRequest>,
) -> Result<Option<ServerJsonRpcMessage>, Error> {
    let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
    let Some(data) = event.data.as_ref().filter(|_| is_message) else { return Ok(None) };
    match answer::parse_answer(&request.request, data.as_bytes()) {
        Ok(answer @ (ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))) => {
            answer::for_request(answer, &request.id).map(Some).map_err(Error::Client)
        }
        _ => Ok(None),
    }
}
