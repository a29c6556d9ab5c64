//! The spans of a run, and of what it does.

use std::{borrow::Cow, collections::BTreeMap};

use http::Uri;
use opentelemetry::{Array, KeyValue, StringValue, Value, trace::SpanKind};
use tracing::info_span;
use url::Url;

use super::{Correlation, OpenSpan, Outgoing, Span, names, of_request};
use crate::{
    id::{RequestId, RunId},
    message::Usage,
    settings::Settings,
};

/// A model request that is to be made.
pub struct Chat<'a> {
    /// The provider's name for the model.
    pub model: &'a str,
    /// The provider, as the conventions name it.
    pub provider: &'static str,
    /// Where it is asked; `None`: nowhere but here.
    pub server: Option<&'a Uri>,
    /// The turn, from 1.
    pub turn: u32,
    /// Whether the answer is to come in pieces.
    pub streamed: bool,
    /// How it is to answer.
    pub settings: &'a Settings,
}

/// The span of a run.
pub fn invoke_agent(agent: &str, model: &str, run_id: RunId, correlation: &Correlation) -> Span {
    let request_id = &correlation.request_id;
    let Correlation { span: parent, .. } = correlation;
    parent.lines().record("run_id", tracing::field::display(run_id));
    parent.record_all(|| [KeyValue::new(names::RUN_ID, run_id.to_string())]);
    let span = parent.child(|| {
        let attributes = vec![
            KeyValue::new(names::GEN_AI_OPERATION_NAME, "invoke_agent"),
            KeyValue::new(names::GEN_AI_AGENT_NAME, agent.to_owned()),
            KeyValue::new(names::MODEL, model.to_owned()),
            of_request(request_id),
            KeyValue::new(names::RUN_ID, run_id.to_string()),
        ];
        (Cow::Owned(format!("invoke_agent {agent}")), SpanKind::Internal, attributes)
    });
    let lines = info_span!(
        parent: parent.lines(), "invoke_agent", gen_ai.agent.name = agent, %request_id, %run_id
    );
    span.with_lines(lines)
}

/// Notes the caller's labels in a run's span.
pub fn label(span: &Span, labels: &BTreeMap<String, String>) {
    span.record_all(|| {
        labels.iter().map(|(name, value)| KeyValue::new(format!("{}{name}", names::LABEL), value.clone()))
    });
}

/// Notes what a run consumed, how often it asked the model, and for how many tools that asked.
pub fn agent_invoked(span: &Span, usage: &Usage, turns: u32, tool_calls: usize) {
    span.record_all(|| {
        [
            KeyValue::new(names::GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens),
            KeyValue::new(names::GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens),
            KeyValue::new(names::TURNS, i64::from(turns)),
            KeyValue::new(names::TOOL_CALLS, i64::try_from(tool_calls).unwrap_or(i64::MAX)),
        ]
    });
}

/// The span of a model request.
pub fn chat(chat: &Chat<'_>, correlation: &Correlation) -> OpenSpan {
    OpenSpan::new(correlation.span.child(|| {
        let Settings { temperature, top_p, max_output_tokens, .. } = chat.settings;
        let mut attributes = vec![
            KeyValue::new(names::GEN_AI_OPERATION_NAME, "chat"),
            KeyValue::new(names::GEN_AI_PROVIDER_NAME, chat.provider),
            KeyValue::new(names::GEN_AI_REQUEST_MODEL, chat.model.to_owned()),
            KeyValue::new(names::TURN, i64::from(chat.turn)),
            of_request(&correlation.request_id),
        ];
        attributes.extend(chat.streamed.then(|| KeyValue::new(names::GEN_AI_REQUEST_STREAM, true)));
        attributes.extend(temperature.map(|value| KeyValue::new(names::GEN_AI_REQUEST_TEMPERATURE, value)));
        attributes.extend(top_p.map(|value| KeyValue::new(names::GEN_AI_REQUEST_TOP_P, value)));
        let tokens = |value| KeyValue::new(names::GEN_AI_REQUEST_MAX_TOKENS, i64::from(value));
        attributes.extend(max_output_tokens.map(tokens));
        if let Some(uri) = chat.server {
            let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
            attributes.extend(server(uri.host(), Some(uri.port_u16().unwrap_or(default))));
        }
        (Cow::Owned(format!("chat {}", chat.model)), SpanKind::Client, attributes)
    }))
}

