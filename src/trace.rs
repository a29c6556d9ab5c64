//! The trace of a run: its spans, their names, and the W3C context that comes in and goes out.
//!
//! One run is one tree: `runwright.v1.AgentService/Run` (SERVER) → `invoke_agent {agent}` → `chat {model}` (CLIENT) and
//! `execute_tool {tool}` → `tools/call {tool}` (CLIENT). Names are those of OpenTelemetry's conventions for RPC,
//! generative AI and MCP; `runwright.*` is ours. No span holds content: no input, no
//! argument, no result, no header.
//!
//! The spans are OpenTelemetry's alone ([`Span`]). One of tracing's costs something whenever a future in it goes on; only
//! the two whose ids stand in each log line have one beside them.

mod context;
mod span;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{KeyValue, trace::SpanKind};
use tracing::{field::Empty, info_span};

pub use context::TraceHeaders;
pub use span::{Span, SpanMaker};

use crate::id::{RequestId, RunId};

/// What ties all that a run does to its caller's request: the request id, and the trace that it belongs to.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The request's id.
    pub request_id: RequestId,
    /// The span that belongs to what is being done; the caller's own, before there is another.
    pub span: Span,
}

/// What one outgoing request carries of the run's correlation.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// `X-Request-Id`.
    pub request_id: RequestId,
    /// The span that the request is made in.
    pub trace: TraceHeaders,
}

impl Outgoing {
    /// Puts the ids into an HTTP request's headers.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
        const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
        const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
        let ids = [
            (X_REQUEST_ID, Some(self.request_id.as_str())),
            (TRACEPARENT, self.trace.traceparent.as_deref()),
            (TRACESTATE, self.trace.tracestate.as_deref()),
        ];
        for (name, value) in ids {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

impl Correlation {
    /// A request's, with the context that its caller sent.
    pub fn incoming(request_id: RequestId, metadata: &HeaderMap) -> Self {
        Self { request_id, span: Span::remote(context::extract(metadata)) }
    }

    /// What a request that is made in `span` carries. Where spans are off, the caller's own context goes on.
    pub fn outgoing(&self, span: &Span) -> Outgoing {
        Outgoing { request_id: self.request_id.clone(), trace: TraceHeaders::of(span.context()) }
    }
}

/// The span of an RPC, `rpc` being e.g. `runwright.v1.AgentService/Run`. It continues the caller's trace.
pub fn rpc(rpc: &'static str, correlation: &Correlation) -> Span {
    let request_id = &correlation.request_id;
    let span = correlation.span.begin(|| {
        let attributes = vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", rpc),
            of_request(request_id),
        ];
        (rpc.to_owned(), SpanKind::Server, attributes)
    });
    let context = span.context();
    let trace_id = context.is_valid().then(|| tracing::field::display(context.trace_id()));
    let lines = info_span!("rpc", rpc.method = rpc, %request_id, run_id = Empty, trace_id);
    span.with_lines(lines)
}

/// The span of a run.
pub fn invoke_agent(agent: &str, run_id: RunId, correlation: &Correlation) -> Span {
    let request_id = &correlation.request_id;
    let Correlation { span: parent, .. } = correlation;
    parent.lines().record("run_id", tracing::field::display(run_id));
    let span = parent.child(|| {
        let attributes = vec![
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", agent.to_owned()),
            of_request(request_id),
            KeyValue::new("run_id", run_id.to_string()),
        ];
        (format!("invoke_agent {agent}"), SpanKind::Internal, attributes)
    });
    let lines = info_span!(
        parent: parent.lines(), "invoke_agent", gen_ai.agent.name = agent, %request_id, %run_id
    );
    span.with_lines(lines)
}

/// The span of a model request.
pub fn chat(model: &str, provider: &'static str, correlation: &Correlation) -> Span {
    correlation.span.child(|| {
        let attributes = vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", provider),
            KeyValue::new("gen_ai.request.model", model.to_owned()),
            of_request(&correlation.request_id),
        ];
        (format!("chat {model}"), SpanKind::Client, attributes)
    })
}

/// The span of a tool call as the run sees it.
pub fn execute_tool(tool: &str, call_id: &str, correlation: &Correlation) -> Span {
    correlation.span.child(|| {
        let attributes = vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", tool.to_owned()),
            KeyValue::new("gen_ai.tool.call.id", call_id.to_owned()),
            of_request(&correlation.request_id),
        ];
        (format!("execute_tool {tool}"), SpanKind::Internal, attributes)
    })
}

/// The span of a `tools/call` request to an MCP server, below that of the tool call.
pub fn tools_call(mcp_server: &str, tool: &str, request_id: &RequestId, parent: &Span) -> Span {
    parent.child(|| {
        let attributes = vec![
            KeyValue::new("mcp.method.name", "tools/call"),
            KeyValue::new("gen_ai.tool.name", tool.to_owned()),
            KeyValue::new("runwright.mcp_server", mcp_server.to_owned()),
            of_request(request_id),
        ];
        (format!("tools/call {tool}"), SpanKind::Client, attributes)
    })
}

fn of_request(request_id: &RequestId) -> KeyValue {
    KeyValue::new("request_id", request_id.as_str().to_owned())
}
