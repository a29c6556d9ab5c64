//! The trace of a run: its spans, their names, and the W3C context that comes in and goes out.
//!
//! One run is one tree: `runwright.v1.AgentService/Run` (SERVER) → `invoke_agent {agent}` → `chat {model}` (CLIENT) and
//! `execute_tool {tool}` → `tools/call {tool}` (CLIENT). What a run sends to open a server (`server/discover`,
//! `initialize`, `tools/list`; all CLIENT) stands below its `invoke_agent`; where another run opened the client, the
//! `tools/call` has a link to that one. Names are those of OpenTelemetry's conventions for RPC, generative AI and MCP
//! ([`names`]).
//!
//! No span holds content, which is no input, no argument and no result, unless its agent is configured to have it on them
//! ([`content`]). Whatever is configured, none holds a header.
//!
//! A failure is described once, on the span in which it happened: by a status with a text of ours, and `error.type`. The
//! spans above, which failed because of it, have their own `error.type` and a status without a text.
//!
//! The spans are OpenTelemetry's alone ([`Span`]). One of tracing's costs something whenever a future in it goes on; only
//! the two whose ids stand in each log line have one beside them.

pub mod content;
mod context;
pub mod names;
mod rpcs;
mod runs;
mod span;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;

pub use context::TraceHeaders;
pub use rpcs::{OpenRpc, rpc};
pub use runs::{
    Chat, agent_invoked, chat, chat_answered, execute_tool, invoke_agent, label, mcp_request, tools_call,
};
pub use span::{OpenSpan, Place, Span, SpanMaker};

use crate::id::RequestId;

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
    /// The same of a request that is made in `span`.
    pub fn within(&self, span: &Span) -> Self {
        Self { request_id: self.request_id.clone(), trace: TraceHeaders::of(span.place()) }
    }

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
        Outgoing { request_id: self.request_id.clone(), trace: TraceHeaders::of(span.place()) }
    }
}

fn of_request(request_id: &RequestId) -> KeyValue {
    KeyValue::new(names::REQUEST_ID, request_id.as_str().to_owned())
}