/// Notes a model's answer: why it ended, and what it consumed. What the provider does not report is left out.
pub fn chat_answered(span: &Span, finish_reason: &'static str, usage: &Usage) {
    span.record_all(|| {
        let reasons = Value::Array(Array::String(vec![StringValue::from(finish_reason)]));
        let beside = [
            (names::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cached_input_tokens),
            (names::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning_tokens),
        ];
        let beside = beside.into_iter().filter(|(_, tokens)| *tokens > 0);
        [
            KeyValue::new(names::GEN_AI_RESPONSE_FINISH_REASONS, reasons),
            KeyValue::new(names::GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens),
            KeyValue::new(names::GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens),
        ]
        .into_iter()
        .chain(beside.map(|(name, tokens)| KeyValue::new(name, tokens)))
    });
}

/// The span of a tool call as the run sees it.
pub fn execute_tool(tool: &str, call_id: &str, correlation: &Correlation) -> OpenSpan {
    OpenSpan::new(correlation.span.child(|| {
        let attributes = vec![
            KeyValue::new(names::GEN_AI_OPERATION_NAME, "execute_tool"),
            KeyValue::new(names::GEN_AI_TOOL_NAME, tool.to_owned()),
            KeyValue::new(names::GEN_AI_TOOL_CALL_ID, call_id.to_owned()),
            of_request(&correlation.request_id),
        ];
        (Cow::Owned(format!("execute_tool {tool}")), SpanKind::Internal, attributes)
    }))
}

/// The span of a `tools/call` request to the MCP server at `url`, below that of the tool call.
pub fn tools_call(
    mcp_server: &str,
    url: &Url,
    tool: &str,
    request_id: &RequestId,
    parent: &Span,
) -> OpenSpan {
    OpenSpan::new(parent.child(|| {
        let mut attributes = of_mcp("tools/call", mcp_server, url, request_id);
        attributes.push(KeyValue::new(names::GEN_AI_TOOL_NAME, tool.to_owned()));
        (Cow::Owned(format!("tools/call {tool}")), SpanKind::Client, attributes)
    }))
}

/// The span of what the MCP server at `url` is asked, so that it can be used: `method` is `server/discover`, `initialize`
/// or `tools/list`. It stands below what `outgoing` names.
pub fn mcp_request(method: &'static str, mcp_server: &str, url: &Url, outgoing: &Outgoing) -> OpenSpan {
    OpenSpan::new(outgoing.trace.place.child(|| {
        let attributes = of_mcp(method, mcp_server, url, &outgoing.request_id);
        (Cow::Borrowed(method), SpanKind::Client, attributes)
    }))
}

fn of_mcp(method: &'static str, mcp_server: &str, url: &Url, request_id: &RequestId) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(KeyValue::new(names::MCP_METHOD_NAME, method));
    attributes.push(KeyValue::new(names::MCP_SERVER, mcp_server.to_owned()));
    attributes.push(of_request(request_id));
    attributes.extend(server(url.host_str(), url.port_or_known_default()));
    attributes
}

/// Where a request goes.
fn server(host: Option<&str>, port: Option<u16>) -> impl Iterator<Item = KeyValue> {
    let host = host.map(|host| host.trim_matches(['[', ']']).to_owned());
    let host = host.map(|host| KeyValue::new(names::SERVER_ADDRESS, host));
    let port = port.map(|port| KeyValue::new(names::SERVER_PORT, i64::from(port)));
    host.into_iter().chain(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_name_and_a_port() {
        for (url, address, port) in [
            ("https://api.example.com/v1", "api.example.com", 443),
            ("http://10.0.0.1/mcp?key=x", "10.0.0.1", 80),
            ("http://[::1]:9000/mcp", "::1", 9000),
        ] {
            let url = Url::parse(url).unwrap();
            let attributes: Vec<KeyValue> = server(url.host_str(), url.port_or_known_default()).collect();
            let expected = [KeyValue::new("server.address", address), KeyValue::new("server.port", port)];
            assert_eq!(attributes, expected, "{url}");
        }
    }
}
