//! The trace of a run: its spans, their names, and the W3C context that comes in and goes out.
//!
//! One run is one tree: `runwright.v1.AgentService/Run` (SERVER) → `invoke_agent {agent}` → `chat {model}` (CLIENT) and
//! `execute_tool {tool}` → `tools/call {tool}` (CLIENT). Names are those of OpenTelemetry's conventions for RPC,
//! generative AI and MCP; `runwright.*` is ours. No span holds content: no input, no
//! argument, no result, no header.
//!
//! A span is entered and left whenever a future in it is polled, and each layer of the subscriber looks it up each time.
//! So only a run's own span is; those below are held for as long as what they measure takes.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::id::{RequestId, RunId};

/// What ties all that a run does to its caller's request: the request id, and the trace that it belongs to.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The request's id.
    pub request_id: RequestId,
    /// The caller's W3C context, as far as it was valid.
    pub incoming: TraceHeaders,
}

/// W3C Trace Context as headers (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceHeaders {
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// `tracestate`.
    pub tracestate: Option<String>,
}

/// What one outgoing request carries of the run's correlation.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// `X-Request-Id`.
    pub request_id: RequestId,
    /// The span that the request is made in.
    pub trace: TraceHeaders,
}

impl TraceHeaders {
    /// Reads the caller's context; what is not valid is as good as absent.
    pub fn extract(headers: &HeaderMap) -> Self {
        let propagator = TraceContextPropagator::new();
        let context = propagator.extract_with_context(&Context::new(), &Headers(headers));
        Self::of(&context)
    }

    fn of(context: &Context) -> Self {
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return Self::default();
        }
        let flags = span.trace_flags().to_u8();
        let tracestate = span.trace_state().header();
        Self {
            traceparent: Some(format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())),
            tracestate: (!tracestate.is_empty()).then_some(tracestate),
        }
    }

    fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    fn to_context(&self) -> Context {
        TraceContextPropagator::new().extract_with_context(&Context::new(), self)
    }
}

impl Outgoing {
    /// Puts the ids into an HTTP request's headers.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        let ids = [
            ("x-request-id", Some(self.request_id.as_str())),
            ("traceparent", self.trace.traceparent.as_deref()),
            ("tracestate", self.trace.tracestate.as_deref()),
        ];
        for (name, value) in ids {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

impl Extractor for TraceHeaders {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent.as_deref(),
            "tracestate" => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

impl Correlation {
    /// What a request that is made in `span` carries. Where spans are off, the caller's own context goes on.
    pub fn outgoing(&self, span: &Span) -> Outgoing {
        let own = TraceHeaders::of(&span.context());
        let trace = if own.traceparent.is_some() { own } else { self.incoming.clone() };
        Outgoing { request_id: self.request_id.clone(), trace }
    }
}

/// The span of an RPC, `rpc` being e.g. `runwright.v1.AgentService/Run`. It continues the caller's trace.
pub fn rpc(rpc: &'static str, correlation: &Correlation) -> Span {
    let incoming = &correlation.incoming;
    let span = info_span!(
        "rpc",
        otel.name = rpc,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = rpc,
        rpc.response.status_code = Empty,
        error.type = Empty,
        request_id = %correlation.request_id,
        run_id = Empty,
        trace_id = incoming.trace_id(),
    );
    if incoming.traceparent.is_some() {
        // It fails only where spans are off.
        let _ = span.set_parent(incoming.to_context());
        return span;
    }
    let context = span.context();
    let trace_id = context.span().span_context().trace_id();
    if trace_id != opentelemetry::TraceId::INVALID {
        span.record("trace_id", tracing::field::display(trace_id));
    }
    span
}

/// The span of a run.
pub fn invoke_agent(agent: &str, run_id: RunId, correlation: &Correlation) -> Span {
    Span::current().record("run_id", tracing::field::display(run_id));
    info_span!(
        "invoke_agent",
        otel.name = format!("invoke_agent {agent}"),
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = agent,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        runwright.finish_reason = Empty,
        runwright.labels = Empty,
        error.type = Empty,
        request_id = %correlation.request_id,
        run_id = %run_id,
    )
}

/// The span of a model request.
pub fn chat(model: &str, provider: &str, correlation: &Correlation) -> Span {
    info_span!(
        "chat",
        otel.name = format!("chat {model}"),
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        error.type = Empty,
        request_id = %correlation.request_id,
    )
}

/// The span of a tool call as the run sees it.
pub fn execute_tool(tool: &str, call_id: &str, correlation: &Correlation) -> Span {
    info_span!(
        "execute_tool",
        otel.name = format!("execute_tool {tool}"),
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = tool,
        gen_ai.tool.call.id = call_id,
        error.type = Empty,
        request_id = %correlation.request_id,
    )
}

/// The span of a `tools/call` request to an MCP server, below that of the tool call.
pub fn tools_call(mcp_server: &str, tool: &str, request_id: &RequestId, parent: &Span) -> Span {
    info_span!(
        parent: parent,
        "tools/call",
        otel.name = format!("tools/call {tool}"),
        otel.kind = "client",
        mcp.method.name = "tools/call",
        gen_ai.tool.name = tool,
        runwright.mcp_server = mcp_server,
        error.type = Empty,
        request_id = %request_id,
    )
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
