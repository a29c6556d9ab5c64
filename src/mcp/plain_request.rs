//! Requests of revision 2026-07-28 as they go over HTTP where rmcp does not send them: `server/discover`, `tools/list`, and
//! a plain `tools/call`, which is one whose headers mirror none of its arguments.
//!
//! rmcp turns a request into a JSON value, to look for what is mirrored and to merge what a request may have of `_meta` in
//! two places. A plain call has nothing of the one and one of the other, so it is written at once.

use http::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequest, ClientJsonRpcMessage, ClientRequest, InputResponses, RequestId, RequestMetaObject,
};
use serde::Serialize;
use serde_json::{Map, Value};

/// The headers. A called tool's name can stand in one.
pub(super) fn headers(
    message: &ClientJsonRpcMessage,
) -> impl IntoIterator<Item = (HeaderName, HeaderValue)> + use<> {
    const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
    const METHOD: HeaderName = HeaderName::from_static("mcp-method");
    const NAME: HeaderName = HeaderName::from_static("mcp-name");
    let name = call(message).and_then(|(_, call)| HeaderValue::from_str(&call.params.name).ok());
    [
        (PROTOCOL_VERSION, Some(HeaderValue::from_static("2026-07-28"))),
        (METHOD, method(message).map(HeaderValue::from_static)),
        (NAME, name),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// The body; `None`: it is not to be written.
pub(super) fn body(message: &ClientJsonRpcMessage) -> Option<Vec<u8>> {
    match call(message) {
        Some((id, call)) => call_body(id, call),
        None => serde_json::to_vec(message).ok(),
    }
}

fn method(message: &ClientJsonRpcMessage) -> Option<&'static str> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    match request.request {
        ClientRequest::DiscoverRequest(_) => Some("server/discover"),
        ClientRequest::ListToolsRequest(_) => Some("tools/list"),
        ClientRequest::CallToolRequest(_) => Some("tools/call"),
        _ => None,
    }
}

fn call_body(id: &RequestId, call: &CallToolRequest) -> Option<Vec<u8>> {
    let params = Params {
        meta: call.extensions.get(),
        name: &call.params.name,
        arguments: call.params.arguments.as_ref(),
        input_responses: call.params.input_responses.as_ref(),
        request_state: call.params.request_state.as_deref(),
    };
    serde_json::to_vec(&Body { jsonrpc: "2.0", id, method: "tools/call", params }).ok()
}

#[derive(Serialize)]
struct Body<'a> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RequestMetaObject>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_responses: Option<&'a InputResponses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<&'a str>,
}

fn call(message: &ClientJsonRpcMessage) -> Option<(&RequestId, &CallToolRequest)> {
    match message {
        ClientJsonRpcMessage::Request(request) => match &request.request {
            ClientRequest::CallToolRequest(call) => Some((&request.id, call)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequestParams, GetMeta, Request};
    use serde_json::{from_slice, json, to_value};

    use super::*;

    #[test]
    fn a_call_is_written_as_rmcp_writes_it() {
        let arguments = json!({ "city": "Zürich", "days": [1, 2.5, null] }).as_object().cloned().unwrap();
        let mut params = CallToolRequestParams::new("weather").with_arguments(arguments);
        let bare = params.clone();
        params.input_responses = Some([("1".to_owned(), json!({ "action": "decline" }))].into());
        params.request_state = Some("opaque \"state\"".to_owned());
        for params in [params, bare] {
            let mut request: CallToolRequest = Request::new(params);
            request.extensions.insert("not for the wire");
            let mut request = ClientRequest::CallToolRequest(request);
            request.get_meta_mut().set_traceparent("00-1-2-01");
            let message = ClientJsonRpcMessage::request(request, RequestId::Number(7));
            let written: Value = from_slice(&body(&message).unwrap()).unwrap();
            assert_eq!(written, to_value(&message).unwrap());
            assert_eq!(written["params"]["_meta"]["traceparent"], "00-1-2-01");
        }
    }
}
