//! What an MCP server's HTTP answer means.
//!
//! A JSON body must answer the request that it came for: its id is compared, and an error without an id is given the
//! request's, because rmcp would drop it and wait on. In an SSE answer that is handed to rmcp it looks for the id itself.

use std::pin::pin;

use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use rmcp::{
    model::{
        CallToolResult, ClientJsonRpcMessage, ClientRequest, JsonRpcResponse, JsonRpcVersion2_0, RequestId,
        ServerJsonRpcMessage, ServerResult,
    },
    transport::streamable_http_client::StreamableHttpPostResponse,
};
use serde::Deserialize;
use sse_stream::{Error as SseError, Sse};

use super::{
    Fault,
    backend::{Backend, Sending},
    fault::read_challenge,
    progress::Expected,
    streamed::StreamedAnswer,
    tools,
};
use crate::{
    egress::{self, Body},
    sse,
};

/// The largest body of an answer that is no success, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Reads the answer to a POST.
pub(super) async fn read(
    backend: &Backend,
    sending: &Sending,
    message: &ClientJsonRpcMessage,
    in_session: bool,
    response: Response<Body>,
    session: Option<String>,
) -> Result<StreamableHttpPostResponse, Fault> {
    refuse(&response, sending, in_session)?;
    let ClientJsonRpcMessage::Request(request) = message else {
        return accepted(&response);
    };
    let listing = matches!(request.request, ClientRequest::ListToolsRequest(_));
    if !response.status().is_success() {
        let error = read_error(response, &request.id).await?;
        return Ok(StreamableHttpPostResponse::Json(error, session));
    }
    if is_type(&response, "text/event-stream") {
        let answer = backend.interrupted().begin(&sending.exchange, listing, Expected::of(request));
        return Ok(StreamableHttpPostResponse::Sse(events(backend, sending, answer, response), session));
    }
    if !is_json(&response) {
        return Err(Fault::Malformed("it is neither JSON nor an event stream"));
    }
    let body = read_body(response, backend.max_body_bytes()).await?;
    let mut answer = parse_answer(&request.request, &body)?;
    if listing && let Some(page) = tools::keep_usable(&mut answer) {
        sending.exchange.note_page(page);
    }
    Ok(StreamableHttpPostResponse::Json(for_request(answer, &request.id)?, session))
}

/// Checks the answer to a GET that resumes an SSE answer.
pub(super) fn check_resumed(
    sending: &Sending,
    in_session: bool,
    response: &Response<Body>,
) -> Result<(), Fault> {
    // The request was taken already: what refuses the rest of its answer does not say that it did nothing.
    refuse(response, sending, in_session).map_err(|fault| match fault {
        Fault::Unauthorized(challenge) | Fault::Forbidden(challenge) => {
            Fault::ResumptionRefused(response.status(), challenge)
        }
        Fault::SessionExpired => Fault::ResumptionRefused(response.status(), Box::default()),
        fault => fault,
    })?;
    if !response.status().is_success() {
        return Err(Fault::Status(response.status()));
    }
    if is_type(response, "text/event-stream") {
        Ok(())
    } else {
        Err(Fault::Malformed("it is no event stream"))
    }
}

/// What is the same for every kind of message.
fn refuse(response: &Response<Body>, sending: &Sending, in_session: bool) -> Result<(), Fault> {
    let challenge = || Box::new(read_challenge(response.headers(), sending.filled.headers.scrubber()));
    match response.status() {
        StatusCode::UNAUTHORIZED => Err(Fault::Unauthorized(challenge())),
        StatusCode::FORBIDDEN => Err(Fault::Forbidden(challenge())),
        StatusCode::NOT_FOUND if in_session => Err(Fault::SessionExpired),
        status if status.is_redirection() => Err(Fault::Status(status)),
        _ => Ok(()),
    }
}

fn accepted(response: &Response<Body>) -> Result<StreamableHttpPostResponse, Fault> {
    let status = response.status();
    if status.is_success() { Ok(StreamableHttpPostResponse::Accepted) } else { Err(Fault::Status(status)) }
}

/// A JSON-RPC error in an answer that is no success is an answer, unless a gateway may have written it.
async fn read_error(response: Response<Body>, id: &RequestId) -> Result<ServerJsonRpcMessage, Fault> {
    let status = response.status();
    if !is_json(&response) {
        return Err(Fault::Status(status));
    }
    let body = read_body(response, MAX_ERROR_BYTES).await.map_err(|_| Fault::Status(status))?;
    let by_server = status == StatusCode::INTERNAL_SERVER_ERROR
        || (status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS);
    match parse(&body) {
        Ok(error @ ServerJsonRpcMessage::Error(_)) if by_server => for_request(error, id),
        _ => Err(Fault::Status(status)),
    }
}

