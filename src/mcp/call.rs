//! Calling a tool.

use std::{collections::BTreeMap, sync::Arc};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ErrorCode, InputRequest, InputRequests,
    InputRequiredResult, InputResponses, Request, ServerResult,
};
use serde_json::json;

use super::{
    Error, Fault, RunHeaders, ServerConfig, Tool,
    client::{Caller, Client, kind_of_error},
    direct::Called,
    progress::Listener,
    render,
    slot::Exchange,
};
use crate::{
    message::{Image, ToolCallStatus},
    metrics::Method,
    tool::Arguments,
    trace::Outgoing,
};

/// The most times that a tool may ask for more input before it answers.
const MAX_ROUNDS: usize = 8;

/// How a tool call went.
#[derive(Debug)]
pub struct CallOutcome {
    /// How it ended.
    pub status: ToolCallStatus,
    /// What the model is shown.
    pub text: String,
    /// The images that it is shown beside, at most 16; the text has a mark for each, in this order.
    pub images: Vec<Image>,
    /// Why there is no answer of the tool's own.
    pub(super) fault: Option<Fault>,
    /// The refusal of the run's credential, where that is what the fault is.
    pub refusal: Option<Box<Error>>,
}

/// A call that is to be made.
pub(super) struct Calling<'a> {
    pub(super) tool: &'a str,
    pub(super) arguments: &'a Arguments,
    pub(super) outgoing: Outgoing,
    /// Who listens to its progress.
    pub(super) listener: Option<Listener>,
    /// Is called before the call is sent.
    pub(super) sends: &'a (dyn Fn() + Sync),
}

impl CallOutcome {
    /// A call that is not made.
    pub fn refused(why: String) -> Self {
        Self::answered(why, true)
    }

    /// A call that the tool did not answer. `sent` says whether the server may have seen it.
    pub(super) fn failed(fault: Fault, sent: bool) -> Self {
        let answered = matches!(
            fault,
            Fault::Unauthorized(_) | Fault::Forbidden(_) | Fault::SessionExpired | Fault::Rpc { .. }
        );
        let unknown = sent && !answered && !fault.is_unsent();
        let status = if unknown { ToolCallStatus::Unknown } else { ToolCallStatus::Error };
        let text = match &fault {
            Fault::Rpc { code, message } => format!("The tool failed: {} (JSON-RPC error {code})", message.0),
            Fault::SessionExpired => "The tool was not run: the server's session had ended. \
                                      A new one is opened for the next call."
                .to_owned(),
            fault if unknown => format!("The tool may or may not have run: {fault}."),
            fault => format!("The tool was not run: {fault}."),
        };
        Self { status, text, images: Vec::new(), fault: Some(fault), refusal: None }
    }

    /// A call that the tool answered.
    pub(super) fn answered(text: String, is_error: bool) -> Self {
        let status = if is_error { ToolCallStatus::Error } else { ToolCallStatus::Ok };
        Self { status, text, images: Vec::new(), fault: None, refusal: None }
    }

    /// Whether the call may have reached the server, as far as it was sent.
    pub fn may_have_arrived(&self) -> bool {
        !self.fault.as_ref().is_some_and(Fault::is_unsent)
    }

    /// A call that the caller itself answered.
    pub fn given(text: String, images: Vec<Image>, is_error: bool) -> Self {
        Self { images, ..Self::answered(text, is_error) }
    }
}

