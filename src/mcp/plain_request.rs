//! Requests of revision 2026-07-28 as they go over HTTP where rmcp does not send them: `server/discover`, `tools/list`, and
//! a plain `tools/call`, which is one whose headers mirror none of its arguments.
//!
//! rmcp turns a request into a JSON value, to look for what is mirrored and to merge what a request may have of `_meta` in
//! two places. A plain call has nothing of the one and one of the other, so it is written at once.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequest, ClientJsonRpcMessage, ClientRequest, InputResponses, ProgressToken, RequestId,
    RequestMetaObject,
};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{open, slot::Exchange};
use crate::trace::TraceHeaders;

/// The revision of all these requests.
const REVISION: &str = "2026-07-28";

/// The headers. A called tool's name can stand in one.
pub(super) fn headers(
    message: &ClientJsonRpcMessage,
) -> impl IntoIterator<Item = (HeaderName, HeaderValue)> + use<> {
    const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
    const METHOD: HeaderName = HeaderName::from_static("mcp-method");
    const NAME: HeaderName = HeaderName::from_static("mcp-name");
    let name = call(message).and_then(|(_, call)| HeaderValue::from_str(&call.params.name).ok());
    [
        (PROTOCOL_VERSION, Some(HeaderValue::from_static(REVISION))),
        (METHOD, method(message).map(HeaderValue::from_static)),
        (NAME, name),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// The body; `None`: it is not to be written.
pub(super) fn body(message: &ClientJsonRpcMessage) -> Option<Vec<u8>> {
    match call(message) {
        Some((id, call)) => call_body(id, call, meta(call)),
        None => serde_json::to_vec(message).ok(),
    }
}

/// The body of a message that rmcp sends: as rmcp writes it, but for a call's arguments, which are as the model wrote them.
pub(super) fn rmcps_body(message: &ClientJsonRpcMessage) -> Option<Vec<u8>> {
    match call(message) {
        Some((id, call)) => call_body(id, call, call.extensions.get().map(Meta::Rmcps)),
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

fn call_body(id: &RequestId, call: &CallToolRequest, meta: Option<Meta<'_>>) -> Option<Vec<u8>> {
    let written = exchange(call).and_then(|exchange| exchange.arguments.as_deref()).map(Arguments::Written);
    let params = Params {
        meta,
        name: &call.params.name,
        arguments: written.or_else(|| call.params.arguments.as_ref().map(Arguments::Members)),
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
    meta: Option<Meta<'a>>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Arguments<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_responses: Option<&'a InputResponses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Arguments<'a> {
    Written(&'a RawValue),
    Members(&'a Map<String, Value>),
}

/// What a request says of its client and of the run.
#[derive(Serialize)]
#[serde(untagged)]
enum Meta<'a> {
    /// As rmcp has put it together.
    Rmcps(&'a RequestMetaObject),
    /// The same, of a request that does not pass rmcp.
    Ours(OurMeta<'a>),
}

#[derive(Serialize)]
struct OurMeta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: &'static str,
    #[serde(rename = "io.modelcontextprotocol/clientInfo")]
    client_info: OurInfo,
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
    client_capabilities: NoCapabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(rename = "progressToken", skip_serializing_if = "Option::is_none")]
    progress_token: Option<&'a ProgressToken>,
}

#[derive(Serialize)]
struct OurInfo {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct NoCapabilities {}

fn meta(call: &CallToolRequest) -> Option<Meta<'_>> {
    if let Some(meta) = call.extensions.get() {
        return Some(Meta::Rmcps(meta));
    }
    let exchange = exchange(call)?;
    let TraceHeaders { traceparent, tracestate, .. } = &exchange.outgoing.trace;
    Some(Meta::Ours(OurMeta {
        protocol_version: REVISION,
        client_info: OurInfo { name: open::OUR_NAME, version: open::OUR_VERSION },
        client_capabilities: NoCapabilities {},
        traceparent: traceparent.as_deref(),
        tracestate: tracestate.as_deref(),
        progress_token: call.extensions.get(),
    }))
}

fn exchange(call: &CallToolRequest) -> Option<&Exchange> {
    call.extensions.get::<Arc<Exchange>>().map(|exchange| &**exchange)
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
    use rmcp::model::{CallToolRequestParams, GetMeta, ProtocolVersion, Request};
    use serde_json::{from_slice, json, to_value};

    use super::*;
    use crate::{id, mcp::client, trace::Outgoing};

    fn params() -> CallToolRequestParams {
        let arguments = json!({ "city": "Zürich", "days": [1, 2.5, null] }).as_object().cloned().unwrap();
        CallToolRequestParams::new("weather").with_arguments(arguments)
    }

    fn written(message: &ClientJsonRpcMessage) -> Value {
        from_slice(&body(message).unwrap()).unwrap()
    }

    #[test]
    fn a_call_is_written_as_rmcp_writes_it() {
        let bare = params();
        let mut params = bare.clone();
        params.input_responses = Some([("1".to_owned(), json!({ "action": "decline" }))].into());
        params.request_state = Some("opaque \"state\"".to_owned());
        for params in [params, bare] {
            let mut request: CallToolRequest = Request::new(params);
            request.extensions.insert("not for the wire");
            let outgoing = Outgoing { request_id: id::RequestId::generate(), trace: TraceHeaders::default() };
            request.extensions.insert(Exchange::new(outgoing));
            let mut request = ClientRequest::CallToolRequest(request);
            let bare = ClientJsonRpcMessage::request(request.clone(), RequestId::Number(7));
            let bare_body = rmcps_body(&bare).unwrap();
            assert_eq!(
                from_slice::<Value>(&bare_body).unwrap(),
                to_value(&bare).unwrap(),
                "without any metadata"
            );
            request.get_meta_mut().set_traceparent("00-1-2-01");
            let message = ClientJsonRpcMessage::request(request, RequestId::Number(7));
            assert_eq!(rmcps_body(&message), body(&message));
            let written = written(&message);
            assert_eq!(written, to_value(&message).unwrap());
            assert_eq!(written["params"]["_meta"]["traceparent"], "00-1-2-01");
        }
    }

    #[test]
    fn a_call_that_does_not_pass_rmcp_says_what_rmcp_would_say() {
        let (traceparent, tracestate) = (Some("00-1-2-01".to_owned()), Some("a=b".to_owned()));
        let whole = TraceHeaders { traceparent, tracestate, ..TraceHeaders::default() };
        let (id, token) = (RequestId::Number(7), ProgressToken(RequestId::Number(8)));
        for (trace, token) in [(whole, Some(token)), (TraceHeaders::default(), None)] {
            let outgoing = Outgoing { request_id: id::RequestId::generate(), trace };
            let mut meta = RequestMetaObject::new();
            let us = open::us();
            meta.set_protocol_version(ProtocolVersion::V_2026_07_28);
            meta.set_client_info(us.client_info);
            meta.set_client_capabilities(us.capabilities);
            meta.extend(client::trace_meta(&outgoing));

            let mut request: CallToolRequest = Request::new(params());
            request.extensions.insert(Exchange::new(outgoing));
            if let Some(token) = token {
                meta.set_progress_token(token.clone());
                request.extensions.insert(token);
            }
            let message = |request: &CallToolRequest| {
                ClientJsonRpcMessage::request(ClientRequest::CallToolRequest(request.clone()), id.clone())
            };
            let ours = written(&message(&request));
            request.extensions.insert(meta);
            assert_eq!(ours, to_value(message(&request)).unwrap());
        }
    }
}