async fn read_body(response: Response<Body>, max: usize) -> Result<bytes::Bytes, Fault> {
    egress::read_capped(response.into_body(), max).await.map_err(|error| match error {
        egress::BodyError::TooLarge => Fault::TooLarge(max),
        egress::BodyError::Transport => Fault::Broken,
    })
}

/// Reads what may be the answer to a request.
pub(super) fn parse_answer(request: &ClientRequest, body: &[u8]) -> Result<ServerJsonRpcMessage, Fault> {
    let calling = matches!(request, ClientRequest::CallToolRequest(_));
    calling.then(|| tool_result(body)).flatten().map_or_else(|| parse(body), Ok)
}

fn parse(body: &[u8]) -> Result<ServerJsonRpcMessage, Fault> {
    serde_json::from_slice(body).map_err(|_| Fault::Malformed("it is no JSON-RPC message"))
}

/// A tool's result, if that is all there is: most answers are. rmcp tries one after the other what a message may be, and
/// that costs as much as all the rest of reading it.
fn tool_result(body: &[u8]) -> Option<ServerJsonRpcMessage> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Answer {
        jsonrpc: JsonRpcVersion2_0,
        id: RequestId,
        result: CallToolResult,
    }
    let Answer { jsonrpc, id, result } = serde_json::from_slice(body).ok()?;
    let result = ServerResult::CallToolResult(result);
    Some(ServerJsonRpcMessage::Response(JsonRpcResponse { jsonrpc, id, result }))
}

/// Holds an answer against the request that it came for.
pub(super) fn for_request(
    mut answer: ServerJsonRpcMessage,
    id: &RequestId,
) -> Result<ServerJsonRpcMessage, Fault> {
    let answered = match &mut answer {
        ServerJsonRpcMessage::Response(response) => &response.id,
        ServerJsonRpcMessage::Error(error) => &*error.id.get_or_insert_with(|| id.clone()),
        _ => return Err(Fault::Malformed("it is no answer")),
    };
    // Some servers give a number back as a string.
    if answered == id || answered.to_string() == id.to_string() {
        Ok(answer)
    } else {
        Err(Fault::Malformed("it answers another request"))
    }
}

fn is_json(response: &Response<Body>) -> bool {
    is_type(response, "application/json")
}

fn is_type(response: &Response<Body>, expected: &str) -> bool {
    let given =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(expected))
}

/// The events of an SSE answer, within the request's deadline and lease.
pub(super) fn events(
    backend: &Backend,
    sending: &Sending,
    answer: StreamedAnswer,
    response: Response<Body>,
) -> Events {
    let events = sse::events(response.into_body().into_data_stream(), backend.max_body_bytes()).boxed();
    let reading = Reading { events, backend: backend.clone(), sending: sending.clone(), answer };
    stream::unfold(Some(reading), |reading| async {
        match reading {
            Some(reading) => reading.next().await,
            None => None,
        }
    })
    .boxed()
}

/// An SSE answer that is being read.
struct Reading<S> {
    events: S,
    backend: Backend,
    sending: Sending,
    answer: StreamedAnswer,
}

impl<S> Reading<S>
where
    S: Stream<Item = Result<Sse, sse::Error<hyper::Error>>> + Unpin,
{
    async fn next(mut self) -> Option<(Result<Sse, SseError>, Option<Self>)> {
        let max = self.backend.max_body_bytes();
        let events = &mut self.events;
        let next = pin!(async { events.next().await.transpose().map_err(|error| stream_fault(&error, max)) });
        match self.sending.bounded(next).await {
            Ok(Some(mut event)) => {
                self.answer.look_through(&mut event);
                Some((Ok(event), Some(self)))
            }
            Ok(None) => {
                self.backend.interrupted().keep(self.answer, None);
                None
            }
            Err(fault) => {
                self.backend.interrupted().keep(self.answer, Some(&fault));
                Some((Err(SseError::Body(Box::new(fault))), None))
            }
        }
    }
}

fn stream_fault(error: &sse::Error<hyper::Error>, max: usize) -> Fault {
    match error {
        sse::Error::TooLarge => Fault::TooLarge(max),
        sse::Error::Body(_) => Fault::Broken,
    }
}