/// Calls a tool. The call is sent again only where the server said that it did not run: because headers that mirror its
/// arguments did not fit (-32020), or because it wants more input first.
pub(super) async fn call(
    client: &Arc<Client>,
    caller: &Caller,
    config: &ServerConfig,
    headers: &RunHeaders,
    tool: &Tool,
    calling: &Calling<'_>,
) -> CallOutcome {
    let Calling { arguments, outgoing, listener, sends, .. } = calling;
    let exchange =
        Exchange::calling(outgoing.clone(), config.timeouts.call, tool.is_plain(), &arguments.written);
    let members = arguments.value.as_object().cloned().unwrap_or_default();
    let mut params = CallToolRequestParams::new(tool.name.clone()).with_arguments(members);
    let mut listed_again = false;
    let mut rounds = 0;
    loop {
        sends();
        match send(client, caller, &exchange, params.clone(), listener.as_ref()).await {
            Ok(ServerResult::InputRequiredResult(asked)) if rounds < MAX_ROUNDS => {
                rounds += 1;
                match with_input(params, asked) {
                    Ok(again) => params = again,
                    Err(refused) => return refused,
                }
            }
            Err(Fault::Rpc { code, .. }) if code == ErrorCode::HEADER_MISMATCH.0 && !listed_again => {
                listed_again = true;
                exchange.is_not_plain();
                client.forget_tools();
                let listing = Exchange::within(outgoing.clone(), config.timeouts.startup);
                if let Err(fault) = Box::pin(client.tools(&listing, config, caller)).await {
                    return CallOutcome::failed(fault.scrubbed(headers), false);
                }
            }
            Ok(result) => return render::outcome(result, headers),
            Err(fault) => return CallOutcome::failed(fault.scrubbed(headers), true),
        }
    }
}

/// Sends a call, and measures it to its answer.
async fn send(
    client: &Client,
    caller: &Caller,
    exchange: &Arc<Exchange>,
    params: CallToolRequestParams,
    listener: Option<&Listener>,
) -> Result<ServerResult, Fault> {
    let operation = client.meter().operation(Method::CallTool);
    let answered = send_either_way(client, caller, exchange, params, listener).await;
    operation.end(kind_of_error(&answered));
    answered
}

async fn send_either_way(
    client: &Client,
    caller: &Caller,
    exchange: &Arc<Exchange>,
    params: CallToolRequestParams,
    listener: Option<&Listener>,
) -> Result<ServerResult, Fault> {
    let mut request: CallToolRequest = Request::new(params);
    request.extensions.insert(exchange.clone());
    if let Some(listener) = listener {
        request.extensions.insert(listener.clone());
    }
    let request = match client.direct(exchange) {
        // Boxed, since what is around it is moved on its way.
        Some(direct) => match Box::pin(direct.call(request, exchange)).await? {
            Called::Answered(result) => return Ok(*result),
            Called::Interrupted(request) => *request,
        },
        None => ClientRequest::CallToolRequest(request),
    };
    Box::pin(client.request(request, exchange, caller)).await
}

/// The call once more, with what the tool asked for: nobody is there to answer, so elicitation is declined.
fn with_input(
    params: CallToolRequestParams,
    asked: InputRequiredResult,
) -> Result<CallToolRequestParams, CallOutcome> {
    let responses = answer(asked.input_requests.unwrap_or_default())?;
    let mut params = params;
    params.input_responses = (!responses.is_empty()).then_some(responses);
    params.request_state = asked.request_state;
    Ok(params)
}

fn answer(requests: InputRequests) -> Result<InputResponses, CallOutcome> {
    let mut responses = BTreeMap::new();
    for (key, request) in requests {
        let response = match request {
            InputRequest::Elicitation(_) => json!({ "action": "decline" }),
            InputRequest::ListRoots(_) => json!({ "roots": [] }),
            _ => {
                let text =
                    "The tool was not run: it asks for a model's answer, which is not offered to tools.";
                return Err(CallOutcome::answered(text.to_owned(), true));
            }
        };
        responses.insert(key, response);
    }
    Ok(responses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_broken_off_may_have_run() {
        let broken_off = CallOutcome::failed(Fault::Vacated, true);
        assert_eq!(broken_off.status, ToolCallStatus::Unknown);
        assert!(broken_off.may_have_arrived());
        assert!(broken_off.text.contains("may or may not have run"), "{}", broken_off.text);
        let unsent = CallOutcome::failed(Fault::NoLease, true);
        assert_eq!(unsent.status, ToolCallStatus::Error);
        assert!(!unsent.may_have_arrived());
        assert!(unsent.text.contains("was not run"), "{}", unsent.text);
    }
}
